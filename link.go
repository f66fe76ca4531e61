package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
)

// linkPiece is how much one system call of a link carries, in bytes: four full
// records of TLS, with what TLS adds to each.
const linkPiece = 4 * (16<<10 + 64)

// link is a connection to another node. TLS writes and reads record by record, of
// 16 KiB at most, and each would cost both machines a system call and a waking. A link
// carries together what is there together, and holds nothing back. One goroutine at a
// time reads it, and one writes, as net/http does; Close may come at any time.
type link struct {
	*tls.Conn
	below   *gathered
	writing atomic.Int32
}

// Read waits for the first record, and takes what has come with it.
func (l *link) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if err != nil || n == len(p) {
		return n, err
	}
	l.below.atHand = true
	for more := 0; err == nil && n < len(p); n += more {
		more, err = l.Conn.Read(p[n:]) // an error is that nothing is at hand, or comes again
	}
	l.below.atHand = false
	return n, nil
}

// Write sends all records of p together.
func (l *link) Write(p []byte) (int, error) {
	l.writing.Add(1)
	defer l.writing.Add(-1)
	l.below.hold()
	n, err := l.Conn.Write(p)
	if fault := l.below.release(); err == nil && fault != nil {
		return 0, fault
	}
	return n, err
}

// Close says farewell, unless a Write is under way: it is then there to end that.
func (l *link) Close() error {
	if l.writing.Load() > 0 {
		return l.Conn.NetConn().Close()
	}
	return l.Conn.Close()
}

// pieces lends links what they gather in.
type pieces struct{ idle sync.Pool }

func (p *pieces) get() *[linkPiece]byte {
	if piece, ok := p.idle.Get().(*[linkPiece]byte); ok {
		return piece
	}
	return new([linkPiece]byte)
}

// gathered is the connection below the TLS of a link. It has a piece only while there
// is something in it, or much is awaited.
type gathered struct {
	net.Conn
	pieces *pieces

	// The reader's:
	atHand bool // it wants what is here, and waits for nothing
	full   bool // there was as much as it had asked for: there may be much more
	in     *[linkPiece]byte
	unread []byte // of in

	turn  chan struct{} // has room for whoever writes, who owns what follows
	held  bool          // more is about to be written
	out   *[linkPiece]byte
	ready int // bytes of out that are to be sent
	err   error
}

func gather(c net.Conn, p *pieces) *gathered {
	return &gathered{Conn: c, pieces: p, turn: make(chan struct{}, 1)}
}

// Read reads what is below TLS.
func (g *gathered) Read(p []byte) (int, error) {
	switch {
	case len(g.unread) > 0:
	case g.atHand:
		return 0, os.ErrDeadlineExceeded // which to TLS is no end
	case !g.full:
		n, err := g.Conn.Read(p)
		g.full = n == len(p)
		return n, err
	default:
		g.in = g.pieces.get()
		n, err := g.Conn.Read(g.in[:])
		g.unread, g.full = g.in[:n], n > len(p)
		if n == 0 {
			g.pieces.idle.Put(g.in)
			g.in = nil
			return 0, err
		}
	}
	n := copy(p, g.unread)
	if g.unread = g.unread[n:]; len(g.unread) == 0 {
		g.pieces.idle.Put(g.in)
		g.in, g.unread = nil, nil
	}
	return n, nil
}

// hold has what is written wait for release.
func (g *gathered) hold() {
	g.turn <- struct{}{}
	defer func() { <-g.turn }()
	g.held = true
}

// release sends what has waited.
func (g *gathered) release() error {
	g.turn <- struct{}{}
	defer func() { <-g.turn }()
	g.held = false
	g.send()
	return g.err
}

// Write writes what is below TLS.
func (g *gathered) Write(p []byte) (int, error) {
	g.turn <- struct{}{}
	defer func() { <-g.turn }()
	if g.err != nil {
		return 0, g.err
	}
	if !g.held {
		return g.Conn.Write(p)
	}
	for rest := p; len(rest) > 0; {
		if g.out == nil {
			g.out = g.pieces.get()
		}
		n := copy(g.out[g.ready:], rest)
		g.ready += n
		if rest = rest[n:]; g.ready == len(g.out) {
			if g.send(); g.err != nil {
				return 0, g.err
			}
		}
	}
	return len(p), nil
}

// send sends what is ready. The turn is the caller's.
func (g *gathered) send() {
	if g.out == nil {
		return
	}
	if g.err == nil {
		_, g.err = g.Conn.Write(g.out[:g.ready])
	}
	g.pieces.idle.Put(g.out)
	g.out, g.ready = nil, 0
}

// gathering is a network whose connections are gathered.
type gathering struct {
	network
	pieces *pieces
}

// Dial connects.
func (n gathering) Dial(ctx context.Context, addr string) (net.Conn, error) {
	c, err := n.network.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	return gather(c, n.pieces), nil
}

// Listen listens.
func (n gathering) Listen(addr string) (net.Listener, error) {
	ln, err := n.network.Listen(addr)
	return gatheringListener{ln, n.pieces}, err
}

type gatheringListener struct {
	net.Listener
	pieces *pieces
}

// Accept waits for the next connection.
func (l gatheringListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return gather(c, l.pieces), nil
}

// linked returns the link that a connection is: with TLS, and made on one that gathers.
func linked(c net.Conn) (net.Conn, error) {
	if secure, ok := c.(*tls.Conn); ok {
		raw := secure.NetConn()
		if guest, ok := raw.(interface{ NetConn() net.Conn }); ok {
			raw = guest.NetConn()
		}
		if below, ok := raw.(*gathered); ok {
			return &link{Conn: secure, below: below}, nil
		}
	}
	c.Close()
	return nil, errors.New("take a connection to a node: it is no TLS on one that gathers")
}
