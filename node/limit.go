package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"ddocker/consensus/ledger"
	"ddocker/engine"
	"ddocker/sched"
)

// limits are what of the body of Docker's update the ledger decides about. Zero means
// that it stays.
type limits struct {
	NanoCpus, CPUQuota, CPUPeriod, Memory int64
	CpusetCpus                            string
}

// Update changes a container of this node as the body of Docker's update says, in API
// version. What it is to have of cores and memory must be free here: the ledger holds
// that and what it has until the engine has answered, and then only what it has. A
// *ledger.Refusal says what is not free. The work goes on when ctx ends, once it has
// begun: what is asked of one container is done one after the other.
func (n *Node) Update(ctx context.Context, container, version string, body []byte) (status int, reply []byte, err error) {
	for busy := n.beginLimit(container); busy != nil; busy = n.beginLimit(container) {
		select {
		case <-busy:
		case <-ctx.Done():
			return 0, nil, ctx.Err()
		}
	}
	return n.once(ctx, n.creating, "", func() (int, []byte, error) {
		defer n.endLimit(container)
		return n.updateInTurn(container, version, body)
	})
}

// beginLimit has the caller alone change the limits of a container until endLimit, or
// returns what is closed when somebody else ends.
func (n *Node) beginLimit(container string) (busy chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if busy = n.limiting[container]; busy == nil {
		n.limiting[container] = make(chan struct{})
	}
	return busy
}

// limits says whether somebody changes the limits of a container now.
func (n *Node) limits(container string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.limiting[container] != nil
}

func (n *Node) endLimit(container string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.limiting[container])
	delete(n.limiting, container)
}

func (n *Node) updateInTurn(container, version string, body []byte) (status int, reply []byte, err error) {
	p := n.placementOf(container)
	if p == nil && n.cfg.Log.Read(n.life) == nil {
		p = n.placementOf(container)
	}
	var wanted limits
	if err := json.Unmarshal(body, &wanted); err != nil {
		return 0, nil, &ledger.Refusal{Code: ledger.Invalid, Message: fmt.Sprintf("read the request to update: %v", err)}
	}
	if wanted == (limits{}) {
		return n.tellEngine(container, version, body) // it keeps its cores and memory
	}
	now, err := n.container(container)
	if p == nil {
		switch refusal, no := errors.AsType[*ledger.Refusal](err); {
		case err != nil && !(no && refusal.Code == ledger.Unknown):
			return 0, nil, fmt.Errorf("update %s: see whether it is the cluster's: %w", container, err)
		case err == nil && n.reservedFor(now):
			return 0, nil, busy("the cluster does not know yet that container %s is made on %s, and what it holds: try again in a moment", now.Name, n.cfg.Name)
		}
		return n.tellEngine(container, version, body) // it is not the cluster's
	}
	if err != nil {
		return 0, nil, fmt.Errorf("update %s: see what limits it has: %w", p.Name, err)
	}
	if wanted == (limits{CPUPeriod: wanted.CPUPeriod}) && now.CPUQuota <= 0 {
		return n.tellEngine(container, version, body) // a period of nothing
	}
	wanted.over(now)
	if wanted.Memory <= 0 && two(p) {
		wanted.Memory = now.Memory // which an earlier change may have given it
	}
	want, err := wanted.of(p)
	if err != nil {
		return 0, nil, &ledger.Refusal{Code: ledger.Invalid, Message: err.Error()}
	}
	return n.update(p, want, version, body, now, &wanted)
}

// reservedFor says whether the container was made for a placement that is not confirmed.
func (n *Node) reservedFor(c *engine.Container) (reserved bool) {
	n.cfg.Log.View(func(l *ledger.Ledger) {
		p := l.Placement(c.Placement)
		reserved = p != nil && p.Node == n.cfg.ID && p.Container == "" && belongs(p, c)
	})
	return reserved
}

