package vnet

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	noRoute = 3 * time.Second // until dialing an address without a host fails, as on a LAN
	backlog = 128             // connections that may wait to be accepted
)

// Host is one machine. After Net.Kill it does nothing any more; Net.Boot makes
// its successor, at the same address or another.
type Host struct {
	net     *Net
	ip      netip.Addr
	dead    chan struct{}
	port    uint16 // last ephemeral one given out
	streams map[uint16]*listener
	packets map[uint16]*packetConn
}

// Listen accepts streams at addr's port of this host, at a free one for port 0.
// Addr's IP is ignored: a host has but one.
func (h *Host) Listen(addr string) (net.Listener, error) {
	l := &listener{host: h, queue: make(chan *conn, backlog), done: make(chan struct{})}
	var err error
	if l.addr, err = bind(h, h.streams, addr, l); err != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Err: err}
	}
	return l, nil
}

// ListenPacket sends and receives packets at a port, chosen as by Listen.
func (h *Host) ListenPacket(addr string) (net.PacketConn, error) {
	c := &packetConn{host: h, inbox: newInbox()}
	var err error
	if c.addr, err = bind(h, h.packets, addr, c); err != nil {
		return nil, &net.OpError{Op: "listen", Net: "udp", Err: err}
	}
	return c, nil
}

// bind enters s under the port that addr names.
func bind[S any](h *Host, ports map[uint16]*S, addr string, s *S) (netip.AddrPort, error) {
	_, text, err := net.SplitHostPort(addr)
	if err != nil {
		return netip.AddrPort{}, err
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return netip.AddrPort{}, err
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	port := uint16(number)
	if port == 0 {
		port = h.ephemeral()
	}
	if ports[port] != nil {
		return netip.AddrPort{}, syscall.EADDRINUSE
	}
	ports[port] = s
	return netip.AddrPortFrom(h.ip, port), nil
}

// ephemeral returns a port of which nobody knew. The caller holds net.mu.
func (h *Host) ephemeral() uint16 {
	h.port = max(32768, h.port+1)
	return h.port
}

// Dial opens a stream. Where nobody listens it fails after a round trip, where
// there is no host after 3 s; while either path is cut it waits for ctx.
func (h *Host) Dial(ctx context.Context, addr string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(addr)
	if err == nil {
		err = h.reach(ctx, to.Addr())
	}
	var c *conn
	if err == nil {
		c, err = h.connect(to)
	}
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	return c, nil
}

// reach waits as long as a message to ip and its answer take.
func (h *Host) reach(ctx context.Context, ip netip.Addr) error {
	n, there := h.net, path{h.ip, ip}
	for {
		n.mu.Lock()
		changed := n.changed
		trip := time.After(2 * time.Until(n.arrival()))
		if n.cut[there] || n.cut[there.back()] {
			trip = nil
		} else if changed = nil; n.hosts[ip] == nil {
			trip = time.After(noRoute)
		}
		n.mu.Unlock()
		select {
		case <-trip:
			return nil
		case <-changed:
		case <-h.dead:
			return net.ErrClosed
		case <-ctx.Done():
			if ctx.Err() == context.DeadlineExceeded {
				return os.ErrDeadlineExceeded
			}
			return ctx.Err()
		}
	}
}

// connect makes both ends of a stream and queues the far one for Accept.
func (h *Host) connect(to netip.AddrPort) (*conn, error) {
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	host := n.hosts[to.Addr()]
	if n.hosts[h.ip] != h {
		return nil, net.ErrClosed
	}
	if host == nil {
		return nil, syscall.EHOSTUNREACH
	}
	l := host.streams[to.Port()]
	if l == nil || len(l.queue) == backlog {
		return nil, syscall.ECONNREFUSED
	}
	near := &conn{host: h, local: netip.AddrPortFrom(h.ip, h.ephemeral()), remote: to, inbox: newInbox()}
	far := &conn{host: host, local: to, remote: near.local, inbox: newInbox(), peer: near}
	near.peer = far
	n.conns[near], n.conns[far] = true, true
	l.queue <- far
	return near, nil
}

// listener is a net.Listener of one port.
type listener struct {
	host  *Host
	addr  netip.AddrPort
	queue chan *conn // sent to with net.mu held
	done  chan struct{}
	once  sync.Once
}

func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.addr) }

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.done:
	case <-l.host.dead:
	}
	return nil, &net.OpError{Op: "accept", Net: "tcp", Err: net.ErrClosed}
}

// Close frees the port and resets the connections that nobody accepted.
func (l *listener) Close() error {
	l.once.Do(func() {
		l.host.net.mu.Lock()
		defer l.host.net.mu.Unlock()
		delete(l.host.streams, l.addr.Port())
		close(l.done)
		for len(l.queue) > 0 {
			(<-l.queue).end(true)
		}
	})
	return nil
}
