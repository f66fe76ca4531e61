package node

import (
	"context"
	"slices"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/engine"
)

// connectGrace is how long a placement may name a network that its container is not on: so
// long a connect may take that began in the ledger.
const connectGrace = 10 * time.Minute

// settleNetworks has placements name no network that their containers were not on for a
// while: whoever was to connect them died, or somebody disconnected them on this host. It
// belongs to the loop that reconciles.
func (n *Node) settleNetworks(ctx context.Context, placed []*ledger.Placement, list []engine.Container) error {
	seen := map[string]surplus{}
	for _, p := range placed {
		at := slices.IndexFunc(list, func(c engine.Container) bool { return p.Container != "" && c.ID == p.Container })
		if at < 0 {
			continue
		}
		extra := slices.DeleteFunc(slices.Clone(p.Networks), func(name string) bool { return slices.Contains(list[at].Networks, name) })
		if len(extra) == 0 {
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
		for _, name := range extra {
			s := step{
				why: "container is not on a network that it counts as a user of", name: p.Name, placement: p.ID,
				command: ledger.Command{Attach: &ledger.Attach{Placement: p.ID, Network: name, Detach: true}},
			}
			if err := n.carryOut(ctx, s); err != nil {
				return err
			}
		}
	}
	n.apart = seen
	return nil
}
