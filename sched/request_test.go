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
	} {
		if err := r.Check(); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("got %v, want %q", err, why)
		}
	}
	sound := Request{MilliCPU: 1, Memory: 1, Ports: []PortWish{{Proto: "tcp"}, {Proto: "udp"}, {Proto: "sctp"}}}
	if err := sound.Check(); err != nil {
		t.Error(err)
	}
}

func TestModelsAreTheSameWithoutVendorAndCase(t *testing.T) {
	for _, c := range []struct {
		model, want string
		same        bool
	}{
		{"NVIDIA TITAN Xp", "TITAN Xp", true},
		{"TITAN Xp", "NVIDIA TITAN Xp", true},
		{"NVIDIA  TITAN Xp ", "titan xp", true},
		{"anything", "", true},
		{"", "", true},
		{"", "TITAN Xp", false},
		{"TITAN X", "TITAN Xp", false},
		{"NVIDIA A100-SXM4-40GB", "A100", false},
		{"nvidia", "NVIDIA", true},
	} {
		if got := SameModel(c.model, c.want); got != c.same {
			t.Errorf("SameModel(%q, %q) = %v", c.model, c.want, got)
		}
	}
}
