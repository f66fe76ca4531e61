package sched

import (
	"fmt"
	"testing"
)

func BenchmarkPick(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		hosts := benchHosts(n)
		load := func(id string) Load { return Load{CPU: len(id) * 7 % 100} }
		for name, r := range benchRequests() {
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					Pick(hosts, load, &r, 5)
				}
			})
		}
	}
}

// benchRequests are what people ask for, and one that nobody can grant.
func benchRequests() map[string]Request {
	two := []GPUWish{{Model: "titan xp"}, {Model: "titan xp"}}
	return map[string]Request{
		"cores":  {MilliCPU: 4 * Core, Memory: 8 << 30},
		"gpus":   {MilliCPU: 4 * Core, Memory: 8 << 30, GPUs: two},
		"misfit": {MilliCPU: 4 * Core, GPUs: make([]GPUWish, 9)},
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
			r := Request{MilliCPU: 6 * Core, Memory: 16 << 30, GPUs: make([]GPUWish, 1), Ports: make([]PortWish, 2)}
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
