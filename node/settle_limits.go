package node

import (
	"slices"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/engine"
	"ddocker/sched"
)

// surplus is since when a placement was seen, as it was then, to hold other than its
// container has, and nobody was known to change that.
type surplus struct {
	of    *ledger.Placement
	since time.Time
}

// settleLimits has placements hold what their containers have, where a change of limits
// did not come to its end: the agent died, or the engine gave no answer. What the
// engine was asked for may still land, so it waits for a while after the last change has
// ended. It belongs to the loop that reconciles.
func (n *Node) settleLimits(placed []*ledger.Placement, list []engine.Container) {
	seen := map[string]surplus{}
	for _, p := range placed {
		at := slices.IndexFunc(list, func(c engine.Container) bool { return p.Container != "" && c.ID == p.Container })
		if at < 0 {
			continue
		}
		if _, more := had(p, &list[at]); !more || n.limits(p.Container) {
			continue
		}
		first := n.unsure[p.ID]
		if first.of != p { // it was changed since
			first = surplus{p, time.Now()}
		}
		seen[p.ID] = first
		if time.Since(first.since) >= inheritedGrace {
			n.settleOne(p)
		}
	}
	n.unsure = seen
}

// settleOne looks again, while nobody changes the container's limits, nor has changed them
// since.
func (n *Node) settleOne(p *ledger.Placement) {
	if n.beginLimit(p.Container) != nil {
		return
	}
	defer n.endLimit(p.Container)
	c, err := n.container(p.Container)
	if err != nil || n.placementOf(p.Container) != p {
		return
	}
	if has, more := had(p, c); more {
		n.log.Info("placement holds what its container has again", "container", p.Name, "placement", p.ID)
		n.settleLimit(has)
	}
}

// had returns the limits that the container has, and whether the placement holds
// others as well: two grants at once, or more than the container has. A container that
// somebody gave more on its host is none of that.
func had(p *ledger.Placement, c *engine.Container) (has ledger.Limit, more bool) {
	g, on := &p.Grant, sched.CPUs(c.Cores...)
	has = ledger.Limit{Placement: p.ID, MilliCPU: sched.Thousandths(c.NanoCPUs), Memory: c.Memory}
	owned := on.Count() > 0 && on.Minus(g.Cores).Count() == 0 && (has.MilliCPU == 0 || has.MilliCPU == int64(on.Count())*sched.Core)
	switch {
	case owned && on.Equal(p.Request.Cores):
		has.MilliCPU, has.Cores, has.Pin = 0, on, on
	case owned:
		has.MilliCPU, has.Pin = int64(on.Count())*sched.Core, on
	case has.MilliCPU > 0 && has.MilliCPU%sched.Core == 0:
		return has, false // whole cores that are not its own: not of the cluster's making
	}
	if two(p) {
		return has, true
	}
	less := g.Memory > 0 && 0 < c.Memory && c.Memory < g.Memory
	fits := c.Memory == g.Memory || less
	if owned {
		return has, fits && (less || on.Count() < g.Cores.Count())
	}
	fewer := 0 < has.MilliCPU && has.MilliCPU < g.MilliCPU
	return has, g.Shares() && fits && (fewer || less && has.MilliCPU == g.MilliCPU)
}

// two says whether the placement holds other than what it asks for: what it had and
// what it was to have.
func two(p *ledger.Placement) bool {
	g, pinned := &p.Grant, p.Request.Pinned()
	if pinned > 0 {
		return g.Memory != p.Request.Memory || g.Cores.Count() != pinned || g.MilliCPU != 0
	}
	return g.Memory != p.Request.Memory || !g.Shares() || g.MilliCPU != p.Request.MilliCPU
}
