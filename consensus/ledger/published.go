package ledger

import (
	"iter"
	"maps"
)

// Placements walks all placements, in no order.
func (l *Ledger) Placements() iter.Seq[*Placement] { return maps.Values(l.placements) }

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
