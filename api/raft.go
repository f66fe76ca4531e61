package api

import (
	"cmp"
	"io"
	"net/http"
	"slices"

	"ddocker/consensus"
	"ddocker/consensus/ledger"
)

// promoteServer has a node vote before others, demoteServer never; autoServer leaves it
// to the cluster again.
func (a *API) promoteServer(w http.ResponseWriter, c *call) { a.setVote(w, c, ledger.Always) }

func (a *API) demoteServer(w http.ResponseWriter, c *call) { a.setVote(w, c, ledger.Never) }

func (a *API) autoServer(w http.ResponseWriter, c *call) { a.setVote(w, c, "") }

// outlookPromoted and the others refuse what the change would be refused for, and tell
// how many votes there are and would be.
func (a *API) outlookPromoted(w http.ResponseWriter, c *call) { a.outlook(w, c, ledger.Always) }

func (a *API) outlookDemoted(w http.ResponseWriter, c *call) { a.outlook(w, c, ledger.Never) }

func (a *API) outlookAuto(w http.ResponseWriter, c *call) { a.outlook(w, c, "") }

func (a *API) outlook(w http.ResponseWriter, c *call, want ledger.Suffrage) {
	n := a.electorMeant(w, c, want)
	if n == nil {
		return
	}
	nodes, never := 0, 0
	a.cfg.Log.View(func(l *ledger.Ledger) {
		for _, o := range l.Nodes() {
			wish := o.Vote
			if o.Node == n.Node {
				wish = want
			}
			if nodes++; wish == ledger.Never {
				never++
			}
		}
	})
	reply(w, http.StatusOK, map[string]int{"Voters": len(a.cfg.Raft.Status().Voters), "Then": consensus.Seats(nodes, never)})
}

// electorMeant returns the node that is meant, or answers why that cannot be.
func (a *API) electorMeant(w http.ResponseWriter, c *call, want ledger.Suffrage) *ledger.Node {
	n := a.nodeMeant(w, c)
	if n == nil || want == ledger.Always && a.refusesPromotion(w, n) || want == ledger.Never && a.refusesDemotion(w, n) {
		return nil
	}
	return n
}

func (a *API) setVote(w http.ResponseWriter, c *call, want ledger.Suffrage) {
	n := a.electorMeant(w, c, want)
	if n != nil && a.proposed(w, c, ledger.Command{Vote: &ledger.Vote{Node: n.Node, Want: want}}) {
		w.WriteHeader(http.StatusNoContent)
	}
}

func (a *API) refusesPromotion(w http.ResponseWriter, n *ledger.Node) bool {
	seats, always := 0, 0
	for _, s := range a.cfg.Raft.Servers() {
		if s.Role != consensus.Nonvoter {
			seats++
		}
	}
	a.cfg.Log.View(func(l *ledger.Ledger) {
		for _, o := range l.Nodes() {
			if o.Vote == ledger.Always && o.Node != n.Node {
				always++
			}
		}
	})
	switch {
	case n.Node != a.cfg.Self && !a.cfg.Alive(n.Node):
		fail(w, http.StatusConflict, "host %s does not answer and could not vote: see \"ddocker nodes\"", n.Name)
	case always >= max(seats, 1):
		fail(w, http.StatusConflict, "all %d votes are promised to other hosts: give one back first with \"ddocker raft demote --auto NAME\"", seats)
	default:
		return false
	}
	return true
}

// refusesDemotion refuses what would leave nobody to vote.
func (a *API) refusesDemotion(w http.ResponseWriter, n *ledger.Node) bool {
	var others []*ledger.Node
	a.cfg.Log.View(func(l *ledger.Ledger) { others = l.Nodes() })
	able := slices.ContainsFunc(others, func(o *ledger.Node) bool {
		return o.Node != n.Node && o.Vote != ledger.Never && (o.Node == a.cfg.Self || a.cfg.Alive(o.Node))
	})
	if able {
		return false
	}
	fail(w, http.StatusConflict, "without %s nobody could vote: see \"ddocker raft peers\"", n.Name)
	return true
}

// saveSnapshot writes the ledger as it is now.
func (a *API) saveSnapshot(w http.ResponseWriter, c *call) {
	if err := a.cfg.Log.Read(c.Context()); err != nil {
		failWith(w, err)
		return
	}
	var s ledger.Snapshot
	a.cfg.Log.View(func(l *ledger.Ledger) { s = l.Snapshot() })
	w.Header().Set("Content-Type", "application/x-ndjson")
	if _, err := s.WriteTo(w); err != nil {
		a.log.Debug("snapshot not sent", "err", err)
	}
}

// maxSnapshot bounds a snapshot to be restored, in bytes.
const maxSnapshot = 256 << 20

// restoreSnapshot replaces the ledger. Only the leader can.
func (a *API) restoreSnapshot(w http.ResponseWriter, c *call) {
	if leader, self := a.leaderName(); !self {
		fail(w, http.StatusConflict, "the leader is %s: restore the snapshot there, or run \"ddocker raft transfer-leader %s\" first", cmp.Or(leader, "not known"), a.cfg.Name)
		return
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, c.Body, maxSnapshot))
	if err != nil {
		fail(w, http.StatusBadRequest, "read the snapshot: %s", err)
		return
	}
	if err := a.cfg.Restore(c.Context(), text); err != nil {
		fail(w, http.StatusBadRequest, "%s", err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (a *API) leaderName() (name string, self bool) {
	id := a.cfg.Raft.Status().Leader
	a.cfg.Log.View(func(l *ledger.Ledger) {
		if n := l.Node(id); n != nil {
			name = n.Name
		}
	})
	return name, id == a.cfg.Self
}
