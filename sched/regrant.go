package sched

// Regrant works out what a container holds when it is to have the CPU and memory of
// the request from now on, on a host that counts nothing of what it held. Of pinned
// cores it keeps those that it has, as many as it may, and gets others near them;
// cores, if there are any, are those that it is to have. Cards and ports stay. It fails as Fit fails.
func Regrant(h *Host, held *Grant, r *Request, cores CPUSet) (*Grant, Lack, bool) {
	want := Request{MilliCPU: r.MilliCPU, Cores: r.Cores, Memory: r.Memory}
	if cores.Count() > 0 {
		want.Cores = cores
	}
	if lack, ok := Fit(h, &want); !ok {
		return nil, lack, false
	}
	g := *held
	g.Memory, g.MilliCPU, g.Cores = want.Memory, 0, CPUSet{}
	switch n := want.Pinned(); {
	case want.Cores.Count() > 0:
		g.Cores = want.Cores
	case n > 0:
		g.Cores = h.repin(held.Cores, n, h.near(held.GPUs))
	default:
		g.MilliCPU = want.MilliCPU
	}
	return &g, Lack{}, true
}

// Both returns what a container holds that has one grant and may soon have the
// other, of the same cards and ports.
func (g Grant) Both(other *Grant) Grant {
	g.Cores = g.Cores.Union(other.Cores)
	g.MilliCPU, g.Memory = max(g.MilliCPU, other.MilliCPU), max(g.Memory, other.Memory)
	return g
}
