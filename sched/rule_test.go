package sched

import "testing"

func TestARuleLeavesHostsOutAndAPreferenceOrdersThem(t *testing.T) {
	hosts := []*Host{{ID: "a", Name: "a", Cores: CPUs(0)}, {ID: "b", Name: "b", Cores: CPUs(0)}, {ID: "c", Name: "c", Cores: CPUs(0)}}
	names := func(r Request) (text string) {
		best, misfit := Pick(hosts, nil, &r, 5)
		for _, h := range best {
			text += h.Name
		}
		if misfit != nil {
			text = misfit.Error()
		}
		return text
	}
	odd, late := Rule{"odd", []string{"a", "c"}}, Rule{"late", []string{"b", "c"}}
	for want, r := range map[string]Request{
		"ac":  {Only: []Rule{odd}},
		"c":   {Only: []Rule{odd, late}},
		"bca": {Prefer: []Rule{late}},
		"cab": {Prefer: []Rule{late, odd}},
		"ca":  {Only: []Rule{odd}, Prefer: []Rule{late}},
		"no host can take a container: a does not meet none, b does not meet none, c does not meet none":                    {Only: []Rule{{"none", nil}}},
		"no host has 2 cores free: a has only 1 core in all, c has only 1 core in all (only a host that meets odd will do)": {MilliCPU: 2 * Core, Only: []Rule{odd}},
	} {
		if got := names(r); got != want {
			t.Errorf("%+v: got %s, want %s", r, got, want)
		}
	}
}
