package sched

import (
	"reflect"
	"testing"
)

func TestAllotGrantsTheLowestOfWhatIsFree(t *testing.T) {
	not101 := func(proto string, from int) int {
		if proto == "tcp" && from == 101 {
			return 102
		}
		return from
	}
	for name, c := range map[string]struct {
		r    Request
		want Grant
	}{
		"nothing":       {Request{}, Grant{}},
		"cores":         {Request{MilliCPU: 2 * Core, Memory: 5}, Grant{Cores: CPUs(1, 2), Memory: 5}},
		"a quota":       {Request{MilliCPU: 1500}, Grant{MilliCPU: 1500}},
		"these cores":   {Request{Cores: CPUs(5), MilliCPU: 1500}, Grant{Cores: CPUs(5)}},
		"any card":      {Request{GPUs: make([]GPUWish, 1)}, Grant{GPUs: []string{"t1"}}},
		"a model":       {Request{GPUs: []GPUWish{{Model: "NVIDIA Quadro"}}}, Grant{GPUs: []string{"q0"}}},
		"narrow first":  {Request{GPUs: []GPUWish{{}, {Model: "TITAN Xp"}}}, Grant{GPUs: []string{"t1", "q0"}}},
		"one, then any": {Request{GPUs: []GPUWish{{}, {UUID: "t1"}}}, Grant{GPUs: []string{"t1", "q0"}}},
		"ports": {
			Request{Ports: []PortWish{{Proto: "tcp"}, {Proto: "tcp", Container: 22}, {Proto: "udp"}, {Host: 102, Proto: "tcp", IP: "::1"}}},
			Grant{Ports: []Binding{{"", 100, 100, "tcp"}, {"", 103, 22, "tcp"}, {"", 100, 100, "udp"}, {"::1", 102, 102, "tcp"}}},
		},
	} {
		got, lack, ok := Allot(testHost(), &c.r, 100, not101)
		if !ok || !reflect.DeepEqual(*got, c.want) {
			t.Errorf("%s: got %+v, %v; want %+v", name, got, lack, c.want)
		}
	}
}

func TestAllotGrantsAllCardsOfAnIdleHost(t *testing.T) {
	h := testHost()
	h.Held = Held{}
	got, lack, ok := Allot(h, &Request{AllGPUs: true}, 1, nil)
	if !ok || !reflect.DeepEqual(got.GPUs, []string{"t0", "t1", "q0"}) {
		t.Errorf("got %+v, %v", got, lack)
	}
}

func TestAllotLeavesTheHostAsItIs(t *testing.T) {
	h := testHost()
	Allot(h, &Request{MilliCPU: Core, Memory: 1, GPUs: make([]GPUWish, 1), Ports: []PortWish{{Proto: "tcp"}}}, 100, nil)
	if !reflect.DeepEqual(h, testHost()) {
		t.Errorf("got %+v", h)
	}
}

func TestAllotSaysWhenNoPortIsLeft(t *testing.T) {
	r := Request{Ports: []PortWish{{Proto: "tcp"}, {Proto: "tcp"}}}
	if g, lack, ok := Allot(testHost(), &r, lastPort, nil); ok || lack.String() != "gpu1 has no port from 65535 up" {
		t.Errorf("got %+v, %s", g, lack)
	}
	r.Ports = r.Ports[:1]
	if g, lack, ok := Allot(testHost(), &r, lastPort, nil); !ok || g.Ports[0].Host != lastPort {
		t.Errorf("the last port is not granted: %s", lack)
	}
}

func TestAllotNeverChoosesPortZero(t *testing.T) {
	g, _, ok := Allot(testHost(), &Request{Ports: []PortWish{{Proto: "tcp"}}}, 0, nil)
	if !ok || g.Ports[0].Host != 1 {
		t.Errorf("got %+v", g)
	}
}
