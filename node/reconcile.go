package node

import (
	"context"
	"fmt"
	"slices"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/engine"
)

// reconcileLoop reconciles at the start, when something happened, and every
// minute; at most once a second.
func (n *Node) reconcileLoop(ctx context.Context) {
	for {
		next := reconcileEvery
		if err := n.reconcile(ctx); err != nil && ctx.Err() == nil {
			n.log.Debug("reconciliation put off", "err", err)
			next = retryEvery
		}
		if !wait(ctx, debounce) || !n.rest(ctx, next) {
			return
		}
	}
}

// rest waits until it is time to reconcile again, and says whether to go on.
func (n *Node) rest(ctx context.Context, most time.Duration) bool {
	end := time.NewTimer(most)
	defer end.Stop()
	look := time.NewTicker(observeEvery)
	defer look.Stop()
	for {
		select {
		case <-n.kick:
			return true
		case <-end.C:
			return true
		case <-look.C:
			if n.unsettled() || n.unknown() || n.namesUnsettled() || n.objectsUnsettled() || n.portsChanged() || n.cfg.Engine.Ping(ctx) != nil {
				return true
			}
		case <-ctx.Done():
			return false
		}
	}
}

const engineSilent = "out of order: its Docker Engine does not answer"

// reconcile makes the ledger and the engine agree. What the ledger says is read
// before the engine is asked, so that a container that is missing then is gone.
func (n *Node) reconcile(ctx context.Context) error {
	if err := n.cfg.Engine.Ping(ctx); err != nil {
		n.close(ctx, engineSilent)
		return err
	}
	if err := n.register(ctx); err != nil {
		return err
	}
	if err := n.cfg.Log.Read(ctx); err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	var placed []*ledger.Placement
	n.cfg.Log.View(func(l *ledger.Ledger) { placed = l.Placed(n.cfg.ID) })
	registered, _ := n.registeredCards()
	cards := n.cardsOf(registered)
	listCtx, cancel := context.WithTimeout(ctx, observeEvery)
	list, err := n.cfg.Engine.Containers(listCtx)
	cancel()
	if err != nil {
		n.close(ctx, engineSilent)
		return err
	}
	known := map[string]bool{}
	for _, p := range placed {
		known[p.ID] = true
	}
	expired := map[string]bool{}
	n.cfg.Log.View(func(l *ledger.Ledger) {
		list = slices.DeleteFunc(list, func(c engine.Container) bool {
			p := l.Placement(c.Placement)
			expired[c.Placement] = c.Placement != "" && l.Expired(c.Placement)
			// What moved is removed here when it is there, unless it has run here all the same.
			expired[c.ID] = p != nil && p.Node != n.cfg.ID && p.Container != "" && c.Fresh &&
				slices.ContainsFunc(p.Was, func(was ledger.Instance) bool { return was.ID == c.ID })
			return p != nil && p.Node == n.cfg.ID && !known[p.ID] // placed since: another time
		})
	})
	n.mu.Lock()
	open, fresh := n.openOrFresh(placed, time.Now())
	n.leaveRenamed(open, placed, list, time.Now())
	steps, outsiders := settle(placed, list, open, fresh, expired)
	n.givingUp = released(steps)
	n.mu.Unlock()
	for _, s := range steps {
		if err := n.carryOut(ctx, s); err != nil {
			return err
		}
	}
	if err := n.observe(ctx, list, outsiders, cards); err != nil {
		return err
	}
	if err := n.plug(ctx, cards); err != nil {
		return err
	}
	if err := n.settleObjects(ctx); err != nil {
		return err
	}
	if err := n.settleNetworks(ctx, placed, list); err != nil {
		return err
	}
	n.settleLimits(placed, list)
	return n.movePinned(ctx)
}

func (n *Node) carryOut(ctx context.Context, s step) error {
	n.log.Info(s.why, "container", s.name, "placement", s.placement)
	if s.remove != "" {
		if err := n.cfg.Engine.Remove(ctx, s.remove, false, true); err != nil && !engine.IsNotFound(err) {
			n.log.Warn("late container stays", "container", s.name, "err", err)
		}
		return nil
	}
	result, _, err := n.cfg.Log.Propose(ctx, s.command)
	if err != nil {
		return fmt.Errorf("%s: %w", s.why, err)
	}
	if result.Refusal != nil {
		n.log.Warn("ledger keeps what it has", "step", s.why, "err", result.Refusal)
	}
	return nil
}

// step is one thing to do so that the ledger and the engine agree: a command for
// the ledger, or a container to remove.
type step struct {
	why             string
	name, placement string
	command         ledger.Command
	remove          string
}

