package sched

import "testing"

func TestARefusalExplainsItself(t *testing.T) {
	titans := Request{GPUs: []GPUWish{{Model: "TITAN Xp"}, {Model: "TITAN Xp"}}}
	cores := Request{MilliCPU: 8 * Core}
	onGPU9 := Request{MilliCPU: Core, Host: "gpu9"}
	besideDB := Request{MilliCPU: Core, Host: "gpu9", HostReason: "container db is there"}
	for _, c := range []struct {
		want string
		m    Misfit
	}{
		{"no host has joined the cluster that could take 8 cores", Misfit{Request: &cores}},
		{
			"no host has 2× TITAN Xp free: gpu3 is drained; gpu1 has 1× TITAN Xp free, gpu2 has 0× TITAN Xp free",
			Misfit{&titans, []Lack{
				{Host: "gpu2", Kind: NoGPU, Need: 2, What: "TITAN Xp"},
				{Host: "gpu1", Kind: NoGPU, Need: 2, Free: 1, What: "TITAN Xp"},
				{Host: "gpu3", Kind: Closed, What: "drained"},
			}},
		},
		{
			"no host has 8 cores free: a has 7 cores free, b has 7 cores free, c has 7 cores free, d has 7 cores free, and 2 more hosts likewise",
			Misfit{&cores, []Lack{
				{Host: "f", Kind: NoCores, Free: 7000}, {Host: "e", Kind: NoCores, Free: 7000}, {Host: "d", Kind: NoCores, Free: 7000},
				{Host: "c", Kind: NoCores, Free: 7000}, {Host: "b", Kind: NoCores, Free: 7000}, {Host: "a", Kind: NoCores, Free: 7000},
			}},
		},
		{
			"no host has 1 core free: no host is named gpu9",
			Misfit{&onGPU9, []Lack{{Host: "gpu1", Kind: NotAsked, What: "gpu9"}, {Host: "gpu2", Kind: NotAsked, What: "gpu9"}}},
		},
		{
			"no host has 1 core free: gpu9 has 0.5 cores free",
			Misfit{&onGPU9, []Lack{{Host: "gpu1", Kind: NotAsked, What: "gpu9"}, {Host: "gpu9", Kind: NoCores, Free: 500}}},
		},
		{
			"no host has 1 core free: gpu9 is unreachable (only gpu9 will do: container db is there)",
			Misfit{&besideDB, []Lack{{Host: "gpu1", Kind: NotAsked, What: "gpu9"}, {Host: "gpu2", Kind: Closed, What: "drained"}, {Host: "gpu9", Kind: Closed, What: "unreachable"}}},
		},
		{"no host can take a container: gpu1 is drained", Misfit{&Request{}, []Lack{{Host: "gpu1", Kind: Closed, What: "drained"}}}},
	} {
		if got := c.m.Error(); got != c.want {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
}

func TestALackNamesHostAndResource(t *testing.T) {
	for want, l := range map[string]Lack{
		"gpu1 has only 4 cores in all":          {Kind: TooSmall, Free: 4000},
		"gpu1 has only 8 GB in all":             {Kind: TooSmall, Free: 8 << 30, What: "memory"},
		"gpu1 has only 1× TITAN Xp in all":      {Kind: TooSmall, Free: 1, What: "TITAN Xp"},
		"gpu1 has no TITAN Xp":                  {Kind: TooSmall, What: "TITAN Xp"},
		"gpu1 has some of cores 0-3,8 in use":   {Kind: NoCores, What: "0-3,8"},
		"gpu1 has 1.5 GB free":                  {Kind: NoMemory, Free: 3 << 29},
		"gpu1 has 0× GPU free":                  {Kind: NoGPU},
		"gpu1 has no free port 80/tcp":          {Kind: NoPort, What: "free port 80/tcp"},
		"gpu1 has no core left to share":        {Kind: NoShared},
		"no host is named gpu1":                 {Kind: NotAsked},
		"gpu1 is without image debian:bookworm": {Kind: Closed, What: "without image debian:bookworm"},
	} {
		l.Host = "gpu1"
		if got := l.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestARefusalSaysWhichCardsAreClosedAndWhy(t *testing.T) {
	a100 := GPUWish{Model: "A100"}
	for _, c := range []struct {
		wishes []GPUWish
		closed []string // of three A100 and a TITAN Xp
		want   string
	}{
		{[]GPUWish{a100, a100, a100}, []string{"busy: used by python (pid 312, alice), outside any container"},
			"h has 2× A100 free (1 closed: used by python (pid 312, alice), outside any container)"},
		{[]GPUWish{a100, a100}, []string{"lost: gone", "unknown: the driver hangs"}, "h has 1× A100 free (2 closed: lost: gone; unknown: the driver hangs)"},
		{[]GPUWish{a100, a100}, []string{"lost: gone", "lost: gone"}, "h has 1× A100 free (2 closed: lost: gone)"},
		{[]GPUWish{a100}, []string{"a", "b", "c"}, "h has 0× A100 free (3 closed: a; b; and 1 more)"},
		{[]GPUWish{a100, a100, {Model: "TITAN Xp"}}, []string{"a", "b", "", "c"}, "h has 1× A100 free (2 closed: a; b)"},
		{[]GPUWish{{}, a100, a100, a100}, []string{"a"}, "h has 2× A100 free (1 closed: a)"},
		{[]GPUWish{{UUID: "0"}, {Index: "0"}}, nil, "h has only 1× GPU 0 or 0 in all"},
		{nil, []string{"a"}, "h has 3× GPU free (1 closed: a)"},
		{[]GPUWish{a100, a100, a100, a100}, []string{"a"}, "h has only 3× A100 in all"},
		{[]GPUWish{{}, {}, {}, {}, a100}, nil, "h has only 4× GPU in all"},
		{[]GPUWish{{Memory: 20 << 30}}, nil, "h has no GPU of 20 GB or more"},
		{[]GPUWish{{Profile: "3g.40gb"}}, nil, "h has no MIG 3g.40gb"},
	} {
		h := &Host{Name: "h", Cores: CPUs(0)}
		for i, model := range []string{"NVIDIA A100-SXM4-80GB", "NVIDIA A100-SXM4-80GB", "A100", "TITAN Xp"} {
			card := Card{UUID: string(rune('0' + i)), Index: string(rune('0' + i)), Model: model}
			if i < len(c.closed) {
				card.Closed = c.closed[i]
			}
			h.Cards = append(h.Cards, card)
		}
		if lack, ok := Fit(h, &Request{GPUs: c.wishes, AllGPUs: c.wishes == nil}); ok || lack.String() != c.want {
			t.Errorf("got  %q\nwant %q", lack, c.want)
		}
	}
}
