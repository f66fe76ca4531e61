package consensus

import (
	"errors"
	"fmt"
	"strings"

	"ddocker/consensus/ledger"
)

// ErrStopped is returned by calls after Run has ended.
var ErrStopped = errors.New("consensus has stopped")

// NoLeaderError means that no leader took a call within five seconds.
type NoLeaderError struct {
	Voters int      // how many nodes vote, as far as this node knows
	Down   []string // names of the voters that gossip holds for dead
	Last   error    // what the last attempt met; may be nil
	Maybe  bool     // a leader took the call and lost its quorum: it may still be carried out
}

// Error says how many voters are missing and who they are.
func (e *NoLeaderError) Error() string {
	up := e.Voters - len(e.Down)
	s := fmt.Sprintf("the cluster has no leader: %d of %d voters answer", up, e.Voters)
	switch {
	case e.Voters == 0:
		s = "the cluster has no leader: this node has not heard from any voter yet"
	case len(e.Down) > 0:
		s += " (" + strings.Join(e.Down, ", ") + " down)"
	}
	switch {
	case e.Voters > 0 && up <= e.Voters/2:
		s += fmt.Sprintf("; %d are needed", e.Voters/2+1)
	case e.Last != nil:
		s += "; last attempt: " + e.Last.Error()
	}
	if e.Maybe {
		s += "; what was asked may still be done when there is one"
	}
	return s
}

// Unwrap returns what the last attempt met.
func (e *NoLeaderError) Unwrap() error { return e.Last }

// nameInLedger returns what people call a node that gossip has not met yet.
func (c *Consensus) nameInLedger(id string) string {
	name := id
	c.View(func(l *ledger.Ledger) {
		if n := l.Node(id); n != nil {
			name = n.Name
		}
	})
	return name
}

func (c *Consensus) noLeader(last error, maybe bool) error {
	e := &NoLeaderError{Last: last, Maybe: maybe}
	up, name := map[string]bool{c.cfg.ID: true}, map[string]string{}
	for _, m := range c.cfg.Members() {
		up[m.ID], name[m.ID] = m.Alive || m.ID == c.cfg.ID, m.label()
	}
	for _, id := range c.outlook().voters() {
		e.Voters++
		if up[id] {
			continue
		}
		if name[id] == "" {
			name[id] = c.nameInLedger(id)
		}
		e.Down = append(e.Down, name[id])
	}
	return e
}
