package identity

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"
)

const (
	handshakeTimeout = 10 * time.Second // from accept to being taken from a Listener
	firstRetry       = 5 * time.Millisecond
	lastRetry        = time.Second
)

// Port splits the connections of one listener by the protocol that their TLS
// handshakes agreed on.
type Port struct {
	ln    net.Listener
	id    *Identity
	doors map[string]*door // by protocol; fixed once Run has begun
	most  int              // handshakes at once

	mu     sync.Mutex // guards guests
	guests map[*guest]Peer
}

// Peer is who is at the other end of a connection.
type Peer struct {
	Node string // its ID, as of the handshake; empty: it is no node
	Key  string // see PeerKey; empty: it showed no certificate
}

// guest is a connection that came in.
type guest struct {
	net.Conn
	port *Port
}

// Close closes the connection.
func (g *guest) Close() error {
	g.port.mu.Lock()
	delete(g.port.guests, g)
	g.port.mu.Unlock()
	return g.Conn.Close()
}

// NetConn returns the connection as the listener had it.
func (g *guest) NetConn() net.Conn { return g.Conn }

// Cut closes the delivered connections with those for whom gone says so.
func (p *Port) Cut(gone func(Peer) bool) {
	var cut []*guest
	p.mu.Lock()
	for g, peer := range p.guests {
		if gone(peer) {
			cut = append(cut, g)
		}
	}
	p.mu.Unlock()
	for _, g := range cut {
		slog.Info("connection cut: its peer is out of the cluster", "peer", g.RemoteAddr())
		g.Close()
	}
}

// welcome notes who has come.
func (p *Port) welcome(g *guest, cs *tls.ConnectionState) {
	var peer Peer
	peer.Node, _ = p.id.PeerID(cs)
	peer.Key, _ = PeerKey(cs)
	p.mu.Lock()
	p.guests[g] = peer
	p.mu.Unlock()
}

// NewPort returns a port over ln, which it owns from then on, with so many handshakes
// at most under way at once. Nothing is accepted before Run.
func NewPort(ln net.Listener, id *Identity, handshakes int) *Port {
	return &Port{ln: ln, id: id, most: handshakes, doors: map[string]*door{}, guests: map[*guest]Peer{}}
}

// Listener returns the listener for one of the Proto constants: its Accept
// returns a *tls.Conn whose handshake is done. Closing it refuses the protocol
// and leaves the others alone. Call it once per protocol, before Run; what has
// no listener is refused.
//
// An http.Server closes every *tls.Conn with an ALPN protocol that it does not know:
// to serve HTTP on a protocol other than ProtoHTTP, hide the type.
func (p *Port) Listener(proto string) net.Listener {
	d := &door{addr: p.ln.Addr(), conns: make(chan *tls.Conn), closed: make(chan struct{})}
	p.doors[proto] = d
	return d
}

// Run accepts connections until ctx ends, and then returns nil; it returns an
// error if the underlying listener is closed before. Either way every
// connection that no Listener has delivered is closed by then, and so are the
// Listeners. Delivered connections belong to their receivers.
//
// A peer has 10 seconds to finish its handshake and keeps nobody waiting: one too many
// under way ends the oldest one of the address that has most.
// Connections that are not taken from their Listener in that time are closed as well.
func (p *Port) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	config := p.id.Server(slices.Sorted(maps.Keys(p.doors))...)
	crowd := NewCrowd(p.most, p.most, 0)
	var handshakes sync.WaitGroup
	stop := context.AfterFunc(ctx, func() { p.ln.Close() })
	defer func() {
		cancel()
		stop()
		p.ln.Close()
		handshakes.Wait()
		for _, d := range p.doors {
			d.Close()
		}
	}()
	for {
		conn, err := p.accept(ctx)
		if err != nil && ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept connections: %w", err)
		}
		place := crowd.Enter(Source(conn), func() { conn.Close() })
		if place == nil {
			conn.Close()
			continue
		}
		handshakes.Go(func() {
			defer place.Leave()
			g := &guest{conn, p}
			p.serve(ctx, g, tls.Server(g, config), place)
		})
	}
}

// accept returns the next connection. Only the end of ctx or of the listener is
// an error: everything else, such as too many open files, passes.
func (p *Port) accept(ctx context.Context) (net.Conn, error) {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		conn, err := p.ln.Accept()
		if err == nil || ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return conn, err
		}
		slog.Warn("accepting a connection failed", "retry", wait, "err", err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// serve brings a connection to whoever listens for its protocol, or closes it.
func (p *Port) serve(ctx context.Context, g *guest, conn *tls.Conn, place *Place) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	err := conn.HandshakeContext(ctx)
	if err == nil && !place.Busy(true) {
		err = errCrowded
	}
	if err != nil {
		slog.Debug("handshake failed", "peer", conn.RemoteAddr(), "err", err)
		conn.NetConn().Close()
		return
	}
	state := conn.ConnectionState()
	p.welcome(g, &state)
	proto := state.NegotiatedProtocol
	if proto == "" {
		proto = ProtoHTTP
	}
	d := p.doors[proto]
	if _, node := p.id.PeerID(&state); !node && proto != ProtoHTTP {
		d = nil // it was removed since its handshake was judged, when Cut did not know of it yet
	}
	if d == nil || !d.deliver(ctx, conn) {
		slog.Debug("connection not taken", "peer", conn.RemoteAddr(), "protocol", proto)
		conn.Close()
	}
}

// errCrowded is why a handshake came to nothing that was done.
var errCrowded = errors.New("it had to make room for others")

// Source returns the address of the machine at the other end.
func Source(conn net.Conn) string {
	if host, _, err := net.SplitHostPort(conn.RemoteAddr().String()); err == nil {
		return host
	}
	return conn.RemoteAddr().String()
}

// door is the listener for one protocol.
type door struct {
	addr   net.Addr
	conns  chan *tls.Conn
	once   sync.Once
	closed chan struct{}
}

func (d *door) deliver(ctx context.Context, conn *tls.Conn) bool {
	select {
	case d.conns <- conn:
		return true
	case <-d.closed:
	case <-ctx.Done():
	}
	return false
}

// Accept implements net.Listener. It blocks until there is a connection, or
// the listener is closed or its Port's Run has ended.
func (d *door) Accept() (net.Conn, error) {
	select {
	case conn := <-d.conns:
		return conn, nil
	case <-d.closed:
		return nil, &net.OpError{Op: "accept", Net: d.addr.Network(), Addr: d.addr, Err: net.ErrClosed}
	}
}

// Close implements net.Listener.
func (d *door) Close() error {
	d.once.Do(func() { close(d.closed) })
	return nil
}

// Addr returns the address of the port.
func (d *door) Addr() net.Addr { return d.addr }
