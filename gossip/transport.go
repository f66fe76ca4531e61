package gossip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	receiveBuffer = 2 << 20 // bytes the system should hold for Packets
	maxPacket     = 64 << 10
)

// transport brings memberlist the network of a Config.
type transport struct {
	cfg     *Config
	packets chan *memberlist.Packet
	streams chan net.Conn
	broken  chan error // a reader's last words
	readers sync.WaitGroup
	up      context.Context // until Shutdown
	down    context.CancelFunc

	mu   sync.Mutex
	open map[*stream]bool
}

var _ memberlist.Transport = (*transport)(nil)

func newTransport(cfg *Config) *transport {
	up, down := context.WithCancel(context.Background())
	return &transport{
		cfg:     cfg,
		packets: make(chan *memberlist.Packet),
		streams: make(chan net.Conn),
		broken:  make(chan error, 2),
		up:      up,
		down:    down,
		open:    map[*stream]bool{},
	}
}

// serve starts the readers, which end with Shutdown, and returns when ctx ends
// or one of them has failed.
func (t *transport) serve(ctx context.Context) error {
	if c, ok := t.cfg.Packets.(interface{ SetReadBuffer(bytes int) error }); ok {
		if err := c.SetReadBuffer(receiveBuffer); err != nil {
			t.cfg.Logger.Warn("gossip may lose packets in a burst", "err", err)
		}
	}
	buf := make([]byte, maxPacket)
	t.readers.Go(func() { t.read(func() error { return t.receive(buf) }) })
	t.readers.Go(func() { t.read(t.accept) })
	select {
	case <-ctx.Done():
		return nil
	case err := <-t.broken:
		if ctx.Err() != nil {
			return nil // whoever owns the port closed it at the same moment
		}
		return err
	}
}

// read repeats next until Shutdown, or until its source is closed.
func (t *transport) read(next func() error) {
	for t.up.Err() == nil {
		err := next()
		switch {
		case err == nil || t.up.Err() != nil:
		case errors.Is(err, net.ErrClosed):
			t.broken <- fmt.Errorf("receive gossip: %w", err)
			return
		default:
			t.cfg.Logger.Warn("cannot receive gossip for a moment", "err", err)
			select {
			case <-time.After(time.Second):
			case <-t.up.Done():
			}
		}
	}
}

func (t *transport) receive(buf []byte) error {
	n, from, err := t.cfg.Packets.ReadFrom(buf)
	if err != nil {
		return err
	}
	p := &memberlist.Packet{Buf: append([]byte(nil), buf[:n]...), From: from, Timestamp: time.Now()}
	select {
	case t.packets <- p:
	case <-t.up.Done():
	}
	return nil
}

func (t *transport) accept() error {
	c, err := t.cfg.Streams.Accept()
	if err != nil {
		return err
	}
	select {
	case t.streams <- t.track(c):
	case <-t.up.Done():
	}
	return nil
}

func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }
func (t *transport) StreamCh() <-chan net.Conn           { return t.streams }

func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.cfg.Advertise.Addr().Unmap().AsSlice(), int(t.cfg.Advertise.Port()), nil
}

// WriteTo sends one packet.
func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return time.Time{}, fmt.Errorf("send gossip: %w", err)
	}
	_, err = t.cfg.Packets.WriteTo(b, net.UDPAddrFromAddrPort(to))
	return time.Now(), err
}

// DialTimeout opens a stream whose every use fails after timeout, too, unless
// memberlist moves the deadline: it writes the first bytes without any.
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(t.up, timeout)
	defer cancel()
	c, err := t.cfg.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	if err := c.SetDeadline(time.Now().Add(timeout)); err != nil {
		c.Close()
		return nil, err
	}
	return t.track(c), nil
}

// Shutdown closes everything and returns when the readers have ended. It may be
// called again.
func (t *transport) Shutdown() error {
	t.down()
	t.mu.Lock()
	open := t.open
	t.open = nil
	t.mu.Unlock()
	for s := range open {
		s.Conn.Close()
	}
	err := errors.Join(t.cfg.Packets.Close(), t.cfg.Streams.Close())
	t.readers.Wait()
	return err
}

// stream is an open stream. Memberlist does not close one whose first write
// failed, so it closes itself then.
type stream struct {
	net.Conn
	t *transport
}

func (t *transport) track(c net.Conn) net.Conn {
	s := &stream{c, t}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		c.Close()
		return s
	}
	t.open[s] = true
	return s
}

func (s *stream) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b)
	if err != nil {
		s.Close()
	}
	return n, err
}

func (s *stream) Close() error {
	s.t.mu.Lock()
	delete(s.t.open, s)
	s.t.mu.Unlock()
	return s.Conn.Close()
}
