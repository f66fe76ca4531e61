package ledger

import (
	"iter"

	"ddocker/sched"
)

// Publishers walks the placements that hold ports, each with its node, in no order.
func (l *Ledger) Publishers() iter.Seq2[*Node, *Placement] {
	return func(yield func(*Node, *Placement) bool) {
		for _, n := range l.nodes {
			for _, p := range n.held {
				if len(p.Grant.Ports) > 0 && !yield(n, p) {
					return
				}
			}
		}
	}
}

// PortHolders returns on how many hosts the port is held, by whomever.
func (l *Ledger) PortHolders(port sched.Port) int { return l.ports.count(port) }

// Published returns the place in the log of the last entry that changed which ports
// placements hold, or which of them are confirmed. It tells whoever follows that from
// all the entries that do not.
func (l *Ledger) Published() uint64 { return l.published }

// publish notes that the placement comes, goes or is confirmed now.
func (l *Ledger) publish(p *Placement) {
	if len(p.Grant.Ports) > 0 {
		l.published = l.index
	}
}
