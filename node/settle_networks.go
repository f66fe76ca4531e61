package node

import (
	"context"
	"slices"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/engine"
)

// connectGrace is how long a placement and its container may differ in their networks: so
// long a connect may take that began in the ledger.
const connectGrace = 10 * time.Minute

// settleNetworks has placements name the networks of the cluster that their containers have
// been on for a while, and no other: whoever was to connect them died, somebody disconnected
// them on this host, or a detachment was decided after they had been connected again. It
// belongs to the loop that reconciles.
func (n *Node) settleNetworks(ctx context.Context, placed []*ledger.Placement, list []engine.Container) error {
	seen := map[string]surplus{}
	for _, p := range placed {
		at := slices.IndexFunc(list, func(c engine.Container) bool { return p.Container != "" && c.ID == p.Container })
		if at < 0 {
			continue
		}
		wrong := slices.Concat(detachments(p, list[at].Networks), n.attachments(p, list[at].Networks))
		if len(wrong) == 0 {
			continue
		}
		first := n.apart[p.ID]
		if first.of != p { // it was changed since
			first = surplus{p, time.Now()}
		}
		seen[p.ID] = first
		if time.Since(first.since) < connectGrace {
			continue
		}
		seen[p.ID] = surplus{p, time.Now()}
		for _, attach := range wrong {
			s := step{
				why: "networks that a container counts as a user of are settled", name: p.Name, placement: p.ID,
				command: ledger.Command{Attach: &attach},
			}
			if err := n.carryOut(ctx, s); err != nil {
				return err
			}
		}
	}
	n.apart = seen
	return nil
}

// detachments are of the networks that the placement names and its container is not on.
func detachments(p *ledger.Placement, on []string) (list []ledger.Attach) {
	for _, name := range p.Networks {
		if !slices.Contains(on, name) {
			list = append(list, ledger.Attach{Placement: p.ID, Network: name, Detach: true})
		}
	}
	return list
}

// attachments are to the cluster's networks that the container is on, unnamed, as long as
// no other host holds them.
func (n *Node) attachments(p *ledger.Placement, on []string) (list []ledger.Attach) {
	n.cfg.Log.View(func(l *ledger.Ledger) {
		for _, name := range on {
			o := l.Object(ledger.Network, name)
			if o == nil || slices.Contains(p.Networks, name) {
				continue
			}
			if at := l.Anchor(o); at != "" && at != n.cfg.ID && !p.Apart {
				continue // another host holds it by now
			}
			if _, here := o.Instance(n.cfg.ID); here {
				list = append(list, ledger.Attach{Placement: p.ID, Network: name})
			}
		}
	})
	return list
}
