package sched

import "testing"

func TestRegrantKeepsTheCoresThatThereAre(t *testing.T) {
	others := Grant{Cores: CPUs(0, 3), Memory: 4, Ports: []Binding{{Host: 80, Proto: "tcp"}}}
	for name, c := range map[string]struct {
		held  Grant
		r     Request
		cores CPUSet
		want  string // cores, thousandths and bytes; or the lack
	}{
		"more cores":           {Grant{Cores: CPUs(4, 5)}, Request{MilliCPU: 3000}, CPUSet{}, "1,4-5"},
		"fewer cores":          {Grant{Cores: CPUs(4, 5)}, Request{MilliCPU: 1000}, CPUSet{}, "4"},
		"as many":              {Grant{Cores: CPUs(4, 5)}, Request{MilliCPU: 2000, Memory: 3}, CPUSet{}, "4-5"},
		"from shared":          {Grant{MilliCPU: 500}, Request{MilliCPU: 2000}, CPUSet{}, "1-2"},
		"to shared":            {Grant{Cores: CPUs(4, 5)}, Request{MilliCPU: 500}, CPUSet{}, ""},
		"these very cores":     {Grant{Cores: CPUs(4, 5)}, Request{Cores: CPUs(1, 5)}, CPUSet{}, "1,5"},
		"cores taken back":     {Grant{Cores: CPUs(1, 2, 4, 5)}, Request{MilliCPU: 2000}, CPUs(4, 5), "4-5"},
		"others' cores":        {Grant{Cores: CPUs(4, 5)}, Request{Cores: CPUs(3)}, CPUSet{}, "h has some of cores 3 in use"},
		"more than there is":   {Grant{Cores: CPUs(4, 5)}, Request{MilliCPU: 5000}, CPUSet{}, "h has 4 cores free"},
		"too much memory":      {Grant{Memory: 2}, Request{Memory: 13}, CPUSet{}, "h has 12 B free"},
		"more than it has all": {Grant{Memory: 2}, Request{Memory: 17}, CPUSet{}, "h has only 16 B in all"},
	} {
		h := &Host{Name: "h", Cores: CPUs(0, 1, 2, 3, 4, 5), Memory: 16}
		h.Held.Add(&others)
		c.held.GPUs, c.held.Ports = []string{"g"}, []Binding{{Host: 81, Proto: "tcp"}}
		g, lack, ok := Regrant(h, &c.held, &c.r, c.cores)
		if !ok {
			if lack.String() != c.want {
				t.Errorf("%s: %s, want %s", name, lack, c.want)
			}
			continue
		}
		milli := c.r.MilliCPU
		if c.want != "" {
			milli = 0
		}
		if g.Cores.String() != c.want || g.MilliCPU != milli || g.Memory != c.r.Memory || len(g.GPUs)+len(g.Ports) != 2 {
			t.Errorf("%s: %+v, want cores %s", name, g, c.want)
		}
		both := g.Both(&c.held)
		if both.Cores.Minus(g.Cores).Minus(c.held.Cores).Count() != 0 || !both.Cores.Union(g.Cores).Equal(both.Cores) || both.Memory < c.held.Memory {
			t.Errorf("%s: both are %+v", name, both)
		}
	}
}
