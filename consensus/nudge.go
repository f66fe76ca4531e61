package consensus

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// nudge tells the followers of a commit at once. Raft itself tells them with the
// next entry or, while none comes, after commitTimeout: so long would the holder of
// a placement wait for it. What it sends is raft's own empty AppendEntries, whose
// previous entry is the committed one: a follower that has that entry has the
// leader's whole log up to it, and any other refuses. Nothing depends on it.
type nudge struct {
	self      raft.RPCHeader
	transport raft.Transport
	log       raft.LogStore
	servers   func() []raft.Server

	mu     sync.Mutex // guards what follows
	index  uint64     // the newest commit to tell of
	busy   map[raft.ServerID]bool
	closed bool
	tasks  sync.WaitGroup
}

func (c *Consensus) newNudge(transport raft.Transport) *nudge {
	id := raft.ServerID(c.cfg.ID)
	return &nudge{
		self: raft.RPCHeader{
			ProtocolVersion: raft.ProtocolVersionMax,
			ID:              []byte(id), Addr: transport.EncodePeer(id, transport.LocalAddr()),
		},
		transport: transport, log: c.stores.log, servers: c.servers,
		busy: map[raft.ServerID]bool{},
	}
}

// tell tells all followers that the log is committed up to index. It does not block.
func (n *nudge) tell(index uint64) {
	servers := n.servers()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.index = max(n.index, index)
	for _, s := range servers {
		if n.closed || n.busy[s.ID] || string(s.ID) == string(n.self.ID) {
			continue
		}
		n.busy[s.ID] = true
		n.tasks.Go(func() { n.follow(s) })
	}
}

// follow tells one follower until it knows the newest commit, or for as long as
// it would take raft.
func (n *nudge) follow(s raft.Server) {
	var told uint64
	for misses := 0; ; {
		n.mu.Lock()
		index := n.index
		if index == told || n.closed || misses > maxMisses {
			delete(n.busy, s.ID)
			n.mu.Unlock()
			return
		}
		n.mu.Unlock()
		switch knows, err := n.send(s, index); {
		case err != nil || knows:
			told, misses = index, 0
		default: // the nudge overtook the entry
			misses++
			time.Sleep(missPause)
		}
	}
}

// A follower that does not have the entry yet is told again.
const (
	missPause = 2 * time.Millisecond
	maxMisses = 50
)

// send says whether the follower has the entry, and so knows that it is committed.
func (n *nudge) send(s raft.Server, index uint64) (knows bool, err error) {
	var entry raft.Log
	if err := n.log.GetLog(index, &entry); err != nil {
		return false, err // compacted: it is old
	}
	message := raft.AppendEntriesRequest{
		RPCHeader: n.self, Term: entry.Term,
		PrevLogEntry: index, PrevLogTerm: entry.Term, LeaderCommitIndex: index,
	}
	var reply raft.AppendEntriesResponse
	err = n.transport.AppendEntries(s.ID, s.Address, &message, &reply)
	return reply.Success || reply.Term > entry.Term, err
}

// stop returns when nobody is being told any more, which is soon after the
// streams were hung up.
func (n *nudge) stop() {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	n.tasks.Wait()
}
