package enginetest

import (
	"context"
	"net"
	"sync"
)

// Pipe is an in-memory listener. Its connections are those of net.Pipe, so
// they do not know half-closes.
type Pipe struct {
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// Listen returns an open Pipe.
func Listen() *Pipe {
	return &Pipe{accept: make(chan net.Conn), closed: make(chan struct{})}
}

// Dial connects to the listener; it waits for Accept until ctx ends.
func (p *Pipe) Dial(ctx context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.accept <- far:
		return near, nil
	case <-p.closed:
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: net.ErrClosed}
	case <-ctx.Done():
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: ctx.Err()}
	}
}

// Accept waits for the next Dial.
func (p *Pipe) Accept() (net.Conn, error) {
	select {
	case conn := <-p.accept:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close refuses further Dials; connections stay open.
func (p *Pipe) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr names the pipe.
func (p *Pipe) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

// trackingListener lets the twin cut every connection, hijacked ones too.
type trackingListener struct {
	net.Listener
	t *Twin
}

func (l *trackingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.t.mu.Lock()
	defer l.t.mu.Unlock()
	if !l.t.serving {
		conn.Close()
		return nil, net.ErrClosed
	}
	tracked := &trackedConn{conn, l.t}
	l.t.conns[tracked] = true
	return tracked, nil
}

type trackedConn struct {
	net.Conn
	t *Twin
}

func (c *trackedConn) Close() error {
	c.t.mu.Lock()
	delete(c.t.conns, c)
	c.t.mu.Unlock()
	return c.Conn.Close()
}
