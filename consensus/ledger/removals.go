package ledger

import "slices"

// Bounds of what is remembered of removals. When there are more, the oldest are
// forgotten: a node that was away for all of them publishes those names anew.
const (
	maxRemovals = 4096
	maxPending  = 1 << 18 // nodes, of all removals
)

// addRemoval remembers a removal that some nodes have yet to do.
func (l *Ledger) addRemoval(r Removal) {
	if len(r.Nodes) > 0 {
		l.removals = boundRemovals(append(l.removals, r))
	}
}

func boundRemovals(list []Removal) []Removal {
	list = list[max(0, len(list)-maxRemovals):]
	pending := 0
	for i := len(list) - 1; i >= 0; i-- {
		if pending += len(list[i].Nodes); pending > maxPending {
			return list[i+1:]
		}
	}
	return list
}

// has says whether the node has yet to do it.
func (r *Removal) has(node string) bool {
	_, ok := slices.BinarySearch(r.Nodes, node)
	return ok
}

// Removing says whether the node has yet to take the name from the image.
func (l *Ledger) Removing(node, name, id string) bool {
	return slices.ContainsFunc(l.removals, func(r Removal) bool { return r.Name == name && r.ID == id && r.has(node) })
}

// forgetRemoval forgets a removal on all nodes: the image has the name again.
func (l *Ledger) forgetRemoval(name, id string) {
	again := func(r Removal) bool { return r.Name == name && r.ID == id }
	if slices.ContainsFunc(l.removals, again) {
		l.removals = slices.DeleteFunc(slices.Clone(l.removals), again)
	}
}

// settleRemovals takes the node out of the removals that are done there.
func (l *Ledger) settleRemovals(node string, done func(Removal) bool) {
	doneThere := func(r Removal) bool { return r.has(node) && done(r) }
	if !slices.ContainsFunc(l.removals, doneThere) {
		return
	}
	var kept []Removal
	for _, r := range l.removals {
		if doneThere(r) {
			r.Nodes = slices.DeleteFunc(slices.Clone(r.Nodes), func(n string) bool { return n == node })
		}
		if len(r.Nodes) > 0 {
			kept = append(kept, r)
		}
	}
	l.removals = kept
}
