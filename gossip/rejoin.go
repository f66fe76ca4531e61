package gossip

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	rejoinSoon  = 2 * time.Second
	rejoinLater = time.Minute
	rejoinPeers = 4 // addresses tried at a time
)

// rejoin exchanges full state with seeds and lost members until ctx ends: at
// start, 2 s after it because many that start at once miss each other, then
// every minute to find the other side of a healed partition, and every 2 s while
// it is needed: when nobody else is alive, or while peers still take this node
// to be alive at a former address and refuse the new one.
func (g *Gossip) rejoin(ctx context.Context, list *memberlist.Memberlist) {
	for first := true; ; first = false {
		g.join(list)
		pause := rejoinLater
		if first || g.roster.alive() < 2 || g.moved.Swap(false) {
			pause = rejoinSoon
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause + rand.N(pause/4)):
		}
	}
}

// join returns when each of a few peers was tried; a stream takes at most some
// ten seconds, and ends with the transport.
func (g *Gossip) join(list *memberlist.Memberlist) {
	var tries sync.WaitGroup
	for _, addr := range g.candidates() {
		tries.Go(func() {
			if _, err := list.Join([]string{addr}); err != nil {
				g.log.Debug("cannot join by a peer", "addr", addr, "err", err)
			}
		})
	}
	tries.Wait()
}

// candidates picks peers at random, those not known to be alive first: with the
// others periodic exchange happens anyway.
func (g *Gossip) candidates() []string {
	alive, seen := map[string]bool{}, map[string]bool{g.cfg.Advertise.String(): true}
	addrs := g.cfg.Seeds()
	for _, m := range g.roster.all() {
		if alive[m.Addr] = m.Alive; !m.Alive {
			addrs = append(addrs, m.Addr)
		}
	}
	var missing, present []string
	for _, i := range rand.Perm(len(addrs)) {
		addr := addrs[i]
		if seen[addr] {
			continue
		}
		seen[addr] = true
		if _, err := netip.ParseAddrPort(addr); err != nil {
			g.log.Warn("skip a seed that is no ip:port", "addr", addr)
		} else if alive[addr] {
			present = append(present, addr)
		} else {
			missing = append(missing, addr)
		}
	}
	all := slices.Concat(missing, present)
	return all[:min(len(all), rejoinPeers)]
}
