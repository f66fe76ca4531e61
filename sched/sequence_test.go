package sched

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// machine is a host and the grants that live on it, in a random order of
// grants and releases.
type machine struct {
	host   Host
	grants []*Grant
}

func TestNothingIsGrantedTwiceInAnyOrderOfGrantsAndReleases(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{host: Host{
			Name: "h", Cores: CPUs(upTo(rapid.IntRange(0, 9).Draw(t, "cores"))...), Memory: 64, Cards: drawCards(t),
			Buffer: Buffer{Cores: rapid.IntRange(0, 2).Draw(t, "buffer"), Memory: 4},
		}}
		t.Repeat(map[string]func(*rapid.T){
			"grant":   m.grant,
			"release": m.release,
			"":        m.check,
		})
	})
}

func (m *machine) grant(t *rapid.T) {
	r := drawRequest(t)
	lack, fits := Fit(&m.host, &r)
	g, why, ok := Allot(&m.host, &r, 25000, nil)
	if ok != fits || why != lack {
		t.Fatalf("Fit says %v (%s), Allot %v (%s)", fits, lack, ok, why)
	}
	if !ok {
		return
	}
	if got := g.Cores.Count(); got != r.Pinned() || len(g.Ports) != len(r.Ports) || g.Memory != r.Memory {
		t.Fatalf("%+v was granted for %s", g, &r)
	}
	m.host.Held.Add(g)
	m.grants = append(m.grants, g)
}

func (m *machine) release(t *rapid.T) {
	if len(m.grants) == 0 {
		t.Skip("nothing is held")
	}
	i := rapid.IntRange(0, len(m.grants)-1).Draw(t, "which")
	m.grants = slices.Delete(m.grants, i, i+1)
	m.host.Held = Held{}
	for _, g := range m.grants {
		m.host.Held.Add(g)
	}
}

func (m *machine) check(t *rapid.T) {
	cores, gpus, ports := map[int]bool{}, map[string]bool{}, map[Port]bool{}
	var quota, memory int64
	sharers := 0
	for _, g := range m.grants {
		for _, c := range g.Cores.List() {
			once(t, cores, c)
		}
		for _, id := range g.GPUs {
			once(t, gpus, id)
		}
		for _, b := range g.Ports {
			once(t, ports, b.Port())
		}
		quota += g.MilliCPU
		memory += g.Memory
		if g.Shares() {
			sharers++
		}
	}
	left := m.host.Cores.Count() - len(cores)
	if sharers > 0 && left < 1 || (quota > 0 || len(cores) > 0) && quota > int64(left-m.host.Buffer.Cores)*Core {
		t.Fatalf("%d sharers with %d are left %d cores, %d of them kept free", sharers, quota, left, m.host.Buffer.Cores)
	}
	if memory > m.host.Memory-m.host.Buffer.Memory {
		t.Fatalf("%d bytes are held", memory)
	}
}

func once[K comparable](t *rapid.T, held map[K]bool, k K) {
	if held[k] {
		t.Fatalf("%v is held twice", k)
	}
	held[k] = true
}

func drawRequest(t *rapid.T) Request {
	r := Request{
		MilliCPU: rapid.SampledFrom([]int64{0, 0, 250, 1500, 1000, 2000, 3000}).Draw(t, "cpu"),
		Memory:   rapid.Int64Range(0, 20).Draw(t, "memory"),
		GPUs:     rapid.SliceOfN(rapid.SampledFrom(wishing()), 0, 2).Draw(t, "gpus"),
		AllGPUs:  rapid.IntRange(0, 9).Draw(t, "all") == 0,
	}
	if rapid.IntRange(0, 4).Draw(t, "these cores") == 0 {
		r.Cores = CPUs(rapid.SliceOfN(rapid.IntRange(0, 9), 1, 3).Draw(t, "cores")...)
	}
	for range rapid.IntRange(0, 3).Draw(t, "ports") {
		r.Ports = append(r.Ports, PortWish{
			Host:  rapid.SampledFrom([]uint16{0, 0, 0, 80, 25000, 25001}).Draw(t, "port"),
			Proto: rapid.SampledFrom([]string{"tcp", "udp"}).Draw(t, "proto"),
		})
	}
	return r
}

func drawCards(t *rapid.T) []Card {
	models := rapid.SliceOfN(rapid.SampledFrom([]string{"NVIDIA TITAN Xp", "TITAN Xp", "Quadro"}), 0, 5).Draw(t, "models")
	cards := make([]Card, len(models))
	for i, m := range models {
		cards[i] = Card{UUID: string(rune('a' + i)), Model: m}
	}
	return cards
}
