package sched

import (
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// drawMachine draws a host of up to two NUMA nodes with cards of all sorts, some of
// them held or closed.
func drawMachine(t *rapid.T, most int) *Host {
	h := &Host{Name: "h", Cores: CPUs(upTo(8)...)}
	told := rapid.Bool().Draw(t, "told")
	if told {
		h.Topology = Topology{
			Nodes:    []CPUSet{CPUs(0, 1, 4, 5), CPUs(2, 3, 6, 7)},
			Physical: []CPUSet{CPUs(0, 4), CPUs(1, 5), CPUs(2, 6), CPUs(3, 7)},
		}
	}
	n := rapid.IntRange(0, most).Draw(t, "cards")
	for i := range n {
		c := rapid.SampledFrom([]Card{
			{Model: "NVIDIA TITAN Xp", Memory: 12}, {Model: "NVIDIA A100-SXM4-80GB", Memory: 80},
			{Model: "NVIDIA A100-SXM4-40GB", Memory: 40}, {Model: "NVIDIA A100-SXM4-80GB MIG 3g.40gb", Profile: "3g.40gb", Memory: 40},
		}).Draw(t, "card")
		c.UUID, c.Index = string(rune('a'+i)), string(rune('0'+i))
		if told {
			c.Near = h.Topology.Nodes[rapid.IntRange(0, 1).Draw(t, "node")]
			c.Far = make([]int, n)
		}
		if rapid.IntRange(0, 5).Draw(t, "state") == 0 {
			c.Closed = "lost"
		} else if rapid.IntRange(0, 5).Draw(t, "state") == 0 {
			h.Held.Add(&Grant{GPUs: []string{c.UUID}})
		}
		h.Cards = append(h.Cards, c)
	}
	for i := range n {
		for j := range i {
			if told {
				far := rapid.SampledFrom([]int{0, 1, 1, 2, 4, 6, 6, 99}).Draw(t, "far")
				h.Cards[i].Far[j], h.Cards[j].Far[i] = far, far
			}
		}
	}
	return h
}

func drawWishes(t *rapid.T, most int) []GPUWish {
	return rapid.SliceOfN(rapid.SampledFrom([]GPUWish{
		{}, {}, {Model: "A100"}, {Model: "titan xp"}, {Memory: 40}, {Memory: 80}, {Model: "A100", Memory: 41}, {Profile: "3g.40gb"},
		{Index: "0"}, {Index: "2"}, {UUID: "b"}, {UUID: "x"},
	}), 0, most).Draw(t, "wishes")
}

func TestFitSaysYesExactlyWhereSomeAssignmentOfAnySortExists(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, r := drawMachine(t, 6), Request{GPUs: drawWishes(t, 4)}
		r.AllGPUs = rapid.IntRange(0, 9).Draw(t, "all") == 0
		want := assign(h, r.GPUs, make([]bool, len(h.Cards)))
		if r.AllGPUs {
			want = len(h.Cards) > 0 && h.FreeGPUs("") == len(h.Cards)
		}
		g, lack, ok := Allot(h, &r, 1, nil)
		if ok != want {
			t.Fatalf("%s of %+v: %v (%s), an assignment exists: %v", &r, h.Cards, ok, lack, want)
		}
		switch {
		case !ok:
			explained(t, h, &r, lack)
		case r.AllGPUs && len(g.GPUs) != len(h.Cards), !r.AllGPUs && !covers(h, g.GPUs, r.GPUs):
			t.Fatalf("%s of %+v got %v", &r, h.Cards, g.GPUs)
		}
	})
}

// explained checks that a refusal says what is so.
func explained(t *rapid.T, h *Host, r *Request, lack Lack) {
	t.Helper()
	empty := &Host{Cards: slices.Clone(h.Cards)}
	for i := range empty.Cards {
		empty.Cards[i].Closed = ""
	}
	ever := r.AllGPUs && len(h.Cards) > 0 || !r.AllGPUs && assign(empty, r.GPUs, make([]bool, len(h.Cards)))
	if ever != (lack.Kind == NoGPU) || lack.Need <= lack.Free || lack.Free < 0 || lack.Host != "h" {
		t.Fatalf("%s of %+v, held %v: %+v; on the host if it were empty: %v", r, h.Cards, h.Held.gpus, lack, ever)
	}
	if lack.Why != "" && !slices.ContainsFunc(h.Cards, func(c Card) bool { return c.Closed != "" }) {
		t.Fatalf("nothing is closed, and %+v", lack)
	}
}

// costOf is what a set of cards costs beside pinned cores, by the rule.
func costOf(h *Host, set []int, cores CPUSet) (cost, loss int) {
	for i, c := range set {
		for _, d := range set[:i] {
			cost += h.far(c, d)
		}
		if near := h.Cards[c].Near; cores.Count() > 0 && near.Count() > 0 && !near.Intersects(cores) {
			cost += away
		}
		for d := range h.Cards {
			if d != c && h.free(&h.Cards[d]) {
				loss += farthest - h.far(c, d)
			}
		}
	}
	return cost, loss
}

