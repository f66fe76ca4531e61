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
	rejoinLost  = 5 * time.Second // while a member is lost, in a cluster of up to rejoinSmall
	rejoinLater = time.Minute
	rejoinPeers = 4 // addresses tried at a time
	rejoinSmall = 20
)

// rejoin exchanges full state with seeds and lost members until ctx ends: at
// start, 2 s after it because many that start at once miss each other, then as
// often as pause says. What changes meanwhile may shorten a pause.
func (g *Gossip) rejoin(ctx context.Context, list *memberlist.Memberlist) {
	for first, soon := true, true; ctx.Err() == nil; first = false {
		g.join(list, soon)
		since := time.Now()
		soon = first || g.moved.Swap(false)
		for ctx.Err() == nil {
			changed := g.roster.nextChange()
			pause := g.pause()
			if soon {
				pause = rejoinSoon
			}
			pause += rand.N(pause / 4)
			left := pause - time.Since(since)
			if left <= 0 {
				break
			}
			timer := time.NewTimer(left)
			select {
			case <-ctx.Done():
			case <-changed:
			case <-timer.C:
			}
			timer.Stop()
		}
	}
}

// pause returns how long to wait before others are sought again: 2 s while
// nobody else is alive; 5 s while a member is lost, so that a mended cable shows
// soon, and longer in a large cluster, where all seek it; else a minute, to find
// the other side of a healed partition that both have forgotten.
func (g *Gossip) pause() time.Duration {
	members, alive := g.roster.all(), g.roster.alive()
	switch {
	case alive < 2:
		return rejoinSoon
	case alive < len(members):
		return min(rejoinLost*time.Duration(max(1, alive/rejoinSmall)), rejoinLater)
	}
	return rejoinLater
}

// join returns when each of a few peers was tried; a stream takes at most some
// ten seconds, and ends with the transport.
func (g *Gossip) join(list *memberlist.Memberlist, withAlive bool) {
	var tries sync.WaitGroup
	for _, addr := range g.candidates(withAlive) {
		tries.Go(func() {
			if _, err := list.Join([]string{addr}); err != nil {
				g.log.Debug("cannot join by a peer", "addr", addr, "err", err)
			}
		})
	}
	tries.Wait()
}

// candidates picks peers at random, those not known to be alive first. With the others
// periodic exchange happens anyway: they are left out unless they are asked for.
func (g *Gossip) candidates(withAlive bool) []string {
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
		} else if !alive[addr] {
			missing = append(missing, addr)
		} else if withAlive {
			present = append(present, addr)
		}
	}
	all := slices.Concat(missing, present)
	return all[:min(len(all), rejoinPeers)]
}