// settle compares what the ledger placed on this node with what its engine has.
// Open are the placements whose create is under way, fresh those whose container
// may still land. Expired are the placements given up without a
// container ever seen, and containers that have moved. It returns what to do, and the containers that are not
// the cluster's.
func settle(placed []*ledger.Placement, list []engine.Container, open, fresh, expired map[string]bool) (steps []step, outsiders []engine.Container) {
	byID := map[string]*ledger.Placement{}
	for _, p := range placed {
		byID[p.ID] = p
	}
	found, labelled := map[string]bool{}, map[string]bool{}
	for _, c := range list {
		labelled[c.Placement] = true
		p := byID[c.Placement]
		switch {
		case p != nil && belongs(p, &c):
			found[p.ID] = true
			steps = append(steps, agree(p, &c, open[p.ID])...)
		case (expired[c.Placement] || expired[c.ID]) && !c.Running:
			steps = append(steps, step{why: "late container is removed", name: c.Name, placement: c.Placement, remove: c.ID})
		default:
			outsiders = append(outsiders, c)
		}
	}
	for _, p := range placed {
		if found[p.ID] || open[p.ID] || fresh[p.ID] {
			continue
		}
		// Where somebody renamed a container before it was confirmed, nothing is late.
		// Nor where it did not come to move: it is on its old host then.
		late := p.Container == "" && !labelled[p.ID] && len(p.Was) == 0
		steps = append(steps, step{
			why: "placement without a container is released", name: p.Name, placement: p.ID,
			command: ledger.Command{Release: &ledger.Release{Placement: p.ID, Node: p.Node, Expired: late}},
		})
	}
	return steps, outsiders
}

// released returns the placements that the steps release.
func released(steps []step) map[string]bool {
	ids := map[string]bool{}
	for _, s := range steps {
		if s.command.Release != nil {
			ids[s.placement] = true
		}
	}
	return ids
}

// belongs tells the placement's own container from one that a commit gave the
// same labels.
func belongs(p *ledger.Placement, c *engine.Container) bool {
	if p.Container == "" {
		return c.Name == p.Name
	}
	return p.Container == c.ID
}

// agree brings a placement up to its container.
func agree(p *ledger.Placement, c *engine.Container, open bool) []step {
	switch {
	case open:
		return nil
	case p.Container == "":
		return []step{{
			why: "container is confirmed", name: p.Name, placement: p.ID,
			command: ledger.Command{Confirm: &ledger.Confirm{Placement: p.ID, Node: p.Node, Container: c.ID}},
		}}
	case p.Name != c.Name:
		return []step{{
			why: "container was renamed on its host", name: c.Name, placement: p.ID,
			command: ledger.Command{Rename: &ledger.Rename{Placement: p.ID, Name: c.Name}},
		}}
	}
	return nil
}

// Graces before a reservation without a container is given up. A create that an
// earlier life of this agent began may still land: the engine carries on without
// its caller.
const (
	grace          = 30 * time.Second
	inheritedGrace = 2 * time.Minute
	// movedGrace is for what has moved here: its image may be long on its way.
	movedGrace = 15 * time.Minute
)

// sighting is when this agent first saw a reservation without a container and
// without an open create.
type sighting struct {
	at        time.Time
	open      bool // its create was under way when last seen
	inherited bool // it may be older than this life of the agent
}

// openOrFresh returns the placements whose create is under way, and the
// reservations within their grace. Its caller holds mu.
func (n *Node) openOrFresh(placed []*ledger.Placement, now time.Time) (open, fresh map[string]bool) {
	open, fresh = map[string]bool{}, map[string]bool{}
	seen := map[string]sighting{}
	for _, p := range placed {
		open[p.ID] = n.creating[p.ID] != nil
		if p.Container != "" {
			continue
		}
		s, known := n.seen[p.ID]
		if !known || s.open || open[p.ID] {
			s = sighting{now, open[p.ID], n.seen == nil}
		}
		seen[p.ID] = s
		wait := grace
		if s.inherited {
			wait = inheritedGrace
		}
		if len(p.Was) > 0 {
			wait = movedGrace
		}
		fresh[p.ID] = now.Sub(s.at) < wait
	}
	n.seen = seen
	return open, fresh
}

// naming is what the ledger calls a placement, and since when this agent has seen it do so.
type naming struct {
	name  string
	since time.Time
}

// renameGrace is how long a name of the ledger's is not taken back because the container
// has another: renames begin in the ledger. It is longer than the engine is waited for.
const renameGrace = time.Minute

// leaveRenamed counts among the open placements those whose containers are called otherwise
// and may be about to be renamed.
func (n *Node) leaveRenamed(open map[string]bool, placed []*ledger.Placement, list []engine.Container, now time.Time) {
	called := map[string]string{}
	for _, c := range list {
		called[c.ID] = c.Name
	}
	names := map[string]naming{}
	for _, p := range placed {
		this := n.names[p.ID]
		if this.name != p.Name {
			this = naming{p.Name, now}
		}
		names[p.ID] = this
		if name, there := called[p.Container]; there && name != p.Name && now.Sub(this.since) < renameGrace {
			open[p.ID] = true
		}
	}
	n.names = names
}

// unsettled says whether a reservation waits for its container or its grace.
func (n *Node) unsettled() bool {
	var waiting []string
	n.cfg.Log.View(func(l *ledger.Ledger) {
		for _, p := range l.Placed(n.cfg.ID) {
			if p.Container == "" {
				waiting = append(waiting, p.ID)
			}
		}
	})
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.ContainsFunc(waiting, func(id string) bool { return n.creating[id] == nil })
}
