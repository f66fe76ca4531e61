package ledger

import "slices"

func (l *Ledger) evict(c *Evict) Result {
	if !l.holders[c.ID][c.Node] {
		return refuse(Unknown, "No such image on host %s: %s", l.nodeName(c.Node), c.ID)
	}
	if least := l.settings.ImageReplicas; len(l.holders[c.ID])-1 < least {
		return refuse(Conflict, "image %s would be left on fewer than %d hosts", Short(c.ID), least)
	}
	n := *l.nodes[c.Node]
	if user := l.imageUserOn(&n, c.ID); user != "" {
		return refuse(Conflict, "container %s is using image %s", user, Short(c.ID))
	}
	evicted := append(slices.Clone(n.evicted), Holding{ID: c.ID, Index: l.index})
	n.evicted = evicted[max(0, len(evicted)-maxEvicted):]
	l.nodes[n.Node] = &n
	l.setHoldings(n.Node, slices.DeleteFunc(slices.Clone(n.Observed.Images), func(h Holding) bool { return h.ID == c.ID }))
	return Result{}
}

// evictedSince returns the copies that the node was allowed to remove after it had
// begun to list them.
func (n *Node) evictedSince(seen uint64) (since []Holding) {
	for _, h := range n.evicted {
		if h.Index > seen {
			since = append(since, h)
		}
	}
	return since
}

// mayHave returns the nodes that have the image, and those that were allowed to
// remove it and have not listed their images since; sorted.
func (l *Ledger) mayHave(id string) []string {
	on := l.ImageHolders(id)
	for _, n := range l.nodes {
		if holds(n.evicted, id) {
			on = append(on, n.Node)
		}
	}
	slices.Sort(on)
	return slices.Compact(on)
}

func holds(list []Holding, id string) bool {
	return slices.ContainsFunc(list, func(h Holding) bool { return h.ID == id })
}
