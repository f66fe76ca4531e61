package consensus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"time"
)

// Raft carries the log to its servers only. Every other node is fed: it asks one of the
// servers for the commands that it does not have, and that one answers when there are
// some. A server that hears no leader, or whose disk is full, is fed as well.

const (
	feedHold      = 2 * time.Second        // a question waits so long for something to tell
	feedHurry     = 500 * time.Millisecond // the same, while nobody knows a leader
	feedPause     = 100 * time.Millisecond // between two questions that failed
	voterPatience = 2 * time.Second        // a voter without a leader is more likely in an election
	lateAfter     = 150 * time.Millisecond // whoever waits so long for a command asks the leader for it
	maxPiece      = 2 << 20                // bytes of a snapshot in one answer
	maxSnapshot   = 512 << 20              // bytes of one
)

// want is a question for commands, or for a piece of a snapshot.
type want struct {
	After  uint64 `json:"after"`            // the last command that the asker has
	Leader string `json:"leader,omitempty"` // whom it holds for the leader
	Conf   uint64 `json:"conf,omitempty"`   // the configuration that it knows
	Wait   bool   `json:"wait,omitempty"`   // until there is something new
	// Snapshot and Offset ask for the rest of a snapshot.
	Snapshot uint64 `json:"snapshot,omitempty"`
	Offset   int    `json:"offset,omitempty"`
}

// helping is what a server answers.
type helping struct {
	outlook
	Entries []entry `json:"entries,omitempty"`
	Piece   *piece  `json:"piece,omitempty"` // instead of commands that are no longer remembered
}

// piece is a part of a snapshot of the ledger at Index.
type piece struct {
	Index  uint64 `json:"index"`
	Size   int    `json:"size"` // of the whole
	Offset int    `json:"offset"`
	Data   []byte `json:"data"`
}

// stray says whether raft brings this node nothing: no leader is heard, or what comes
// cannot be written.
func (c *Consensus) stray() bool {
	r := c.raft.Load()
	if r == nil {
		return false
	}
	_, leader := r.LeaderWithID()
	return leader == "" || c.keeper.refuses.Load()
}

// stayFed has this node fed as long as it is astray.
func (c *Consensus) stayFed(ctx context.Context) {
	misses := 0
	since := time.Now() // it hears no leader
	for ctx.Err() == nil {
		elected := c.elected.next()
		o := c.byRaft()
		switch {
		case o.Leader != "" && !c.keeper.refuses.Load():
			since = time.Time{}
			wait(ctx, elected, time.Second)
			continue
		case since.IsZero():
			since = time.Now()
		}
		if patience := time.Until(since.Add(voterPatience)); patience > 0 && slices.Contains(o.voters(), c.cfg.ID) {
			wait(ctx, elected, patience)
			continue
		}
		ids := c.feeders()
		if len(ids) == 0 {
			wait(ctx, elected, feedPause)
			continue
		}
		id := ids[misses%len(ids)]
		if err := c.askFood(ctx, id, true); err != nil {
			c.log.Debug("not fed", "by", id, "error", err)
			misses++
			pause(ctx, feedPause)
		}
		c.keepSome()
	}
}

// feeders returns the servers that may feed this node, in an order of its own, so that
// not all ask the same one; where none of them is known to live, any member, who may
// know others.
func (c *Consensus) feeders() []string {
	var servers, members []string
	known := c.outlook()
	for _, m := range c.cfg.Members() {
		switch {
		case m.ID == c.cfg.ID || !m.Alive:
		case known.holds(m.ID):
			servers = append(servers, m.ID)
		default:
			members = append(members, m.ID)
		}
	}
	byRank := func(a, b string) int { return compare(c.rank(a), c.rank(b)) }
	slices.SortFunc(servers, byRank)
	slices.SortFunc(members, byRank)
	if len(servers) == 0 {
		return members
	}
	return servers
}

func compare(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (c *Consensus) rank(id string) uint64 {
	h := fnv.New64a()
	io.WriteString(h, c.cfg.ID+" "+id)
	return h.Sum64()
}

// Why another server is asked next.
var (
	errLeaderless = errors.New("it hears no leader")
	errBehind     = errors.New("others know newer servers or leaders")
)

// askFood asks one server for what this replica lacks, and takes it.
func (c *Consensus) askFood(ctx context.Context, id string, wait bool) error {
	known, _ := c.told.get(time.Now())
	w := want{After: c.Applied(), Leader: known.Leader, Conf: known.Conf, Wait: wait}
	h, err := c.askHelping(ctx, id, w)
	if err != nil {
		return err
	}
	if h.Piece != nil {
		if err := c.takeSnapshot(ctx, id, h.Piece); err != nil {
			return err
		}
	}
	if err := c.fsm.feed(h.Entries); err != nil {
		return err
	}
	taken, news := c.told.hear(h.outlook, time.Now())
	if news {
		c.elected.fire()
	}
	switch {
	case !taken:
		return errBehind
	case h.Leader == "":
		return errLeaderless
	}
	return nil
}

func (c *Consensus) askHelping(ctx context.Context, id string, w want) (*helping, error) {
	ans, err := c.ask(ctx, id, attemptTimeout, request{Op: opFeed, Want: &w})
	switch {
	case err != nil:
		return nil, err
	case ans.Helping == nil:
		return nil, errors.New(firstOf(ans.Retry, ans.Error, "the answer is empty"))
	case ans.Retry != "":
		c.told.hear(ans.Helping.outlook, time.Now()) // it knows whom to ask
		return nil, errors.New(ans.Retry)
	}
	return ans.Helping, nil
}

// takeSnapshot fetches the rest of a snapshot and replaces this replica by it.
func (c *Consensus) takeSnapshot(ctx context.Context, id string, p *piece) error {
	var whole bytes.Buffer
	for index := p.Index; ; {
		if p == nil || p.Index != index || p.Offset != whole.Len() || len(p.Data) == 0 || p.Size > maxSnapshot {
			return fmt.Errorf("take the ledger from node %s: it was replaced meanwhile", id)
		}
		whole.Write(p.Data)
		if whole.Len() >= p.Size {
			break
		}
		h, err := c.askHelping(ctx, id, want{Snapshot: index, Offset: whole.Len()})
		if err != nil {
			return err
		}
		p = h.Piece
	}
	return c.fsm.Restore(io.NopCloser(&whole))
}

// hurry asks the leader for commands that come late by the usual way.
func (c *Consensus) hurry(ctx context.Context) {
	if id, ok := c.Leader(); ok && id != c.cfg.ID && c.stray() {
		if err := c.askFood(ctx, id, false); err != nil {
			c.log.Debug("not fed", "by", id, "error", err)
		}
	}
}

// wait waits for the channel, but not longer than d.
func wait(ctx context.Context, ch <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ch:
	case <-t.C:
	case <-ctx.Done():
	}
}

func firstOf(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}
