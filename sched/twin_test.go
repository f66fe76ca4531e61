package sched

import (
	"slices"
	"testing"
)

// assign is the dumb twin of the GPU rule: it tries every way to give each wish
// a free card of its own.
func assign(h *Host, wishes []GPUWish, used []bool) bool {
	if len(wishes) == 0 {
		return true
	}
	for i, c := range h.Cards {
		if used[i] || c.Closed != "" || h.Held.HasGPU(c.UUID) || !wishes[0].takes(&c) {
			continue
		}
		used[i] = true
		if assign(h, wishes[1:], used) {
			return true
		}
		used[i] = false
	}
	return false
}

// Every host of up to three cards of two models, whichever are held, and every
// list of up to three wishes.
func TestFitGrantsCardsExactlyWhereSomeAssignmentExists(t *testing.T) {
	for size := range 4 {
		for models := range 1 << size {
			for held := range 1 << size {
				everyWish(t, cardHost(size, models, held), nil, 3)
			}
		}
	}
}

func cardHost(size, models, held int) *Host {
	h := &Host{Name: "h", Cores: CPUs(0)}
	for i := range size {
		c := Card{UUID: string(rune('a' + i)), Model: []string{"NVIDIA TITAN Xp", "Quadro"}[models>>i&1]}
		h.Cards = append(h.Cards, c)
		if held>>i&1 == 1 {
			h.Held.Add(&Grant{GPUs: []string{c.UUID}})
		}
	}
	return h
}

func everyWish(t *testing.T, h *Host, wishes []GPUWish, more int) {
	t.Helper()
	want := assign(h, wishes, make([]bool, len(h.Cards)))
	g, lack, ok := Allot(h, &Request{GPUs: wishes}, 1, nil)
	if ok != want || ok && !covers(h, g.GPUs, wishes) {
		t.Fatalf("%v of %v, held %v: got %+v (%s), an assignment exists: %v", wishes, h.Cards, h.Held.gpus, g, lack, want)
	}
	for _, w := range wishing() {
		if more > 0 {
			everyWish(t, h, append(slices.Clone(wishes), w), more-1)
		}
	}
}

// covers says whether the granted cards are distinct, free, and satisfy all wishes.
func covers(h *Host, granted []string, wishes []GPUWish) bool {
	only := &Host{}
	for _, c := range h.Cards {
		if slices.Contains(granted, c.UUID) && c.Closed == "" && !h.Held.HasGPU(c.UUID) {
			only.Cards = append(only.Cards, c)
		}
	}
	return len(granted) == len(wishes) && len(only.Cards) == len(granted) && assign(only, wishes, make([]bool, len(granted)))
}

func wishing() []GPUWish {
	return []GPUWish{{}, {Model: "titan xp"}, {Model: "NVIDIA Quadro"}, {UUID: "a"}, {UUID: "b"}, {UUID: "c", Model: "ignored"}, {UUID: "x"}}
}

// pinnable is the dumb twin of the CPU rule: it tries every set of free cores.
func pinnable(h *Host, n int) bool {
	free := h.Shared().List()
	for mask := range 1 << len(free) {
		var set []int
		for i, c := range free {
			if mask>>i&1 == 1 {
				set = append(set, c)
			}
		}
		left := len(free) - len(set)
		if len(set) == n && bearable(h, left, h.Held.Sharers, h.Held.MilliCPU) {
			return true
		}
	}
	return false
}

// bearable says whether the sharers can live with that many shared cores.
func bearable(h *Host, cores, sharers int, quota int64) bool {
	return quota <= int64(cores-h.Buffer.Cores)*Core && (sharers == 0 || cores > 0)
}

// Every host of up to four cores, whatever is pinned on it, shared or kept free.
func TestFitGrantsCoresExactlyWhereTheTwinFindsThem(t *testing.T) {
	for size := range 5 {
		for pinned := range 1 << size {
			for buffer := range 3 {
				for _, quotas := range [][]int64{nil, {0}, {500}, {500, 700}, {2500}} {
					everyCPURequest(t, crowded(size, pinned, buffer, quotas))
				}
			}
		}
	}
}

func crowded(size, pinned, buffer int, quotas []int64) *Host {
	h := &Host{Name: "h", Cores: CPUs(upTo(size)...), Buffer: Buffer{Cores: buffer}}
	for c := range size {
		if pinned>>c&1 == 1 {
			h.Held.Add(&Grant{Cores: CPUs(c)})
		}
	}
	for _, q := range quotas {
		h.Held.Add(&Grant{MilliCPU: q})
	}
	return h
}

func everyCPURequest(t *testing.T, h *Host) {
	t.Helper()
	for n := 1; n <= 4; n++ {
		r := Request{MilliCPU: int64(n) * Core}
		if lack, ok := Fit(h, &r); ok != pinnable(h, n) {
			t.Fatalf("%d cores of %s, held %s, %d sharers with %d, %d kept: %v (%s)",
				n, h.Cores, h.Held.Cores, h.Held.Sharers, h.Held.MilliCPU, h.Buffer.Cores, ok, lack)
		}
	}
	shared := h.Shared().Count()
	for _, q := range []int64{1, 500, 1300, 2500} {
		want := bearable(h, shared, h.Held.Sharers+1, h.Held.MilliCPU+q)
		if lack, ok := Fit(h, &Request{MilliCPU: q}); ok != want {
			t.Fatalf("a quota of %d beside %d on %d cores, %d kept: %v (%s)", q, h.Held.MilliCPU, shared, h.Buffer.Cores, ok, lack)
		}
	}
	if _, ok := Fit(h, &Request{}); ok != (shared > 0) {
		t.Fatalf("to share %d cores without a limit: %v", shared, ok)
	}
}
