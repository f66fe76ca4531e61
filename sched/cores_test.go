package sched

import (
	"math/bits"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// drawTopology draws a machine of up to twelve cores in up to three NUMA nodes and
// physical cores of one, two or four threads, beside those of two some of one; some are
// held.
func drawTopology(t *rapid.T) *Host {
	threads := rapid.SampledFrom([]int{1, 2, 2, 4}).Draw(t, "threads")
	nodes := rapid.IntRange(1, 3).Draw(t, "nodes")
	each := rapid.IntRange(1, 12/nodes/threads).Draw(t, "physical cores of a node")
	h := &Host{Name: "h"}
	next := 0
	for range nodes {
		var node CPUSet
		for range each {
			n := threads
			if threads == 2 && rapid.IntRange(0, 4).Draw(t, "slow") == 0 {
				n = 1
			}
			g := CPUs(upTo(next + n)[next:]...)
			next += n
			node = node.Union(g)
			h.Topology.Physical = append(h.Topology.Physical, g)
		}
		h.Topology.Nodes = append(h.Topology.Nodes, node)
	}
	h.Cores = CPUs(upTo(next)...)
	if threads < 4 && rapid.IntRange(0, 3).Draw(t, "kept from containers") == 0 {
		h.Cores = h.Cores.Minus(CPUs(0, 1))
	}
	h.Held.Add(&Grant{Cores: CPUs(rapid.SliceOfN(rapid.IntRange(0, 11), 0, 8).Draw(t, "held")...)})
	return h
}

// judged is how good a set of the free cores is, less is better: the NUMA nodes, the
// physical cores that it breaks, those that it touches, and what it leaves of its node.
func judged(h *Host, set CPUSet) (nodes, broken, touched, left int) {
	free := h.Shared()
	for _, node := range h.Topology.Nodes {
		if node.Intersects(set) {
			nodes++
			left += node.Common(free).Count() - node.Common(set).Count()
		}
	}
	for _, g := range h.Topology.Physical {
		taken, all := g.Common(set).Count(), g.Common(h.Cores).Count()
		if taken > 0 {
			touched++
		}
		if taken > 0 && taken < all && g.Common(free).Count() == all {
			broken++
		}
	}
	return nodes, broken, touched, left
}

// Every set of the free cores is the dumb twin of the choice.
func TestCoresAreWholePhysicalOnesOfOneNodeWherePossible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawTopology(t)
		free := h.Shared().List()
		r := Request{MilliCPU: int64(rapid.IntRange(1, 8).Draw(t, "cores")) * Core}
		g, _, ok := Allot(h, &r, 1, nil)
		if !ok {
			return
		}
		if g.Cores.Count() != r.Pinned() || g.Cores.countMinus(h.Shared()) > 0 {
			t.Fatalf("%s of %s for %s", g.Cores, h.Shared(), &r)
		}
		n, b, c, l := judged(h, g.Cores)
		for mask := range uint(1) << len(free) {
			if bits.OnesCount(mask) != r.Pinned() {
				continue
			}
			var set []int
			for i, core := range free {
				if mask>>i&1 == 1 {
					set = append(set, core)
				}
			}
			n2, b2, c2, l2 := judged(h, CPUs(set...))
			if n2 < n || n2 == 1 && n == 1 && slices.Compare([]int{b2, c2, l2}, []int{b, c, l}) < 0 {
				t.Fatalf("%+v with %s free: %s is %d nodes, breaks %d, touches %d, leaves %d; %v is %d, %d, %d, %d",
					h.Topology, h.Shared(), g.Cores, n, b, c, l, set, n2, b2, c2, l2)
			}
		}
	})
}

func TestWhoeverHasCoresKeepsThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawTopology(t)
		free := h.Shared().List()
		if len(free) == 0 {
			return
		}
		held := Grant{Cores: CPUs(rapid.SliceOfN(rapid.SampledFrom(free), 0, 6).Draw(t, "has")...)}
		r := Request{MilliCPU: int64(rapid.IntRange(1, 8).Draw(t, "cores")) * Core}
		g, _, ok := Regrant(h, &held, &r, CPUSet{})
		if !ok {
			return
		}
		kept := min(held.Cores.Count(), r.Pinned())
		if g.Cores.Count() != r.Pinned() || g.Cores.countMinus(h.Shared()) > 0 || g.Cores.Common(held.Cores).Count() != kept {
			t.Fatalf("%s of %s became %s for %s", held.Cores, h.Shared(), g.Cores, &r)
		}
	})
}

func TestCoresGrowAndShrinkByWholePhysicalOnesNearby(t *testing.T) {
	for name, c := range map[string]struct {
		others, has CPUSet
		cards       []string
		n           int
		want        string
	}{
		"its own broken core first":  {CPUs(), CPUs(4), nil, 2, "4,12"},
		"then its own node":          {CPUs(), CPUs(4, 12), nil, 4, "4-5,12-13"},
		"then another":               {CPUs(6, 7, 14, 15), CPUs(4, 12), nil, 6, "0,4-5,8,12-13"},
		"a whole one is kept":        {CPUs(), CPUs(3, 5, 13), nil, 2, "5,13"},
		"within one node":            {CPUs(), CPUs(0, 8, 4, 12, 5, 13), nil, 4, "4-5,12-13"},
		"near the cards":             {CPUs(), CPUs(), []string{"e"}, 2, "4,12"},
		"where there is most use":    {CPUs(0, 8, 1), CPUs(), nil, 3, "2,9-10"},
		"a broken one is used first": {CPUs(0, 4, 12, 5, 13), CPUs(), nil, 1, "8"},
	} {
		h := dual()
		h.Held.Add(&Grant{Cores: c.others})
		held := Grant{Cores: c.has, GPUs: c.cards}
		g, lack, ok := Regrant(h, &held, &Request{MilliCPU: int64(c.n) * Core}, CPUSet{})
		if !ok || g.Cores.String() != c.want {
			t.Errorf("%s: got %+v, %s, want %s", name, g, lack, c.want)
		}
	}
}

// What a host tells of its cores may be damaged: groups that overlap, that are empty,
// that have cores of no host.
func TestNoTopologyMakesAGrantOfOtherThanFreeCores(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &Host{Name: "h", Cores: CPUs(upTo(10)...)}
		odd := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) CPUSet {
			return CPUs(rapid.SliceOfN(rapid.IntRange(0, 12), 0, 5).Draw(t, "group")...)
		}), 0, 4)
		h.Topology = Topology{Nodes: odd.Draw(t, "nodes"), Physical: odd.Draw(t, "physical")}
		h.Held.Add(&Grant{Cores: CPUs(rapid.SliceOfN(rapid.IntRange(0, 9), 0, 5).Draw(t, "held")...)})
		for i := range rapid.IntRange(0, 3).Draw(t, "cards") {
			far := rapid.SliceOfN(rapid.IntRange(-9, 99), 0, 5).Draw(t, "far")
			h.Cards = append(h.Cards, Card{UUID: string(rune('a' + i)), Near: CPUs(i), Far: far})
		}
		r := Request{MilliCPU: int64(rapid.IntRange(1, 8).Draw(t, "cores")) * Core, GPUs: drawWishes(t, 2)}
		lack, fits := Fit(h, &r)
		g, _, ok := Allot(h, &r, 1, nil)
		if ok != fits || ok && (g.Cores.Count() != r.Pinned() || g.Cores.countMinus(h.Shared()) > 0 || len(g.GPUs) != len(r.GPUs)) {
			t.Fatalf("%s: %v (%s), %+v of %s", &r, fits, lack, g, h.Shared())
		}
		if !ok {
			return
		}
		more := Request{MilliCPU: int64(rapid.IntRange(1, 8).Draw(t, "then")) * Core}
		if again, _, ok := Regrant(h, g, &more, CPUSet{}); ok && (again.Cores.Count() != more.Pinned() || again.Cores.countMinus(h.Shared()) > 0) {
			t.Fatalf("%+v became %+v", g, again)
		}
	})
}
