package sched

import (
	"fmt"
	"strings"
	"testing"
)

// largest is a host of 16 GPUs on 8 NUMA nodes, each cut into 7 MIG devices.
func largest() *Host {
	h := &Host{Name: "h", Cores: CPUs(upTo(64)...)}
	for i := range 8 {
		h.Topology.Nodes = append(h.Topology.Nodes, CPUs(upTo(64)[8*i:8*i+8]...))
	}
	for i := range 112 {
		c := Card{
			UUID: fmt.Sprint("MIG-", i), Index: fmt.Sprintf("%d:%d", i/7, i%7), Model: "NVIDIA A100-SXM4-80GB MIG 1g.10gb", Profile: "1g.10gb",
			Memory: 10 << 30, Near: h.Topology.Nodes[i/14],
		}
		for j := range 112 {
			c.Far = append(c.Far, map[bool]int{true: 0, false: 1 + (i/7*5+j/7*5)%6}[i/7 == j/7])
		}
		h.Cards = append(h.Cards, c)
	}
	return h
}

// hostile are requests that cost as much as a request may.
func hostile() map[string]*Request {
	long := strings.Repeat("NVIDIA ", 10) + "A100 MIG 1g.10gb"
	requests := map[string]*Request{}
	for _, n := range []int{2, 8, 20, 56, 100, 111, 112, maxWishes} {
		for _, sort := range []string{"alike", "distinct", "of no use"} {
			r := &Request{MilliCPU: Core}
			for i := range n {
				w := GPUWish{Model: long, Profile: "1g.10gb"}
				if sort != "alike" {
					w.Memory = int64(i + 1)
				}
				if sort == "of no use" && i%2 == 1 {
					w.Model = strings.Repeat("nvidia ", 12) + "A100 MIG 2"
				}
				r.GPUs = append(r.GPUs, w)
			}
			requests[fmt.Sprint(n, " ", sort)] = r
		}
	}
	return requests
}

// What is granted is worked out by every replica while everything else waits.
func TestNoRequestIsSearchedForLongerThanIsAllowed(t *testing.T) {
	h := largest()
	once := 0 // what the first set of cards costs, which is always looked for
	for name, r := range hostile() {
		if err := r.Check(); err != nil {
			t.Fatal(err)
		}
		g, _, ok := Allot(h, r, 1, nil)
		if ok != (len(r.GPUs) <= 112 && !strings.HasSuffix(name, "no use")) || ok && !covers(h, g.GPUs, r.GPUs[:len(g.GPUs)]) {
			t.Errorf("%s: %v %+v", name, ok, g)
		}
		if !ok {
			continue
		}
		choice := newChoice(h, r.GPUs)
		choice.weigh(CPUSet{})
		choice.grow(0)
		once = max(once, -choice.steps)
		for _, budget := range []int{0, mostSteps / 8} {
			choice.beside(CPUs(0), budget)
			if spent := budget - choice.steps; spent > budget+once+len(r.GPUs)*2 {
				t.Errorf("%s: %d steps, of %d and %d", name, spent, budget, once)
			}
		}
	}
	if most := mostSteps + 8*once; most > 1<<20 {
		t.Errorf("up to %d steps", most)
	}
	if words := hostile()["112 distinct"].String(); len(words) > 2000 {
		t.Errorf("a request in %d bytes: %s", len(words), words)
	}
}

func BenchmarkHostileAllot(b *testing.B) {
	h := largest()
	for name, r := range hostile() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, lack, ok := Allot(h, r, 25000, nil); !ok {
					m := Misfit{r, []Lack{lack}}
					_ = m.Error()
				}
			}
		})
	}
}