// over has the quota and the period that are not changed stay, where one of them is.
func (w *limits) over(now *engine.Container) {
	if w.CPUQuota <= 0 && w.CPUPeriod > 0 && w.NanoCpus <= 0 {
		w.CPUQuota = now.CPUQuota
	}
	if w.CPUPeriod <= 0 {
		w.CPUPeriod = now.CPUPeriod
	}
}

// container returns what the engine has of one of its containers.
func (n *Node) container(id string) (*engine.Container, error) {
	list, err := n.cfg.Engine.Containers(n.life)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(list, func(c engine.Container) bool { return c.ID == id })
	if at < 0 {
		return nil, &ledger.Refusal{Code: ledger.Unknown, Message: "No such container: " + id}
	}
	return &list[at], nil
}

// of returns what the placement is to ask for.
func (w *limits) of(p *ledger.Placement) (c ledger.Limit, err error) {
	c = ledger.Limit{Placement: p.ID, MilliCPU: p.Request.MilliCPU, Cores: p.Request.Cores, Memory: p.Request.Memory}
	switch {
	case w.CpusetCpus != "":
		c.MilliCPU = 0
		c.Cores, err = sched.ParseCPUSet(w.CpusetCpus)
	case w.NanoCpus > 0:
		c.Cores, c.MilliCPU = sched.CPUSet{}, sched.Thousandths(w.NanoCpus)
	case w.CPUQuota > 0:
		c.Cores, c.MilliCPU = sched.CPUSet{}, sched.QuotaThousandths(w.CPUQuota, w.CPUPeriod)
	}
	if w.Memory > 0 {
		c.Memory = w.Memory
	}
	return c, err
}

// update has the ledger hold what the placement is to have, then the engine change
// it, and then the ledger hold no more than that, or than before.
func (n *Node) update(old *ledger.Placement, want ledger.Limit, version string, body []byte, now *engine.Container, wanted *limits) (status int, reply []byte, err error) {
	want.Keep = true
	held, err := n.limit(want)
	if err != nil {
		return 0, nil, err
	}
	want.Keep, want.Pin = false, pins(old, held, want)
	if err := n.movePinned(n.life); err != nil { // off the cores that it gets
		n.takeBack(old)
		return 0, nil, fmt.Errorf("free cores %s of %s: %w", want.Pin, n.cfg.Name, err)
	}
	body, err = writeLimits(body, want, n.sharedWith(old), now, wanted)
	if err != nil {
		n.takeBack(old)
		return 0, nil, &ledger.Refusal{Code: ledger.Invalid, Message: err.Error()}
	}
	status, reply, err = n.tellEngine(old.Container, version, body)
	switch {
	case err != nil:
		return 0, nil, err // nobody knows: both stay held, until the next update or the end
	case status/100 == 2:
		n.settleLimit(want)
	case status >= statusFailed && !n.within(old):
		n.log.Warn("container may have the limits that its engine failed to give it: both stay held", "container", old.Name, "status", status)
	default:
		n.takeBack(old)
	}
	return status, reply, nil
}

// takeBack has the ledger hold what it held before a change that was not made. Where an
// earlier one has not come to its end, all stays held until settleLimits has seen what the
// container has: that may be more than the placement asks for.
func (n *Node) takeBack(old *ledger.Placement) {
	if two(old) {
		return
	}
	n.settleLimit(ledger.Limit{
		Placement: old.ID, MilliCPU: old.Request.MilliCPU, Cores: old.Request.Cores, Memory: old.Request.Memory, Pin: old.Grant.Cores,
	})
}

// within says whether the container has no more than the placement was granted.
func (n *Node) within(p *ledger.Placement) bool {
	c, err := n.container(p.Container)
	if err != nil {
		return false
	}
	if g := &p.Grant; g.Shares() {
		return c.Memory == g.Memory && (g.MilliCPU == 0) == (c.NanoCPUs == 0) && c.NanoCPUs <= g.MilliCPU*1e6
	}
	return c.Memory == p.Grant.Memory && sched.CPUs(c.Cores...).Minus(p.Grant.Cores).Count() == 0
}