// best tries every set of cards beside every way to pin the cores.
func best(h *Host, r *Request, ways []pin) (set []int, cost, loss int) {
	cost = math.MaxInt
	for mask := range 1 << len(h.Cards) {
		var try []int
		var uuids []string
		for i := range h.Cards {
			if mask>>i&1 == 1 {
				try, uuids = append(try, i), append(uuids, h.Cards[i].UUID)
			}
		}
		if !covers(h, uuids, r.GPUs) {
			continue
		}
		for _, way := range ways {
			c, l := costOf(h, try, way.cores)
			if c < cost || c == cost && (l < loss || l == loss && slices.Compare(try, set) < 0) {
				set, cost, loss = try, c, l
			}
		}
	}
	return set, cost, loss
}

// Every set of cards, and every NUMA node, is the dumb twin of Allot's choice.
func TestAllotChoosesTheCardsThatLieClosest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, r := drawMachine(t, 7), Request{GPUs: drawWishes(t, 4), MilliCPU: rapid.SampledFrom([]int64{0, 500, 1000, 2000, 3000}).Draw(t, "cpu")}
		if pinned := rapid.IntRange(0, 3).Draw(t, "held cores"); pinned > 0 {
			h.Held.Add(&Grant{Cores: CPUs(upTo(2 * pinned)[pinned:]...)})
		}
		ways := []pin{{}}
		if n := r.Pinned(); n > 0 {
			ways = h.pins(h.Shared(), n)
		}
		g, _, ok := Allot(h, &r, 1, nil)
		if !ok || len(r.GPUs) == 0 {
			return
		}
		var set []int
		for i := range h.Cards {
			if slices.Contains(g.GPUs, h.Cards[i].UUID) {
				set = append(set, i)
			}
		}
		want, wantCost, wantLoss := best(h, &r, ways)
		if cost, loss := costOf(h, set, g.Cores); cost != wantCost || loss != wantLoss || len(ways) == 1 && !slices.Equal(set, want) {
			t.Fatalf("%s: %v for %d and %d beside %s; best is %v for %d and %d, of %+v", &r, set, cost, loss, g.Cores, want, wantCost, wantLoss, h.Cards)
		}
	})
}

// lowest is what was chosen when nothing was told of a card but its model: the
// narrowest wishes choose first, each the first card that is left.
func lowest(h *Host, wishes []GPUWish) (uuids []string) {
	for _, narrow := range []func(*GPUWish) bool{
		func(w *GPUWish) bool { return w.UUID != "" },
		func(w *GPUWish) bool { return w.UUID == "" && w.Model != "" },
		func(w *GPUWish) bool { return w.UUID == "" && w.Model == "" },
	} {
		for i := range wishes {
			for j := range h.Cards {
				c := &h.Cards[j]
				if narrow(&wishes[i]) && wishes[i].takes(c) && h.free(c) && !slices.Contains(uuids, c.UUID) {
					uuids = append(uuids, c.UUID)
					break
				}
			}
		}
	}
	slices.Sort(uuids)
	return uuids
}

// The same cards as an earlier version granted, which may have had them in another order.
func TestWhereNothingIsToldOfCardsTheLowestAreGranted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &Host{Name: "h", Cores: CPUs(0), Cards: drawCards(t)}
		for _, c := range h.Cards {
			if rapid.IntRange(0, 3).Draw(t, "held") == 0 {
				h.Held.Add(&Grant{GPUs: []string{c.UUID}})
			}
		}
		r := Request{GPUs: rapid.SliceOfN(rapid.SampledFrom(wishing()), 0, 4).Draw(t, "wishes")}
		if g, _, ok := Allot(h, &r, 1, nil); ok && !slices.Equal(g.GPUs, lowest(h, r.GPUs)) {
			t.Fatalf("%s of %+v, held %v: got %v, want %v", &r, h.Cards, h.Held.gpus, g.GPUs, lowest(h, r.GPUs))
		}
	})
}

// far8 are the distances of eight cards in pairs by NVLink, two pairs to a switch's
// socket.
func far8(i int) (far []int) {
	for j := range 8 {
		switch {
		case i == j:
			far = append(far, 0)
		case i/2 == j/2:
			far = append(far, 1)
		case i/4 == j/4:
			far = append(far, 4)
		default:
			far = append(far, 6)
		}
	}
	return far
}

// dual is a host of two sockets of four cores in eight threads, with four cards each.
func dual() *Host {
	h := &Host{Name: "h", Cores: CPUs(upTo(16)...)}
	h.Topology.Nodes = []CPUSet{CPUs(0, 1, 2, 3, 8, 9, 10, 11), CPUs(4, 5, 6, 7, 12, 13, 14, 15)}
	for i := range 8 {
		h.Topology.Physical = append(h.Topology.Physical, CPUs(i, i+8))
		h.Cards = append(h.Cards, Card{UUID: string(rune('a' + i)), Model: "TITAN Xp", Near: h.Topology.Nodes[i/4], Far: far8(i)})
	}
	return h
}

