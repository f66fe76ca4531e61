package sched

// Load is what gossip last heard of a host: a hint, which may be old or absent.
type Load struct {
	// CPU and Memory are in use, in percent of the whole host, 0 to 100.
	CPU, Memory int
	// Wait is how many seconds the container would wait there before it can start,
	// for its image to be brought.
	Wait int
}

// Pick returns the at most n hosts that fit the request, best first, or what
// each host lacks. Whoever meets more of what the request prefers comes first.
// Then hosts with idle GPUs are spared for those who need GPUs, and large free
// groups of cards for those who need many; otherwise the emptiest host comes
// first, so that containers spread; of equals the one that stands first in hosts. A second of waiting weighs as much as one percent of load.
// Loads are asked by host ID; load may be nil. The cost is one Fit a host.
func Pick(hosts []*Host, load func(id string) Load, r *Request, n int) ([]*Host, *Misfit) {
	best := make([]ranked, 0, n+1)
	misfit := &Misfit{Request: r}
	for _, h := range hosts {
		if lack, ok := Fit(h, r); !ok {
			misfit.Lacks = append(misfit.Lacks, lack)
			continue
		}
		c := ranked{host: h, spare: h.FreeGPUs("")}
		for i := range r.Prefer {
			if !r.Prefer[i].meets(h) {
				c.unmet++
			}
		}
		var known Load
		if load != nil {
			known = load(h.ID)
		}
		// Whoever asks for nothing uses something all the same, and the load that
		// is known is seconds old: each container counts as one percent.
		c.full = max(known.percent(), h.percent()) + h.Held.Containers + known.Wait
		best = insert(best, c, n)
	}
	if len(best) == 0 {
		return nil, misfit
	}
	picked := make([]*Host, len(best))
	for i := range best {
		picked[i] = best[i].host
	}
	return picked, nil
}

type ranked struct {
	host  *Host
	unmet int // rules that the request prefers to be met
	spare int // free cards that the request would keep others from, or leave scattered
	full  int // percent
}

// insert keeps best sorted and at most n long.
func insert(best []ranked, c ranked, n int) []ranked {
	i := len(best)
	for i > 0 && c.before(&best[i-1]) {
		i--
	}
	if i == n {
		return best
	}
	best = append(best, ranked{})
	copy(best[i+1:], best[i:])
	best[i] = c
	return best[:min(len(best), n)]
}

func (c *ranked) before(d *ranked) bool {
	if c.unmet != d.unmet {
		return c.unmet < d.unmet
	}
	if c.spare != d.spare {
		return c.spare < d.spare
	}
	return c.full < d.full
}

// percent says how full the host is by what is held, in its scarcer resource.
func (h *Host) percent() int {
	full := 0
	if all := int64(h.Cores.Count()) * Core; all > 0 {
		full = int((int64(h.Held.Cores.Count())*Core + min(h.Held.MilliCPU, all)) * 100 / all)
	}
	if h.Memory > 0 {
		full = max(full, int(min(h.Held.Memory, h.Memory)*100/h.Memory))
	}
	return full
}

// percent rounds to tens: a busy percent more or less is noise, and must not
// outweigh what is known for certain.
func (l Load) percent() int { return max(l.CPU, l.Memory) / 10 * 10 }
