package node

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"slices"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/relay"
	"ddocker/sched"
)

const (
	// relayPause is how long changes are gathered at least before ports are looked at
	// again, and relayShare how many times longer than that look took, up to a second: in
	// the largest clusters it takes no more than that part of a core.
	relayPause = 50 * time.Millisecond
	relayShare = 20
	// relayRetry is when a port is tried again that another process had.
	relayRetry = 10 * time.Second
)

// relayed is what the ports that are answered on for others follow from.
type relayed struct {
	published uint64
	host      *sched.Host // replaced when others than the cluster take ports here
	open      []relay.Target
	kept      []relay.Target
	missing   int // of open
}

// relayLoop has this host answer on the ports that containers publish on others.
func (n *Node) relayLoop(ctx context.Context) {
	defer n.cfg.Relay.Close()
	for {
		changed := n.cfg.Changed()
		began := time.Now()
		var again <-chan time.Time
		if missing := n.relay(); missing > 0 {
			again = time.After(relayRetry)
		}
		if !wait(ctx, min(max(relayPause, relayShare*time.Since(began)), time.Second)) {
			return
		}
		select {
		case <-changed:
		case <-again:
		case <-ctx.Done():
			return
		}
	}
}

// relay answers on the ports that are due by the ledger as it is here now. Ports that are
// this host's own by then are free when it returns. It returns how many ports could
// not be had.
func (n *Node) relay() (missing int) {
	n.relaying.Lock()
	defer n.relaying.Unlock()
	fresh := false
	n.cfg.Log.View(func(l *ledger.Ledger) {
		published, host := l.Published(), l.Host(n.cfg.ID)
		if fresh = n.relayed.published != published || n.relayed.host != host; fresh {
			n.relayed = relayed{published: published, host: host}
			n.relayed.open, n.relayed.kept = relays(l, n.cfg.ID)
		}
	})
	if fresh || n.relayed.missing > 0 {
		n.relayed.missing = n.cfg.Relay.Set(n.relayed.open, n.relayed.kept)
	}
	return n.relayed.missing
}

// relays returns the published ports of containers on other hosts than self: open are
// those on which self answers, as no other container of the cluster has the port, and
// nothing of this host; kept are the rest. What a container binds to an address of its
// host stays there.
func relays(l *ledger.Ledger, self string) (open, kept []relay.Target) {
	host := l.Host(self)
	if host == nil {
		return nil, nil // what is taken here the cluster does not know yet
	}
	own := hostOf(l.Node(self).Address)
	shared := map[sched.Port]map[string]bool{} // placements by a port that is held on several hosts
	for n, p := range l.Publishers() {
		at := hostOf(n.Address)
		for _, b := range p.Grant.Ports {
			port := b.Port()
			alone := l.PortHolders(port) == 1
			if !alone {
				if shared[port] == nil {
					shared[port] = map[string]bool{}
				}
				shared[port][p.ID] = true
			}
			if n.Node == self || at == own || p.Container == "" || b.Proto == "sctp" || !answersAt(b.IP, at) {
				continue
			}
			if to := (relay.Target{Port: port, Placement: p.ID, Node: n.Node}); alone {
				open = append(open, to)
			} else {
				kept = append(kept, to)
			}
		}
	}
	kept = slices.DeleteFunc(kept, func(to relay.Target) bool {
		alone := len(shared[to.Port]) == 1 && !host.Held.HasPort(to.Port)
		if alone { // the others are processes of hosts that are not this one
			open = append(open, to)
		}
		return alone
	})
	return open, kept
}

func hostOf(addr string) string {
	host, _, _ := net.SplitHostPort(addr)
	return host
}

// answersAt says whether a port that is bound to an address of its host is for
// everybody, and answers at the one that the cluster knows.
func answersAt(bound, at string) bool {
	if bound == "" {
		return true
	}
	b, err := netip.ParseAddr(bound)
	if err != nil || !b.IsUnspecified() {
		return false
	}
	a, err := netip.ParseAddr(at)
	return err == nil && a.Unmap().Is4() == b.Is4()
}

// listening returns the ports that processes listen on, but for those on which this agent
// answers for other hosts: they are free for whoever has a right to them.
func (n *Node) listening() ([]sched.Port, error) {
	relayed := n.cfg.Relay.Ports()
	listening, err := n.cfg.Machine.Listening()
	maps.Copy(relayed, n.cfg.Relay.Ports()) // those that were taken while the machine was asked
	return slices.DeleteFunc(listening, func(p sched.Port) bool { return relayed[p] }), err
}
