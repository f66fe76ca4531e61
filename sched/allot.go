package sched

import (
	"cmp"
	"slices"
)

// lastPort is the highest port that the cluster chooses.
const lastPort = 65535

// Allot works out what exactly a host grants to a request that fits it: the
// lowest free cores, the first free cards, the wanted ports, and for ports that
// the cluster chooses the lowest from first up that neither the host holds nor,
// says next, the rest of the cluster. Next returns the lowest port from from up
// that may be chosen, above 65535 for none; nil: every port may. Allot fails as
// Fit fails, and where no port is left. The host is not changed: see Held.Add.
func Allot(h *Host, r *Request, first uint16, next func(proto string, from int) int) (*Grant, Lack, bool) {
	if lack, ok := Fit(h, r); !ok {
		return nil, lack, false
	}
	g := &Grant{Memory: r.Memory, GPUs: allotGPUs(h, r)}
	switch n := r.Pinned(); {
	case r.Cores.Count() > 0:
		g.Cores = r.Cores
	case n > 0:
		g.Cores = h.Shared().First(n)
	default:
		g.MilliCPU = r.MilliCPU
	}
	var ok bool
	if g.Ports, ok = allotPorts(h, r, first, next); !ok {
		return nil, Lack{Host: h.Name, Kind: NoPort, What: "port from " + portWords(first, "") + " up"}, false
	}
	return g, Lack{}, true
}

func allotGPUs(h *Host, r *Request) []string {
	var uuids []string
	if r.AllGPUs {
		for i := range h.Cards {
			uuids = append(uuids, h.Cards[i].UUID)
		}
		return uuids
	}
	// The narrowest wishes choose first: one card, then a model, then any.
	wishes := slices.Clone(r.GPUs)
	width := func(w GPUWish) int {
		switch {
		case w.UUID != "":
			return 0
		case w.Model != "":
			return 1
		}
		return 2
	}
	slices.SortStableFunc(wishes, func(a, b GPUWish) int { return cmp.Compare(width(a), width(b)) })
	for _, w := range wishes {
		for i := range h.Cards {
			c := &h.Cards[i]
			if w.takes(c) && !h.Held.gpus[c.UUID] && !slices.Contains(uuids, c.UUID) {
				uuids = append(uuids, c.UUID)
				break
			}
		}
	}
	return uuids
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
