package ledger

import "slices"

// Outlive has a ledger of before know what the present one has taken back since: nodes
// that were removed are no nodes again, and keys and tokens that were ended let nobody in.
func (l *Ledger) Outlive(now *Ledger) {
	for _, g := range now.gone {
		if l.nodes[g.ID] != nil {
			l.remove(&Remove{Node: g.ID, By: g.By, Left: g.Left, Force: true}, g.At)
		} else if l.GoneNode(g.ID) == nil {
			l.gone = append(slices.Clone(l.gone), g)
		}
	}
	for _, u := range l.Users() {
		kept := *u
		kept.Keys = slices.DeleteFunc(slices.Clone(u.Keys), func(k UserKey) bool { return now.keys[k.Hash] != u.Name })
		l.setUser(u, &kept)
	}
	for hash := range l.tokens {
		if !now.HasToken(hash) {
			delete(l.tokens, hash)
		}
	}
}
