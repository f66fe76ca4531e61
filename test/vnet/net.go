// Package vnet is a network in memory for clusters in virtual time: hosts that
// listen, dial and send packets, and the faults a test sees them through.
//
//	synctest.Test(t, func(t *testing.T) {
//		n := vnet.New(1)
//		a, b := n.Boot("10.0.0.1"), n.Boot("10.0.0.2")
//		ln, _ := b.Listen(":2375")
//		go serve(ln)
//		conn, _ := a.Dial(ctx, "10.0.0.2:2375")
//		n.Cut("10.0.0.2", "10.0.0.1") // b's answers are held back
//		n.Heal()
//		n.Kill(b) // conn is reset
//		b = n.Boot("10.0.0.2")
//	})
//
// It starts no goroutine, and all that waits does so on channels and timers of
// its caller's bubble, without a lock. What is lost or late follows from the
// seed and from the order of sending: the same seed is not quite the same run.
package vnet

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

// Net connects hosts. Its methods may be called from any goroutine.
type Net struct {
	mu      sync.Mutex // guards all that is mutable in the package
	rng     *rand.Rand
	base    time.Duration
	jitter  time.Duration
	loss    float64
	twice   float64
	hosts   map[netip.Addr]*Host
	cut     map[path]bool
	conns   map[*conn]bool // until both ends are closed
	changed chan struct{}  // closed and replaced when a path is cut or healed
}

// path is one direction between two hosts.
type path struct{ from, to netip.Addr }

func (p path) back() path { return path{p.to, p.from} }

// New returns a network without hosts, faults or loss, whose packets and
// segments take 0.2 ms and, exponentially spread, 0.5 ms more.
func New(seed uint64) *Net {
	return &Net{
		rng:     rand.New(rand.NewPCG(seed, 0)),
		base:    200 * time.Microsecond,
		jitter:  500 * time.Microsecond,
		hosts:   map[netip.Addr]*Host{},
		cut:     map[path]bool{},
		conns:   map[*conn]bool{},
		changed: make(chan struct{}),
	}
}

// SetDelay makes all that is sent from now on take base, and on average jitter
// more.
func (n *Net) SetDelay(base, jitter time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.base, n.jitter = base, jitter
}

// SetLoss drops each packet with probability p, 0 to 1. Streams lose nothing.
func (n *Net) SetLoss(p float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.loss = p
}

// SetTwice delivers each packet that is not lost a second time with probability p, 0 to 1.
func (n *Net) SetTwice(p float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.twice = p
}

// Boot connects a machine with this IP address. It panics when the address is
// malformed or a live host has it: that is a mistake of the test.
func (n *Net) Boot(ip string) *Host {
	addr := netip.MustParseAddr(ip)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hosts[addr] != nil {
		panic("vnet: two live hosts at " + ip)
	}
	h := &Host{net: n, ip: addr, dead: make(chan struct{}), port: 32768,
		streams: map[uint16]*listener{}, packets: map[uint16]*packetConn{}}
	n.hosts[addr] = h
	return h
}

// Kill takes a host off the network as a crash does: what it has open fails at
// once, its peers' connections are reset as soon as the path to them is whole,
// packets to it vanish. Its address is free again. A dead host stays dead.
func (n *Net) Kill(h *Host) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hosts[h.ip] != h {
		return
	}
	delete(n.hosts, h.ip)
	close(h.dead)
	for c := range n.conns {
		if c.host == h {
			c.end(true)
		}
	}
	for _, c := range h.packets {
		c.pulse()
	}
}

// Cut lets nothing sent by the host at from reach the host at to; the other
// direction stays as it is. Packets are lost. A stream's bytes, its end and its
// reset are held back until the path is whole again.
func (n *Net) Cut(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[path{netip.MustParseAddr(from), netip.MustParseAddr(to)}] = true
	n.reroute()
}

// Mend removes the cut of one direction.
func (n *Net) Mend(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.cut, path{netip.MustParseAddr(from), netip.MustParseAddr(to)})
	n.reroute()
}

// Reset breaks all streams between two hosts, as a router does that has forgotten them:
// what was not read yet is lost on both sides.
func (n *Net) Reset(a, b string) {
	one, two := netip.MustParseAddr(a), netip.MustParseAddr(b)
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		if p := (path{c.local.Addr(), c.remote.Addr()}); p == (path{one, two}) || p == (path{two, one}) {
			c.broken = true
			c.pulse()
		}
	}
}

// Heal removes every cut.
func (n *Net) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
	n.reroute()
}

// reroute wakes all whom a cut may concern. The caller holds mu.
func (n *Net) reroute() {
	close(n.changed)
	n.changed = make(chan struct{})
	for c := range n.conns {
		c.pulse()
	}
}

// arrival is when a packet or segment sent now arrives. The caller holds mu.
func (n *Net) arrival() time.Time {
	return time.Now().Add(n.base + time.Duration(n.rng.ExpFloat64()*float64(n.jitter)))
}
