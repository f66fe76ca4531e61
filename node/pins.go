package node

import (
	"context"
	"fmt"

	"ddocker/consensus/ledger"
	"ddocker/engine"
	"ddocker/sched"
)

// movePinned keeps the containers that have no cores of their own off the cores
// that others have, and lets them back when those are free again. It returns
// when the engine has done it, before a pinned container starts.
func (n *Node) movePinned(ctx context.Context) error {
	if err := n.pinning.acquire(ctx); err != nil {
		return err
	}
	defer n.pinning.release()
	var shared, all sched.CPUSet
	sharers := map[string]*ledger.Placement{}
	n.cfg.Log.View(func(l *ledger.Ledger) {
		h := l.Host(n.cfg.ID)
		if h == nil {
			return
		}
		shared, all = h.Shared(), h.Cores
		for _, p := range l.Placed(n.cfg.ID) {
			if p.Grant.Shares() {
				sharers[p.ID] = p
			}
		}
	})
	if len(sharers) == 0 || shared.Count() == 0 {
		return nil
	}
	list, err := n.cfg.Engine.Containers(ctx)
	if err != nil {
		return err
	}
	for _, c := range list {
		// What this host has made may not be confirmed in its copy of the ledger yet.
		if p := sharers[c.Placement]; p == nil || !belongs(p, &c) || !misplaced(c, shared, all) {
			continue
		}
		if err := n.cfg.Engine.SetCores(ctx, c.ID, shared.List()); err != nil && !engine.IsNotFound(err) {
			return fmt.Errorf("move %s to cores %s: %w", c.Name, shared, err)
		}
	}
	return nil
}

// misplaced says whether a container that shares cores runs on others than the
// shared ones. One without a list may run on all.
func misplaced(c engine.Container, shared, all sched.CPUSet) bool {
	on := sched.CPUs(c.Cores...)
	if on.Count() == 0 {
		on = all
	}
	return !on.Equal(shared)
}
