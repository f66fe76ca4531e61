package gossip

import (
	"encoding/hex"

	"github.com/hashicorp/memberlist"
)

// delegate is what memberlist calls, often with its own locks held: nothing
// here waits or calls back.
type delegate struct{ g *Gossip }

var (
	_ memberlist.Delegate      = delegate{}
	_ memberlist.EventDelegate = delegate{}
	_ memberlist.MergeDelegate = delegate{}
)

func (d delegate) NodeMeta(int) []byte {
	return encodeMeta(Member{Name: d.g.cfg.Name, Version: d.g.cfg.Version})
}

// NotifyMsg takes a load from the wire, and sends it on if it is news.
func (d delegate) NotifyMsg(b []byte) {
	if r, err := decodeRecord(b); err == nil && d.g.board.merge(r) {
		d.g.queue.QueueBroadcast(broadcast{r})
	}
}

func (d delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.g.queue.GetBroadcasts(overhead, limit)
}

// LocalState gives all known loads to a peer in a full exchange.
func (d delegate) LocalState(bool) []byte { return d.g.board.encode() }

// MergeRemoteState takes the peer's. It stops at a record that it does not
// understand.
func (d delegate) MergeRemoteState(b []byte, _ bool) {
	for len(b) >= recordSize {
		r, err := decodeRecord(b[:recordSize])
		if err != nil {
			return
		}
		d.g.board.merge(r)
		b = b[recordSize:]
	}
}

func (d delegate) NotifyJoin(n *memberlist.Node)   { d.g.roster.put(memberOf(n, true)) }
func (d delegate) NotifyUpdate(n *memberlist.Node) { d.g.roster.put(memberOf(n, true)) }

// NotifyLeave keeps the member but not its load, lest exchanges hand on for ever
// the loads of nodes that are gone.
func (d delegate) NotifyLeave(n *memberlist.Node) {
	d.g.roster.put(memberOf(n, false))
	d.g.board.drop(n.Name)
}

func memberOf(n *memberlist.Node, alive bool) Member {
	m := Member{ID: n.Name, Addr: n.Address(), Alive: alive}
	m.Name, m.Version, _ = decodeMeta(n.Meta)
	return m
}

// NotifyMerge hears, before an exchange in a join, whom the peer knows. If that
// is this node at another address, the peer may have refused the new one, which
// it does while it takes the former to be alive: rejoin then tries again soon.
func (d delegate) NotifyMerge(known []*memberlist.Node) error {
	for _, n := range known {
		if n.Name == d.g.cfg.ID && n.Address() != d.g.cfg.Advertise.String() {
			d.g.moved.Store(true)
		}
	}
	return nil
}

// broadcast is a record under way; a later one of the same node replaces it.
type broadcast struct{ record }

var _ memberlist.NamedBroadcast = broadcast{}

func (b broadcast) Name() string    { return hex.EncodeToString(b.Node[:]) }
func (b broadcast) Message() []byte { return b.encode(nil) }
func (b broadcast) Finished()       {}

func (b broadcast) Invalidates(other memberlist.Broadcast) bool {
	o, ok := other.(broadcast)
	return ok && o.Node == b.Node
}
