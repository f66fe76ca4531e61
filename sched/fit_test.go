package sched

import (
	"math"
	"testing"
)

// testHost has 8 cores, 2 of them kept free, 16 GB, 1 of them kept free, and
// three cards, and holds core 0, 1 GB, one TITAN and port 80/tcp.
func testHost() *Host {
	h := &Host{
		ID: "id1", Name: "gpu1", Cores: CPUs(upTo(8)...), Memory: 16 << 30,
		Cards:  []Card{{UUID: "t0", Model: "NVIDIA TITAN Xp"}, {UUID: "t1", Model: "TITAN Xp"}, {UUID: "q0", Model: "Quadro"}},
		Buffer: Buffer{Cores: 2, Memory: 1 << 30},
	}
	h.Held.Add(&Grant{Cores: CPUs(0), Memory: 1 << 30, GPUs: []string{"t0"}, Ports: []Binding{{Host: 80, Container: 80, Proto: "tcp"}}})
	return h
}

func TestFitSaysWhatAHostLacksFirst(t *testing.T) {
	titan := GPUWish{Model: "titan xp"}
	for name, c := range map[string]struct {
		r    Request
		want Lack
	}{
		"another host":            {Request{Host: "gpu2"}, Lack{Kind: NotAsked, What: "gpu2"}},
		"more cores than it has":  {Request{MilliCPU: 7 * Core}, Lack{Kind: TooSmall, Need: 7000, Free: 6000}},
		"more cores than free":    {Request{MilliCPU: 6 * Core}, Lack{Kind: NoCores, Need: 6000, Free: 5000}},
		"a larger quota":          {Request{MilliCPU: 5001}, Lack{Kind: NoCores, Need: 5001, Free: 5000}},
		"a core it has not":       {Request{Cores: CPUs(8)}, Lack{Kind: TooSmall, Need: 1000, Free: 6000, What: "cores 8"}},
		"a core in use":           {Request{Cores: CPUs(0, 1)}, Lack{Kind: NoCores, What: "0-1"}},
		"more memory than it has": {Request{Memory: 16 << 30}, Lack{Kind: TooSmall, Need: 16 << 30, Free: 15 << 30, What: "memory"}},
		"more memory than free":   {Request{Memory: 15 << 30}, Lack{Kind: NoMemory, Need: 15 << 30, Free: 14 << 30}},
		"more cards than it has":  {Request{GPUs: []GPUWish{titan, titan, titan}}, Lack{Kind: TooSmall, Need: 3, Free: 2, What: "titan xp"}},
		"more cards than free":    {Request{GPUs: []GPUWish{titan, titan}}, Lack{Kind: NoGPU, Need: 2, Free: 1, What: "titan xp"}},
		"any of too many":         {Request{GPUs: []GPUWish{{}, titan, {}}}, Lack{Kind: NoGPU, Need: 3, Free: 2, What: "GPU"}},
		"a card it has not":       {Request{GPUs: []GPUWish{{UUID: "x"}}}, Lack{Kind: TooSmall, Need: 1, What: "x"}},
		"a card in use":           {Request{GPUs: []GPUWish{{UUID: "t0"}}}, Lack{Kind: NoGPU, Need: 1, What: "t0"}},
		"a card and its model":    {Request{GPUs: []GPUWish{{UUID: "t1"}, titan}}, Lack{Kind: NoGPU, Need: 2, Free: 1, What: "titan xp"}},
		"all cards":               {Request{AllGPUs: true}, Lack{Kind: NoGPU, Need: 3, Free: 2}},
		"a port in use":           {Request{Ports: []PortWish{{Host: 80, Proto: "tcp"}}}, Lack{Kind: NoPort, What: "free port 80/tcp"}},
		"one port twice":          {Request{Ports: []PortWish{{Host: 9, Proto: "tcp"}, {Host: 9, Proto: "tcp"}}}, Lack{Kind: NoPort, What: "free port 9/tcp twice"}},
		"a port twice, once of all addresses": {
			Request{Ports: []PortWish{{Host: 9, Proto: "tcp", IP: "127.0.0.1"}, {Host: 9, Proto: "tcp"}}},
			Lack{Kind: NoPort, What: "free port 9/tcp twice"},
		},
	} {
		want := c.want
		want.Host = "gpu1"
		if got, ok := Fit(testHost(), &c.r); ok || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", name, got, ok, want)
		}
	}
}

