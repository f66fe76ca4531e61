package sched

import (
	"cmp"
	"slices"
)

// pin is a way to pin cores.
type pin struct {
	cores CPUSet
	// broken counts the physical cores of which it takes a part for the first time,
	// touched those of which it takes anything.
	broken, touched int
	left            int // cores of the NUMA node that stay free
}

// pins returns the ways to pin n of the free cores, best first: within each NUMA node
// that has as many, else one across nodes. A way is better that breaks fewer physical
// cores, and then leaves less of the node.
func (h *Host) pins(free CPUSet, n int) []pin {
	var ways []pin
	nodes := h.nodes(free)
	for _, node := range nodes {
		if left := node.Count() - n; left >= 0 {
			p := h.threads(node, n)
			p.left = left
			ways = append(ways, p)
		}
	}
	if len(ways) == 0 {
		return []pin{h.across(nodes, n)}
	}
	slices.SortStableFunc(ways, func(a, b pin) int {
		return cmp.Or(cmp.Compare(a.broken, b.broken), cmp.Compare(a.touched, b.touched), cmp.Compare(a.left, b.left))
	})
	return ways
}

// nodes returns what of the cores each NUMA node has, and what none is said to have.
func (h *Host) nodes(cores CPUSet) []CPUSet {
	if len(h.Topology.Nodes) == 0 {
		return []CPUSet{cores}
	}
	var nodes []CPUSet
	for _, node := range h.Topology.Nodes {
		if part := cores.Common(node); part.Count() > 0 {
			nodes, cores = append(nodes, part), cores.Minus(part)
		}
	}
	return append(nodes, cores)
}

// across takes n cores of several nodes: all of the fullest, as long as no other has
// what is still wanted.
func (h *Host) across(nodes []CPUSet, n int) pin {
	slices.SortStableFunc(nodes, func(a, b CPUSet) int { return cmp.Compare(b.Count(), a.Count()) })
	var p pin
	for i, node := range nodes {
		want := n - p.cores.Count()
		for j := len(nodes) - 1; j > i && node.Count() > want; j-- {
			if nodes[j].Count() >= want {
				node = nodes[j]
				break
			}
		}
		p.cores = p.cores.Union(h.threads(node, want).cores)
		if p.cores.Count() == n {
			break
		}
	}
	return p
}

// threads takes n of the free cores: whole physical cores, the largest first, then
// parts of those of which somebody has a part already; where that does not make n, it
// breaks one.
func (h *Host) threads(free CPUSet, n int) (p pin) {
	if len(h.Topology.Physical) == 0 {
		p.cores = free.First(n)
		return p
	}
	whole, parted := h.physical(free)
	parts := free.Count()
	for _, g := range whole {
		parts -= g.Count()
	}
	want := min(n, free.Count())
	take := func(g CPUSet) {
		p.cores = p.cores.Union(g.Minus(p.cores).First(want))
		want = n - p.cores.Count()
		p.touched++
	}
	broken := -1
	for i, g := range whole {
		if g.Count() <= want {
			take(g)
		} else if broken < 0 || g.Count() < whole[broken].Count() {
			broken = i
		}
	}
	if parts < want && broken >= 0 {
		take(whole[broken])
		p.broken++
	}
	for _, g := range parted {
		if want > 0 {
			take(g)
		}
	}
	p.cores = p.cores.Union(free.Minus(p.cores).First(want))
	return p
}

// physical returns the physical cores that are free as a whole, and what is free of
// the others; each largest first.
func (h *Host) physical(free CPUSet) (whole, parted []CPUSet) {
	for _, g := range h.Topology.Physical {
		switch n := g.Count() - g.countMinus(free); {
		case n == 0:
		case n == g.Count()-g.countMinus(h.Cores):
			whole = append(whole, g.Common(free))
		default:
			parted = append(parted, g.Common(free))
		}
	}
	largest := func(a, b CPUSet) int { return cmp.Compare(b.Count(), a.Count()) }
	slices.SortStableFunc(whole, largest)
	slices.SortStableFunc(parted, largest)
	return whole, parted
}

// repin returns n cores for whoever has some: of those, or those and others as near
// as may be, to them or else to its cards.
func (h *Host) repin(has CPUSet, n int, cards CPUSet) CPUSet {
	if has.Count() >= n {
		return h.pins(has, n)[0].cores
	}
	free, got := h.Shared().Minus(has), has
	more := func(part CPUSet) {
		part = part.Common(free).Minus(got)
		got = got.Union(h.threads(part, n-got.Count()).cores)
	}
	for _, of := range [][]CPUSet{h.Topology.Physical, h.Topology.Nodes} {
		for _, part := range of {
			if part.Intersects(has) {
				more(part)
			}
		}
	}
	if missing := n - got.Count(); missing > 0 {
		ways := h.pins(free.Minus(got), missing)
		near := slices.IndexFunc(ways, func(p pin) bool { return p.cores.Intersects(cards) })
		got = got.Union(ways[max(0, near)].cores)
	}
	return got
}

// near are the cores near the cards.
func (h *Host) near(uuids []string) (cores CPUSet) {
	for i := range h.Cards {
		if slices.Contains(uuids, h.Cards[i].UUID) {
			cores = cores.Union(h.Cards[i].Near)
		}
	}
	return cores
}
