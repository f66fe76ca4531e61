package main

import (
	"fmt"
	"time"

	"ddocker/sched"
)

// picks measures the choice among simulated hosts, and how it grows.
func (b *bench) picks() {
	few, many := pick(1_000), pick(10_000)
	b.limited("sched.Pick over 1,000 hosts", few.median(), "%.2f ms", 1, few.String())
	b.limited("sched.Pick over 10,000 hosts", many.median(), "%.2f ms", 10, many.String())
	b.limited("  growth for ten times the hosts", many.median()/few.median(), "%.1f×", 0, "")
}

// pick asks for two cores, memory, a port and a GPU that a part of the hosts have.
func pick(n int) sample {
	hosts := make([]*sched.Host, n)
	loads := map[string]sched.Load{}
	for i := range hosts {
		hosts[i] = simulated(i)
		loads[hosts[i].ID] = sched.Load{CPU: i * 7 % 100, Memory: i * 13 % 100}
	}
	load := func(id string) sched.Load { return loads[id] }
	r := &sched.Request{
		MilliCPU: 2 * sched.Core, Memory: 4 << 30,
		GPUs: []sched.GPUWish{{Model: "TITAN Xp"}}, Ports: []sched.PortWish{{Proto: "tcp"}},
	}
	var s sample
	const repeats = 101
	for range repeats {
		began := time.Now()
		hosts, misfit := sched.Pick(hosts, load, r, 5)
		s.add(time.Since(began))
		if misfit != nil || len(hosts) != 5 {
			panic(fmt.Sprintf("pick among %d hosts: %v", n, misfit))
		}
	}
	return s
}

// simulated is a host of 16 cores of which some are held; two of three have GPUs.
func simulated(i int) *sched.Host {
	h := &sched.Host{
		ID: fmt.Sprintf("%032x", i), Name: fmt.Sprintf("h%d", i), Memory: 64 << 30,
		Buffer: sched.Buffer{Cores: 1, Memory: 1 << 30},
	}
	for c := range 16 {
		h.Cores = h.Cores.Union(sched.CPUs(c))
	}
	for c := range 8 {
		h.Topology.Physical = append(h.Topology.Physical, sched.CPUs(2*c, 2*c+1))
	}
	h.Topology.Nodes = []sched.CPUSet{h.Cores.First(8), h.Cores.Minus(h.Cores.First(8))}
	far := [4][4]int{{0, 4, 6, 6}, {4, 0, 6, 6}, {6, 6, 0, 4}, {6, 6, 4, 0}}
	for g := range i % 3 * 2 {
		c := sched.Card{
			UUID: fmt.Sprintf("GPU-%08x-0000-0000-0000-%012x", i, g), Index: fmt.Sprint(g), Model: "NVIDIA TITAN Xp",
			Memory: 12 << 30, Near: h.Topology.Nodes[g/2], Far: far[g][:i%3*2],
		}
		if i%5 == 0 && g == 3 {
			c.Closed = "busy: used by python (pid 312, alice), outside any container"
		}
		h.Cards = append(h.Cards, c)
	}
	for held := range i % 8 {
		g := sched.Grant{
			Cores: sched.CPUs(2*held, 2*held+1), Memory: 4 << 30,
			Ports: []sched.Binding{{Host: uint16(25000 + held), Container: 80, Proto: "tcp"}},
		}
		if held < len(h.Cards) {
			g.GPUs = []string{h.Cards[held].UUID}
		}
		h.Held.Add(&g)
	}
	return h
}