func TestFitTakesWhatJustFits(t *testing.T) {
	for name, r := range map[string]Request{
		"nothing":           {},
		"this host by name": {Host: "gpu1"},
		"this host by ID":   {Host: "id1"},
		"all free cores":    {MilliCPU: 5 * Core},
		"these free cores":  {Cores: CPUs(1, 7), MilliCPU: 99 * Core},
		"all free memory":   {Memory: 14 << 30},
		"each free card":    {GPUs: []GPUWish{{}, {Model: "Titan XP"}}},
		"each by UUID":      {GPUs: []GPUWish{{UUID: "q0"}, {UUID: "t1"}}},
		"both protocols":    {Ports: []PortWish{{Host: 9, Proto: "tcp"}, {Host: 9, Proto: "udp"}}},
		"other protocol":    {Ports: []PortWish{{Host: 80, Proto: "udp"}}},
		"one port on two addresses": {Ports: []PortWish{
			{Host: 9, Proto: "tcp", IP: "127.0.0.1"}, {Host: 9, Proto: "tcp", IP: "::1"}}},
	} {
		if lack, ok := Fit(testHost(), &r); !ok {
			t.Errorf("%s: %s", name, lack)
		}
	}
}

func TestAClosedHostTakesNothing(t *testing.T) {
	h := testHost()
	h.Closed = "drained"
	if lack, ok := Fit(h, &Request{}); ok || lack.Kind != Closed || lack.What != "drained" {
		t.Errorf("got %+v, %v", lack, ok)
	}
}

func TestWhoSharesIsLeftACore(t *testing.T) {
	h := &Host{Name: "h", Cores: CPUs(0, 1)}
	pinned, sharing := Request{MilliCPU: 2 * Core}, Request{}
	if lack, ok := Fit(h, &pinned); !ok {
		t.Fatalf("an empty host refuses to pin all its cores: %s", lack)
	}
	h.Held.Add(&Grant{})
	if lack, ok := Fit(h, &pinned); ok || lack.Kind != NoShared {
		t.Errorf("the last core is pinned from under a sharer: %+v", lack)
	}
	h.Held = Held{}
	h.Held.Add(&Grant{Cores: CPUs(0, 1)})
	if lack, ok := Fit(h, &sharing); ok || lack.Kind != NoShared {
		t.Errorf("a sharer is put where all cores are pinned: %+v", lack)
	}
}

func TestABoundlessOutsiderLeavesNothingFree(t *testing.T) {
	h := testHost()
	for range 3 {
		h.Held.Add(&Grant{MilliCPU: math.MaxInt64, Memory: math.MaxInt64})
	}
	h.Buffer = Buffer{Cores: 99, Memory: 99 << 40}
	if h.FreeMilliCPU() != 0 || h.FreeMemory() != 0 || h.percent() < 100 {
		t.Errorf("free: %d of CPU, %d bytes; %d%% full", h.FreeMilliCPU(), h.FreeMemory(), h.percent())
	}
}

func TestANegativeLimitFreesNothing(t *testing.T) {
	h := testHost()
	cpu, memory := h.FreeMilliCPU(), h.FreeMemory()
	h.Held.Add(&Grant{MilliCPU: -Core, Memory: -1})
	if h.FreeMilliCPU() != cpu || h.FreeMemory() != memory {
		t.Errorf("%d of CPU were free and %d are, %d bytes and %d", cpu, h.FreeMilliCPU(), memory, h.FreeMemory())
	}
}

func TestFitAllocatesNothingWhereTheRequestFits(t *testing.T) {
	h := testHost()
	r := Request{MilliCPU: 2 * Core, Memory: 1 << 30, GPUs: []GPUWish{{}, {Model: "titan xp"}}, Ports: []PortWish{{Host: 9, Proto: "tcp"}}}
	if n := testing.AllocsPerRun(100, func() { Fit(h, &r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAnOutsiderNeedsNoCoreLeftToShare(t *testing.T) {
	h := &Host{Name: "h", Cores: CPUs(0, 1)}
	h.Held.AddOutside(&Grant{})
	if lack, ok := Fit(h, &Request{MilliCPU: 2 * Core}); !ok {
		t.Errorf("not all cores are granted beside an outsider: %s", lack)
	}
	h.Held.AddOutside(&Grant{Cores: CPUs(1), MilliCPU: 500, Memory: 7})
	if h.Held.Containers != 2 || h.Held.Sharers != 0 || !h.Held.Cores.Equal(CPUs(1)) || h.Held.MilliCPU != 500 || h.Held.Memory != 7 {
		t.Errorf("got %+v", h.Held)
	}
}
