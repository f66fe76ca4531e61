package sched

import (
	"math"
	"strings"
	"testing"
)

func TestARequestIsSaidInTheWordsOfAPerson(t *testing.T) {
	titan, quadro := GPUWish{Model: "TITAN Xp"}, GPUWish{Model: "Quadro"}
	for want, r := range map[string]Request{
		"a container":                        {Ports: []PortWish{{Proto: "tcp"}}},
		"1 core":                             {MilliCPU: Core},
		"12 cores, 64 GB, 2× TITAN Xp":       {MilliCPU: 12 * Core, Memory: 64 << 30, GPUs: []GPUWish{titan, titan}},
		"1.5 cores, 512 MB":                  {MilliCPU: 1500, Memory: 512 << 20},
		"0.05 cores":                         {MilliCPU: 50},
		"cores 0-3,8":                        {Cores: CPUs(0, 1, 2, 3, 8), MilliCPU: Core},
		"all GPUs":                           {AllGPUs: true},
		"2× TITAN Xp, 1× Quadro":             {GPUs: []GPUWish{titan, quadro, {Model: "nvidia titan xp"}}},
		"3× GPU":                             {GPUs: make([]GPUWish, 3)},
		"GPU-a, 1× GPU":                      {GPUs: []GPUWish{{UUID: "GPU-a"}, {}}},
		"1× GPU of 20 GB or more":            {GPUs: []GPUWish{{Memory: 20 << 30}}},
		"2× MIG 3g.40gb":                     {GPUs: []GPUWish{{Profile: "3g.40gb"}, {Profile: "3g.40gb"}}},
		"1× A100 MIG 3g.40gb, GPU 0":         {GPUs: []GPUWish{{Model: "A100", Profile: "3g.40gb"}, {Index: "0"}}},
		"GPU 0:1, 1× A40 of 40 GB or more":   {GPUs: []GPUWish{{Index: "0:1"}, {Model: "A40", Memory: 40 << 30}}},
		"1× RTX 3090, 1× GeForce RTX 3090":   {GPUs: []GPUWish{{Model: "RTX 3090"}, {Model: "GeForce RTX 3090"}}},
		"TITAN Xp GPU-a":                     {GPUs: []GPUWish{{Model: "TITAN Xp", UUID: "GPU-a"}}},
		"2 cores, port 80/tcp, port 53/udp":  {MilliCPU: 2 * Core, Ports: []PortWish{{Host: 80, Proto: "tcp"}, {Proto: "tcp"}, {Host: 53, Proto: "udp"}}},
		"10 cores, 100 GB, 1× GPU, port 9/x": {MilliCPU: 10 * Core, Memory: 100 << 30, GPUs: make([]GPUWish, 1), Ports: []PortWish{{Host: 9, Proto: "x"}}},
	} {
		if got := r.String(); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

func TestBytesAreSaidInBinaryUnits(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1 kB", 1536: "1.5 kB", 10 << 20: "10 MB", 64 << 30: "64 GB",
		1<<30 + 1<<28: "1.25 GB", 3 << 40: "3 TB", math.MaxInt64: "8388607.99 TB",
	} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestOnlyWholeCoresArePinned(t *testing.T) {
	for _, c := range []struct {
		r    Request
		want int
	}{
		{Request{}, 0},
		{Request{MilliCPU: 500}, 0},
		{Request{MilliCPU: 1500}, 0},
		{Request{MilliCPU: 2 * Core}, 2},
		{Request{MilliCPU: 500, Cores: CPUs(4, 6, 8)}, 3},
	} {
		if got := c.r.Pinned(); got != c.want {
			t.Errorf("%s pins %d cores, want %d", &c.r, got, c.want)
		}
	}
}

func TestCheckRefusesWhatMakesNoSense(t *testing.T) {
	for why, r := range map[string]Request{
		"negative":           {MilliCPU: -1},
		"cannot be negative": {Memory: -1},
		`not "TCP"`:          {Ports: []PortWish{{Proto: "TCP"}}},
		`not ""`:             {Ports: []PortWish{{Proto: "udp"}, {}}},
		"limit is 128":       {GPUs: make([]GPUWish, 129)},
		"memory of a GPU":    {GPUs: []GPUWish{{}, {Memory: -1}}},
		`not "-1"`:           {GPUs: []GPUWish{{Index: "-1"}}},
		`not "0; rm"`:        {GPUs: []GPUWish{{Index: "0; rm"}}},
		`not "3g 40gb"`:      {GPUs: []GPUWish{{Profile: "3g 40gb"}}},
		"longer than 96":     {GPUs: []GPUWish{{Model: strings.Repeat("x", 97)}}},
	} {
		if err := r.Check(); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("got %v, want %q", err, why)
		}
	}
	sound := Request{MilliCPU: 1, Memory: 1, GPUs: make([]GPUWish, 128), Ports: []PortWish{{Proto: "tcp"}, {Proto: "udp"}, {Proto: "sctp"}}}
	sound.GPUs[0] = GPUWish{Model: "TITAN Xp", UUID: "GPU-a", Index: "0:1", Memory: 1, Profile: "1g.10gb+me"}
	if err := sound.Check(); err != nil {
		t.Error(err)
	}
}
