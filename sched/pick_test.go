package sched

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// picked names the hosts that Pick returns.
func picked(hosts []*Host, load func(string) Load, r Request, n int) []string {
	best, _ := Pick(hosts, load, &r, n)
	var names []string
	for _, h := range best {
		names = append(names, h.Name)
	}
	return names
}

func hostWith(name string, cards int, held ...*Grant) *Host {
	h := &Host{ID: "id-" + name, Name: name, Cores: CPUs(upTo(10)...), Memory: 100}
	for i := range cards {
		h.Cards = append(h.Cards, Card{UUID: fmt.Sprint(name, i), Model: "TITAN Xp"})
	}
	for _, g := range held {
		h.Held.Add(g)
	}
	return h
}

func TestPickOrdersHosts(t *testing.T) {
	half := &Grant{Memory: 50}
	loads := map[string]Load{"id-a": {CPU: 90}, "id-b": {Memory: 9}} // under a tenth is noise
	busy := func(id string) Load { return loads[id] }
	lacks := func(seconds int) func(string) Load {
		return func(id string) Load { return map[string]Load{"id-a": {Wait: seconds}}[id] }
	}
	gpu := Request{GPUs: make([]GPUWish, 1)}
	for name, c := range map[string]struct {
		hosts []*Host
		load  func(string) Load
		r     Request
		want  []string
	}{
		"the emptiest first":  {[]*Host{hostWith("a", 0, half), hostWith("b", 0)}, nil, Request{}, []string{"b", "a"}},
		"cores count too":     {[]*Host{hostWith("a", 0, &Grant{Cores: CPUs(1, 2)}), hostWith("b", 0, &Grant{MilliCPU: 1900})}, nil, Request{}, []string{"b", "a"}},
		"fewer containers":    {[]*Host{hostWith("a", 0, &Grant{}), hostWith("b", 0)}, nil, Request{}, []string{"b", "a"}},
		"equals as they come": {[]*Host{hostWith("b", 0), hostWith("a", 0)}, nil, Request{}, []string{"b", "a"}},
		"idle GPUs spared":    {[]*Host{hostWith("a", 2), hostWith("b", 0, half)}, nil, Request{}, []string{"b", "a"}},
		"large groups spared": {
			[]*Host{hostWith("a", 4), hostWith("b", 2), hostWith("c", 4, &Grant{GPUs: []string{"c0", "c1", "c2"}})},
			nil, gpu, []string{"c", "b", "a"},
		},
		"the loaded last":     {[]*Host{hostWith("a", 0), hostWith("b", 0)}, busy, Request{}, []string{"b", "a"}},
		"noise ignored":       {[]*Host{hostWith("b", 0), hostWith("c", 0, &Grant{Memory: 5})}, busy, Request{}, []string{"b", "c"}},
		"the image's last":    {[]*Host{hostWith("a", 0), hostWith("b", 0)}, lacks(1), Request{}, []string{"b", "a"}},
		"a wait is a percent": {[]*Host{hostWith("a", 0), hostWith("b", 0, half)}, lacks(50), Request{}, []string{"a", "b"}},
		"a long wait is more": {[]*Host{hostWith("a", 0), hostWith("b", 0, half)}, lacks(52), Request{}, []string{"b", "a"}},
		"only who fits":       {[]*Host{hostWith("a", 0), hostWith("b", 1)}, nil, gpu, []string{"b"}},
	} {
		if got := picked(c.hosts, c.load, c.r, 5); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestPickTellsWhatEveryHostLacks(t *testing.T) {
	hosts := []*Host{hostWith("a", 0), hostWith("b", 1)}
	best, misfit := Pick(hosts, nil, &Request{GPUs: make([]GPUWish, 2)}, 5)
	if len(best) != 0 || misfit == nil {
		t.Fatalf("got %v, %v", best, misfit)
	}
	if got, want := misfit.Error(), "no host has 2× GPU free: b has only 1× GPU in all, a has no GPU"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// Sorting all hosts that fit is the dumb twin of Pick.
func TestPickReturnsTheBestOfAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var hosts []*Host
		for i := range rapid.IntRange(0, 12).Draw(t, "hosts") {
			held := &Grant{Memory: rapid.Int64Range(0, 3).Draw(t, "held") * 30}
			hosts = append(hosts, hostWith(string(rune('a'+i)), rapid.IntRange(0, 2).Draw(t, "cards"), held))
		}
		r := Request{Memory: 30}
		n := rapid.IntRange(1, 6).Draw(t, "n")
		all := picked(hosts, nil, r, len(hosts)+1)
		if got, want := picked(hosts, nil, r, n), all[:min(n, len(all))]; !slices.Equal(got, want) {
			t.Fatalf("the best %d: got %v, want %v", n, got, want)
		}
		fitting := slices.DeleteFunc(slices.Clone(hosts), func(h *Host) bool { _, ok := Fit(h, &r); return !ok })
		slices.SortFunc(fitting, func(a, b *Host) int {
			if (&ranked{a, 0, a.FreeGPUs(""), a.percent()}).before(&ranked{b, 0, b.FreeGPUs(""), b.percent()}) {
				return -1
			}
			return 1
		})
		for i, h := range fitting {
			if all[i] != h.Name {
				t.Fatalf("place %d: got %s, want %s", i, all[i], h.Name)
			}
		}
	})
}

func BenchmarkPick(b *testing.B) {
	two := []GPUWish{{Model: "titan xp"}, {Model: "titan xp"}}
	for _, n := range []int{1000, 10000} {
		hosts := benchHosts(n)
		load := func(id string) Load { return Load{CPU: len(id) * 7 % 100} }
		for _, r := range []Request{
			{MilliCPU: 4 * Core, Memory: 8 << 30},
			{MilliCPU: 4 * Core, Memory: 8 << 30, GPUs: two},
			{GPUs: make([]GPUWish, 9)}, // nobody has them
		} {
			b.Run(fmt.Sprintf("%d/%s", n, &r), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					Pick(hosts, load, &r, 5)
				}
			})
		}
	}
}

// benchHosts are n hosts of 64 cores and 8 cards, from empty to full.
func benchHosts(n int) []*Host {
	models := []string{"NVIDIA TITAN Xp", "NVIDIA GeForce RTX 3090"}
	hosts := make([]*Host, n)
	for i := range hosts {
		h := &Host{ID: fmt.Sprintf("id%d", i), Name: fmt.Sprintf("gpu%d", i), Cores: CPUs(upTo(64)...), Memory: 256 << 30}
		for c := range 8 {
			h.Cards = append(h.Cards, Card{UUID: fmt.Sprintf("GPU-%08d-%d", i, c), Model: models[i%2]})
		}
		for range i % 8 {
			r := Request{MilliCPU: 6 * Core, Memory: 16 << 30, GPUs: make([]GPUWish, 1), Ports: []PortWish{{Proto: "tcp"}, {Proto: "tcp"}}}
			if g, _, ok := Allot(h, &r, 25000, nil); ok {
				h.Held.Add(g)
			}
		}
		hosts[i] = h
	}
	return hosts
}

// upTo lists the numbers from 0 below n.
func upTo(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}
