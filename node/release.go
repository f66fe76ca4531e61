package node

import (
	"context"
	"fmt"

	"ddocker/consensus/ledger"
)

// elsewhere releases a placement and says why another place may be found for it: while it
// is held none may, since the name is taken by it.
func (n *Node) elsewhere(placement, format string, args ...any) error {
	why := busy(format, args...)
	if err := n.release(placement); err != nil {
		return fmt.Errorf("%w, and what is reserved on %s is not released yet: try again in a moment (%s)", err, n.cfg.Name, why.Error())
	}
	return why
}

// release ends a placement. What fails here Reconcile does later.
func (n *Node) release(placement string) error {
	ctx, cancel := context.WithTimeout(n.life, proposeTimeout)
	defer cancel()
	_, index, err := n.cfg.Log.Propose(ctx, ledger.Command{Release: &ledger.Release{Placement: placement, Node: n.cfg.ID}})
	if err == nil {
		err = n.cfg.Log.Wait(ctx, index)
	}
	if err != nil {
		n.log.Warn("placement is not yet released", "placement", placement, "err", err)
	}
	return err
}

// Removed tells that the container is gone from this node's engine, which frees
// what it held. It returns when that is durable, or with ctx; then Reconcile
// sees to it.
func (n *Node) Removed(ctx context.Context, container string) error {
	p := n.placementOf(container)
	if p == nil && n.cfg.Log.Read(ctx) == nil {
		p = n.placementOf(container) // it was confirmed so lately that this replica had not heard of it
	}
	if p == nil {
		return n.forgetOutsider(ctx, container)
	}
	_, _, err := n.cfg.Log.Propose(ctx, ledger.Command{Release: &ledger.Release{Placement: p.ID, Node: n.cfg.ID}})
	if err != nil {
		n.Kick()
		return fmt.Errorf("release what %s held: %w", p.Name, err)
	}
	if !p.Grant.Shares() {
		n.Kick() // others may spread out again
	}
	return nil
}

// placementOf returns the placement of a container of this node, nil where this
// replica knows none.
func (n *Node) placementOf(container string) (p *ledger.Placement) {
	n.cfg.Log.View(func(l *ledger.Ledger) {
		if t, refusal := l.Resolve(n.cfg.ID + "/" + container); refusal == nil && t.Container == container {
			p = t.Placement
		}
	})
	return p
}
