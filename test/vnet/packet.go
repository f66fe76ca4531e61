package vnet

import (
	"context"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"
)

// maxUnread is how many packets a port keeps before it drops more.
const maxUnread = 2048

// packetConn is a net.PacketConn of one port. Writing never waits.
type packetConn struct {
	inbox
	host *Host
	addr netip.AddrPort
}

func (c *packetConn) LocalAddr() net.Addr              { return net.UDPAddrFromAddrPort(c.addr) }
func (c *packetConn) SetDeadline(t time.Time) error    { return c.SetReadDeadline(t) }
func (c *packetConn) SetWriteDeadline(time.Time) error { return nil }
func (c *packetConn) SetReadDeadline(t time.Time) error {
	return c.host.net.setDeadlines(&c.inbox, &t, nil)
}

// down reports whether c was closed or its host killed. The caller holds net.mu.
func (c *packetConn) down() bool { return c.closed || c.host.net.hosts[c.host.ip] != c.host }

func (c *packetConn) WriteTo(p []byte, to net.Addr) (int, error) {
	dst, err := netip.ParseAddrPort(to.String())
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.down() {
		err = net.ErrClosed
	}
	if err != nil {
		return 0, &net.OpError{Op: "write", Net: "udp", Err: err}
	}
	if h := n.hosts[dst.Addr()]; h != nil && !n.cut[path{c.host.ip, h.ip}] && n.rng.Float64() >= n.loss {
		if d := h.packets[dst.Port()]; d != nil && len(d.segments) < maxUnread {
			d.push(segment{n.arrival(), c.addr, slices.Clone(p)})
			if n.twice > 0 && n.rng.Float64() < n.twice {
				d.push(segment{n.arrival(), c.addr, slices.Clone(p)})
			}
		}
	}
	return len(p), nil
}

// ReadFrom returns the next packet, cut to the length of p.
func (c *packetConn) ReadFrom(p []byte) (k int, from net.Addr, err error) {
	c.host.net.await(&c.inbox, func() (bool, time.Time) {
		s, wake := c.next()
		switch {
		case c.down():
			err = &net.OpError{Op: "read", Net: "udp", Err: net.ErrClosed}
		case past(c.readUntil):
			err = &net.OpError{Op: "read", Net: "udp", Err: os.ErrDeadlineExceeded}
		case s == nil:
			return false, wake
		default:
			k, from = copy(p, s.bytes), net.UDPAddrFromAddrPort(s.from)
			c.segments = c.segments[1:]
		}
		return true, time.Time{}
	})
	return k, from, err
}

// pair is a packetConn for the packets of one peer.
type pair struct {
	net.PacketConn
	peer netip.AddrPort
}

// DialPacket sends packets to addr, and receives those from there alone.
func (h *Host) DialPacket(_ context.Context, addr string) (net.Conn, error) {
	peer, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "udp", Err: err}
	}
	c, err := h.ListenPacket(":0")
	return &pair{c, peer}, err
}

func (p *pair) RemoteAddr() net.Addr        { return net.UDPAddrFromAddrPort(p.peer) }
func (p *pair) Write(b []byte) (int, error) { return p.WriteTo(b, p.RemoteAddr()) }
func (p *pair) Read(b []byte) (k int, err error) {
	for {
		k, from, err := p.ReadFrom(b)
		if err != nil || from.String() == p.peer.String() {
			return k, err
		}
	}
}

// Close frees the port; unread packets are lost.
func (c *packetConn) Close() error {
	c.host.net.mu.Lock()
	defer c.host.net.mu.Unlock()
	if !c.closed {
		c.closed = true
		delete(c.host.packets, c.addr.Port())
		c.pulse()
	}
	return nil
}
