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
	// relayPause is how long changes are gathered before ports are looked at again.
	relayPause = 100 * time.Millisecond
	// relayRetry is when a port is tried again that another process had.
	relayRetry = 10 * time.Second
)

// relayed is what the ports that are answered on for others follow from.
type relayed struct {
	published uint64
	host      *sched.Host // replaced when others than the cluster take ports here
	want      map[relay.Target]bool
	missing   int
}

// relayLoop has this host answer on the ports that containers publish on others.
func (n *Node) relayLoop(ctx context.Context) {
	defer n.cfg.Relay.Close()
	for {
		changed := n.cfg.Changed()
		var again <-chan time.Time
		if missing := n.relay(); missing > 0 {
			again = time.After(relayRetry)
		}
		if !wait(ctx, relayPause) {
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
			n.relayed = relayed{published: published, host: host, want: relays(l, n.cfg.ID)}
		}
	})
	if fresh || n.relayed.missing > 0 {
		n.relayed.missing = n.cfg.Relay.Set(n.relayed.want)
	}
	return n.relayed.missing
}

// relays returns the published ports of containers on other hosts than self, and of each
// whether self answers on it: if no other container of the cluster has it, and nothing
// of this host. What a container binds to an address of its host stays there.
func relays(l *ledger.Ledger, self string) map[relay.Target]bool {
	want := map[relay.Target]bool{}
	host := l.Host(self)
	if host == nil {
		return want // what is taken here the cluster does not know yet
	}
	own := hostOf(l.Node(self).Address)
	holders := map[sched.Port]int{}
	for p := range l.Placements() {
		for i, b := range p.Grant.Ports {
			if !slices.ContainsFunc(p.Grant.Ports[:i], func(a sched.Binding) bool { return a.Port() == b.Port() }) {
				holders[b.Port()]++
			}
		}
		at := hostOf(l.Node(p.Node).Address)
		if p.Node == self || p.Container == "" || at == own {
			continue
		}
		for _, b := range p.Grant.Ports {
			if b.Proto != "sctp" && answersAt(b.IP, at) {
				want[relay.Target{Port: b.Port(), Placement: p.ID, Node: p.Node}] = true
			}
		}
	}
	for t := range want {
		want[t] = holders[t.Port] == 1 && !host.Held.HasPort(t.Port)
	}
	return want
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