// pins returns the cores that a placement is to have, given what it had and what it
// holds while it is changed; none where it shares them.
func pins(old, held *ledger.Placement, want ledger.Limit) sched.CPUSet {
	asked := sched.Request{MilliCPU: want.MilliCPU, Cores: want.Cores}
	switch n := asked.Pinned(); {
	case want.Cores.Count() > 0:
		return want.Cores
	case n > old.Grant.Cores.Count():
		return held.Grant.Cores
	default:
		return old.Grant.Cores.First(n)
	}
}

// sharedWith returns the cores that a container may share which gives up its own;
// none where it has none of its own, and stays where it is.
func (n *Node) sharedWith(p *ledger.Placement) (shared sched.CPUSet) {
	if p.Grant.Shares() {
		return shared
	}
	n.cfg.Log.View(func(l *ledger.Ledger) {
		if h := l.Host(n.cfg.ID); h != nil {
			shared = h.Shared().Union(p.Grant.Cores)
		}
	})
	return shared
}

// limit has the ledger change what a placement holds.
func (n *Node) limit(c ledger.Limit) (*ledger.Placement, error) {
	ctx, cancel := context.WithTimeout(n.life, proposeTimeout)
	defer cancel()
	result, index, err := n.cfg.Log.Propose(ctx, ledger.Command{Limit: &c})
	if err == nil {
		err = n.cfg.Log.Wait(ctx, index)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("change the limits of a container: %w", err)
	case result.Refusal != nil:
		return nil, result.Refusal
	}
	return result.Placement, nil
}

// settleLimit has the ledger hold what came of a change.
func (n *Node) settleLimit(c ledger.Limit) {
	if _, err := n.limit(c); err != nil {
		n.log.Warn("container holds more than it has until it is updated again or removed", "placement", c.Placement, "err", err)
	}
	n.Kick() // others may spread out again
}

// writeLimits writes what the container is to have into the body of an update, in the
// form that the engine has now: it refuses the other. Shared are the cores to go to for
// one that has none of its own any more.
func writeLimits(body []byte, c ledger.Limit, shared sched.CPUSet, now *engine.Container, wanted *limits) ([]byte, error) {
	var top object
	if err := json.Unmarshal(body, &top); err != nil || top == nil {
		return nil, fmt.Errorf("read the request to update: it is no JSON object")
	}
	for _, key := range []string{"NanoCpus", "CpuQuota", "CpuPeriod", "CpusetCpus"} {
		top.remove(key)
	}
	milli, on := c.MilliCPU, shared
	if c.Pin.Count() > 0 {
		// A quota from an earlier life cannot be taken off: it is made to match.
		milli, on = int64(c.Pin.Count())*sched.Core, c.Pin
	}
	if on.Count() > 0 {
		top.set("CpusetCpus", on)
	}
	switch {
	case milli == 0:
	case now.CPUQuota > 0 || now.CPUPeriod > 0:
		period := cmp.Or(wanted.CPUPeriod, 100_000)
		quota := milli * period / sched.Core
		if sched.QuotaThousandths(wanted.CPUQuota, period) == milli {
			quota = wanted.CPUQuota // to the microsecond
		}
		top.set("CpuPeriod", period)
		top.set("CpuQuota", quota)
	default:
		top.set("NanoCpus", milli*1e6)
	}
	return json.Marshal(top)
}

// tellEngine passes an update to the engine.
func (n *Node) tellEngine(container, version string, body []byte) (status int, reply []byte, err error) {
	status, reply, err = n.cfg.Engine.Update(n.life, container, version, body)
	if err != nil {
		return 0, nil, fmt.Errorf("update: the Docker Engine of %s did not answer, see \"docker inspect\" for whether it did it: %w", n.cfg.Name, err)
	}
	return status, reply, nil
}
