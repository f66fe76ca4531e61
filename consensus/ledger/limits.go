package ledger

import "ddocker/sched"

// Limit gives a placement other limits where it is. It is sent by the holder, twice
// for each change: before the engine is told, with Keep, and after that for what
// came of it.
type Limit struct {
	Placement string `json:"placement"`
	// MilliCPU, Cores and Memory are what it asks for from now on, as in a Request.
	MilliCPU int64        `json:"milliCPU,omitempty"`
	Cores    sched.CPUSet `json:"cores,omitzero"`
	Memory   int64        `json:"memory,omitempty"`
	// Pin are the cores that it is to have; empty: those that it has first, then
	// others that are free.
	Pin sched.CPUSet `json:"pin,omitzero"`
	// Keep has it hold what it held as well, until the engine has done it.
	Keep bool `json:"keep,omitempty"`
}

func (l *Ledger) limit(c *Limit) Result {
	old := l.placements[c.Placement]
	if old == nil {
		return refuse(Unknown, "placement %s has been released", c.Placement)
	}
	p := *old
	p.Request.MilliCPU, p.Request.Cores, p.Request.Memory = c.MilliCPU, c.Cores, c.Memory
	if err := p.Request.Check(); err != nil {
		return refuse(Invalid, "the limits of %s make no sense: %v", p.Name, err)
	}
	n := l.nodes[p.Node]
	grant, lack, ok := sched.Regrant(l.without(n, p.ID), &old.Grant, &p.Request, c.Pin)
	if !ok {
		limits := sched.Request{MilliCPU: c.MilliCPU, Cores: c.Cores, Memory: c.Memory}
		return refuse(Full, "container %s stays as it is, for %s is not free: %s, with what it has itself", p.Name, &limits, lack)
	}
	p.Grant = *grant
	if c.Keep {
		p.Grant, p.Request = grant.Both(&old.Grant), old.Request
	}
	done := l.replace(&p)
	l.put(n)
	return done
}

// without is the node's host without a placement of its, open to others.
func (l *Ledger) without(n *Node, placement string) *sched.Host {
	h := *n.host
	h.Closed, h.Held = "", l.held(n, placement)
	return &h
}

// held sums up what is held on a node, but for one placement.
func (l *Ledger) held(n *Node, but string) (held sched.Held) {
	for id, p := range n.held {
		if id != but {
			held.Add(&p.Grant)
		}
	}
	for i := range n.Observed.Containers {
		held.AddOutside(&n.Observed.Containers[i].Grant)
	}
	for _, port := range n.Observed.Ports {
		held.AddPort(port)
	}
	return held
}
