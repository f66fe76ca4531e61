package sched

import "slices"

// lastPort is the highest port that the cluster chooses.
const lastPort = 65535

// Allot works out what exactly a host grants to a request that fits it: whole physical
// cores of one NUMA node where possible, the cards that lie closest together and to
// those cores, the wanted ports, and for ports that the cluster chooses the lowest from
// first up that neither the host holds nor, says next, the rest of the cluster. Of what
// is as good, and of all that nothing is told of, the lowest comes first. Next returns
// the lowest port from from up that may be chosen, above 65535 for none; nil: every port
// may. Allot fails as Fit fails, and where no port is left. The host is not changed: see
// Held.Add.
func Allot(h *Host, r *Request, first uint16, next func(proto string, from int) int) (*Grant, Lack, bool) {
	if lack, ok := Fit(h, r); !ok {
		return nil, lack, false
	}
	g := &Grant{Memory: r.Memory}
	var ok bool
	if g.Ports, ok = allotPorts(h, r, first, next); !ok {
		return nil, Lack{Host: h.Name, Kind: NoPort, What: "port from " + portWords(first, "") + " up"}, false
	}
	if g.Cores, g.GPUs = allotDevices(h, r); g.Shares() {
		g.MilliCPU = r.MilliCPU
	}
	g.Of = CutFrom(h.Cards, g.GPUs)
	return g, Lack{}, true
}

// allotDevices chooses cores and cards together: the cards decide in which NUMA node
// the cores are pinned, and where that is the same to them, the cores.
func allotDevices(h *Host, r *Request) (cores CPUSet, gpus []string) {
	ways := []pin{{cores: r.Cores}}
	if n := r.Pinned(); n > 0 && r.Cores.Count() == 0 {
		ways = h.pins(h.Shared(), n)
	}
	cores = ways[0].cores
	var cards []int
	switch least := 0; {
	case r.AllGPUs:
		for i := range h.Cards {
			cards = append(cards, i)
		}
	case len(r.GPUs) > 0:
		choice := newChoice(h, r.GPUs)
		for i, way := range ways {
			if set, cost := choice.beside(way.cores, mostSteps/len(ways)); i == 0 || cost < least {
				cores, cards, least = way.cores, set, cost
			}
		}
	}
	for _, i := range cards {
		gpus = append(gpus, h.Cards[i].UUID)
	}
	return cores, gpus
}

func allotPorts(h *Host, r *Request, first uint16, next func(string, int) int) ([]Binding, bool) {
	var granted []Binding
	from := map[string]int{}
	for _, w := range r.Ports {
		number := int(w.Host)
		if number == 0 {
			number = choosePort(h, r, w.Proto, max(int(first), 1, from[w.Proto]), next)
			if number > lastPort {
				return nil, false
			}
			from[w.Proto] = number + 1
		}
		b := Binding{IP: w.IP, Host: uint16(number), Container: w.Container, Proto: w.Proto}
		if b.Container == 0 {
			b.Container = b.Host
		}
		granted = append(granted, b)
	}
	return granted, true
}

// choosePort returns the lowest port from from up that nobody holds and the
// request does not want by number, above lastPort if there is none.
func choosePort(h *Host, r *Request, proto string, from int, next func(string, int) int) int {
	wanted := func(w PortWish) bool { return int(w.Host) == from && w.Proto == proto }
	for ; from <= lastPort; from++ {
		if next != nil {
			from = next(proto, from)
		}
		if from > lastPort || !h.Held.ports[Port{uint16(from), proto}] && !slices.ContainsFunc(r.Ports, wanted) {
			break
		}
	}
	return from
}
