package ledger

import (
	"cmp"
	"slices"
)

// setHoldings replaces what the node has.
func (l *Ledger) setHoldings(node string, list []Holding) {
	n := *l.nodes[node]
	for _, h := range list {
		if l.holders[h.ID] == nil {
			l.holders[h.ID] = map[string]bool{}
		}
		l.holders[h.ID][node] = true
	}
	for _, h := range n.Observed.Images {
		if FindHolding(list, h.ID) != nil {
			continue
		}
		if delete(l.holders[h.ID], node); len(l.holders[h.ID]) == 0 {
			delete(l.holders, h.ID)
		}
	}
	n.Observed.Images = list
	l.nodes[node] = &n
}

// noteHolding records that the node has the image, until it lists its images
// again.
func (l *Ledger) noteHolding(node, id, name string, size int64) {
	old := l.nodes[node]
	if old == nil {
		return
	}
	n := *old
	n.evicted = slices.DeleteFunc(slices.Clone(n.evicted), func(h Holding) bool { return h.ID == id })
	l.nodes[node] = &n
	l.setHoldings(node, withHolding(n.Observed.Images, Holding{ID: id, Names: []string{name}, Size: size, Index: l.index}))
}

// withHolding returns the sorted list with a holding that the ledger was told of.
func withHolding(list []Holding, h Holding) []Holding {
	list = slices.Clone(list)
	at, ok := slices.BinarySearchFunc(list, h.ID, byID)
	if !ok {
		return slices.Insert(list, at, h)
	}
	h.Names = slices.Concat(list[at].Names, h.Names)
	slices.Sort(h.Names)
	h.Names = slices.Compact(h.Names)
	h.Size = cmp.Or(list[at].Size, h.Size)
	list[at] = h
	return list
}

// observeImages returns what the node has by its list, but for what the ledger was
// told of it after it began to list. It settles the removals that are done there.
func (l *Ledger) observeImages(old *Node, c *Observe) []Holding {
	c.Seen = min(c.Seen, l.index)
	if c.Seen < old.Observed.Seen { // an older list, come late
		c.Seen = old.Observed.Seen
		return old.Observed.Images
	}
	list := slices.Clone(c.Images)
	for i := range list {
		list[i].Index = 0
	}
	evicted := old.evictedSince(c.Seen)
	list = slices.DeleteFunc(sortHoldings(list), func(h Holding) bool { return holds(evicted, h.ID) })
	for _, h := range old.Observed.Images {
		if h.Index > c.Seen {
			list = withHolding(list, h)
		}
	}
	l.settleRemovals(c.Node, func(r Removal) bool {
		return r.Index <= c.Seen && !holdsName(list, r.ID, r.Name)
	})
	return list
}

// sortHoldings sorts a list in place, each image once.
func sortHoldings(list []Holding) []Holding {
	for i := range list {
		list[i].Names = slices.Compact(slices.Sorted(slices.Values(list[i].Names)))
	}
	slices.SortStableFunc(list, func(a, b Holding) int { return cmp.Compare(a.ID, b.ID) })
	list = slices.CompactFunc(list, func(a, b Holding) bool { return a.ID == b.ID })
	return slices.DeleteFunc(list, func(h Holding) bool { return h.ID == "" })
}

func holdsName(list []Holding, id, name string) bool {
	h := FindHolding(list, id)
	return h != nil && slices.Contains(h.Names, name)
}

// FindHolding returns the image with the ID from a list sorted by ID, or nil.
func FindHolding(list []Holding, id string) *Holding {
	if at, ok := slices.BinarySearchFunc(list, id, byID); ok {
		return &list[at]
	}
	return nil
}

func byID(h Holding, id string) int { return cmp.Compare(h.ID, id) }

// Holding returns the node's copy of the image with the ID, as it was last seen, or
// nil.
func (n *Node) Holding(id string) *Holding { return FindHolding(n.Observed.Images, id) }

// HasImage says whether the node was last seen to have the image with the ID.
func (n *Node) HasImage(id string) bool { return n.Holding(id) != nil }
