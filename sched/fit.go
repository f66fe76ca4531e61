package sched

// Lack says what one host lacks for one request.
type Lack struct {
	Host string
	Kind Kind
	// Need and Free are in the kind's unit: thousandths of a core, bytes, cards.
	Need, Free int64
	// What names the model, the card, the port, the rule, or why the host is closed.
	What string
	// Why says how many cards that would do are closed, and why; empty: none is.
	Why string
}

// Kind is the reason why a request does not fit a host, worst first: the
// earlier kinds do not go away when somebody's container ends.
type Kind uint8

// The kinds of Lack.
const (
	NotAsked Kind = iota // the request names another host
	Excluded             // a rule of the request leaves the host out
	Closed               // the host takes nothing new
	TooSmall             // the host could not hold the request even if it were empty
	NoCores
	NoMemory
	NoGPU
	NoPort
	NoShared // no core is left for containers that have none of their own
)

// Fit says whether the host can hold the request beside all that it holds
// already, and if not, what it lacks first. It is THE rule: whatever grants or
// ranks calls it. It allocates nothing where the request fits.
func Fit(h *Host, r *Request) (Lack, bool) {
	if lack, ok := r.Admits(h); !ok {
		return lack, false
	}
	if h.Closed != "" {
		return Lack{h.Name, Closed, 0, 0, h.Closed, ""}, false
	}
	for _, rule := range [...]func(*Host, *Request) (Lack, bool){fitCPU, fitMemory, fitGPUs, fitPorts} {
		if lack, ok := rule(h, r); !ok {
			lack.Host = h.Name
			return lack, false
		}
	}
	return Lack{}, true
}

// Admits says whether the request may go to the host at all, whatever that has.
func (r *Request) Admits(h *Host) (Lack, bool) {
	if r.Host != "" && r.Host != h.Name && r.Host != h.ID {
		return Lack{h.Name, NotAsked, 0, 0, r.Host, ""}, false
	}
	for i := range r.Only {
		if !r.Only[i].meets(h) {
			return Lack{h.Name, Excluded, 0, 0, r.Only[i].Words, ""}, false
		}
	}
	return Lack{}, true
}

func fitCPU(h *Host, r *Request) (Lack, bool) {
	all := max(0, int64(h.Cores.Count()-h.Buffer.Cores)) * Core
	if r.Cores.Count() > 0 {
		if r.Cores.countMinus(h.Cores) > 0 {
			return Lack{Kind: TooSmall, Need: int64(r.Cores.Count()) * Core, Free: all, What: "cores " + r.Cores.String()}, false
		}
		if r.Cores.Intersects(h.Held.Cores) {
			return Lack{Kind: NoCores, What: r.Cores.String()}, false
		}
	}
	need := r.MilliCPU
	if n := r.Pinned(); n > 0 {
		need = int64(n) * Core
	}
	if need > all {
		return Lack{Kind: TooSmall, Need: need, Free: all}, false
	}
	if free := h.FreeMilliCPU(); need > free {
		return Lack{Kind: NoCores, Need: need, Free: free}, false
	}
	// Whoever shares must be left a core to run on.
	sharers, shared := h.Held.Sharers, h.Cores.countMinus(h.Held.Cores)-r.Pinned()
	if r.Pinned() == 0 {
		sharers++
	}
	if sharers > 0 && shared < 1 {
		return Lack{Kind: NoShared}, false
	}
	return Lack{}, true
}

func fitMemory(h *Host, r *Request) (Lack, bool) {
	if all := max(0, h.Memory-h.Buffer.Memory); r.Memory > all {
		return Lack{Kind: TooSmall, Need: r.Memory, Free: all, What: "memory"}, false
	}
	if free := h.FreeMemory(); r.Memory > free {
		return Lack{Kind: NoMemory, Need: r.Memory, Free: free}, false
	}
	return Lack{}, true
}

func fitPorts(h *Host, r *Request) (Lack, bool) {
	for i, p := range r.Ports {
		if p.Host == 0 {
			continue
		}
		if h.Held.ports[Port{p.Host, p.Proto}] {
			return Lack{Kind: NoPort, What: portWords(p.Host, p.Proto)}, false
		}
		for _, q := range r.Ports[:i] {
			if q.Host == p.Host && q.Proto == p.Proto && (q.IP == p.IP || q.IP == "" || p.IP == "") {
				return Lack{Kind: NoPort, What: portWords(p.Host, p.Proto) + " twice"}, false
			}
		}
	}
	return Lack{}, true
}