func TestCardsAreGrantedNearOneAnotherAndTheCores(t *testing.T) {
	n := func(n int) []GPUWish { return make([]GPUWish, n) }
	for name, c := range map[string]struct {
		held  string // cards
		cores CPUSet // pinned
		r     Request
		want  string // cards, and cores
	}{
		"a pair":                     {"", CPUSet{}, Request{GPUs: n(2)}, "ab "},
		"a whole pair":               {"a", CPUSet{}, Request{GPUs: n(2)}, "cd "},
		"one of a broken pair":       {"d", CPUSet{}, Request{GPUs: n(1)}, "c "},
		"one where more are held":    {"efg", CPUSet{}, Request{GPUs: n(1)}, "h "},
		"a socket":                   {"a", CPUSet{}, Request{GPUs: n(4)}, "efgh "},
		"two pairs of a socket":      {"", CPUSet{}, Request{GPUs: n(4)}, "abcd "},
		"across the sockets":         {"aceg", CPUSet{}, Request{GPUs: n(3)}, "bdf "},
		"cores beside the cards":     {"abcd", CPUSet{}, Request{GPUs: n(1), MilliCPU: 2 * Core}, "e 4,12"},
		"cards beside the cores":     {"", CPUs(0, 8, 1, 9, 2, 10, 3), Request{GPUs: n(2), MilliCPU: 4 * Core}, "ef 4-5,12-13"},
		"a pair is worth the way":    {"acegh", CPUs(4), Request{GPUs: []GPUWish{{UUID: "b"}, {}}, MilliCPU: 2 * Core}, "bd 0,8"},
		"these very cores":           {"", CPUSet{}, Request{GPUs: n(2), Cores: CPUs(5)}, "ef 5"},
		"a socket that is told of":   {"", CPUSet{}, Request{GPUs: []GPUWish{{Index: ""}, {UUID: "h"}}, MilliCPU: Core}, "gh 4"},
		"more cores than one socket": {"", CPUSet{}, Request{GPUs: n(1), MilliCPU: 10 * Core}, "a 0-4,8-12"},
	} {
		h := dual()
		h.Held.Add(&Grant{GPUs: strings.Split(c.held, ""), Cores: c.cores})
		g, lack, ok := Allot(h, &c.r, 1, nil)
		if !ok {
			t.Errorf("%s: %s", name, lack)
		} else if got := strings.Join(g.GPUs, "") + " " + g.Cores.String(); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

// Three cards lie together, and each of them closer to one that is far from all others:
// what grows from any of them is not the best.
func TestTheBestCardsAreFoundWhereEachTemptsToAnother(t *testing.T) {
	h := &Host{Name: "h", Cores: CPUs(0)}
	for i := range 6 {
		c := Card{UUID: string(rune('a' + i)), Far: make([]int, 6)}
		for j := range 6 {
			switch {
			case i == j:
			case i/2 == j/2:
				c.Far[j] = 1
			case i%2+j%2 == 0:
				c.Far[j] = 2
			default:
				c.Far[j] = 6
			}
		}
		h.Cards = append(h.Cards, c)
	}
	g, _, _ := Allot(h, &Request{GPUs: make([]GPUWish, 3)}, 1, nil)
	if g == nil || !slices.Equal(g.GPUs, []string{"a", "c", "e"}) {
		t.Errorf("got %+v", g)
	}
}

// Where there are too many sets to try, the choice is as good as what grows from the
// best seed.
func TestTheChoiceAmongVeryManyCardsIsBoundedAndComplete(t *testing.T) {
	h := &Host{Name: "h", Cores: CPUs(0)}
	for i := range 56 {
		c := Card{UUID: string(rune('A' + i)), Model: "A100 MIG 1g.10gb", Profile: "1g.10gb"}
		for j := range 56 {
			c.Far = append(c.Far, min(6, (i^j)/7))
		}
		h.Cards = append(h.Cards, c)
	}
	r := Request{GPUs: slices.Repeat([]GPUWish{{Profile: "1g.10gb"}}, 20)}
	choice := newChoice(h, r.GPUs)
	set, _ := choice.beside(CPUSet{}, mostSteps)
	cost, _ := costOf(h, set, CPUSet{})
	for seed := range 56 {
		grown := newChoice(h, r.GPUs)
		grown.weigh(CPUSet{})
		grown.score = math.MaxInt
		grown.grow(seed)
		if other, _ := costOf(h, grown.set, CPUSet{}); other < cost || len(set) != 20 {
			t.Errorf("from %d the cost is %d; %d were chosen for %d", seed, other, len(set), cost)
		}
	}
}

func BenchmarkAllot(b *testing.B) {
	for _, n := range []int{1, 2, 4} {
		h, r := dual(), Request{MilliCPU: 4 * Core, GPUs: make([]GPUWish, n)}
		b.Run(r.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Allot(h, &r, 25000, nil)
			}
		})
	}
}
