package main

import (
	"net"
	"sync/atomic"
	"time"
)

// unreadTimeout is how long a client of this machine may read nothing of an answer.
// It is for those who forget it, not for those who look at a page of it.
const unreadTimeout = 5 * time.Minute

// readListener is for clients of this machine, whose kernel waits for ever for one who
// does not read.
type readListener struct{ net.Listener }

// Accept waits for the next.
func (l readListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &readConn{Conn: c}, nil
}

// readConn breaks off when nothing of what it sends is read for a while, unless it was
// taken over or has another deadline.
type readConn struct {
	net.Conn
	patient, limited atomic.Bool
}

// Write sends p.
func (c *readConn) Write(p []byte) (int, error) {
	if !c.patient.Load() && !c.limited.Load() {
		c.Conn.SetWriteDeadline(time.Now().Add(unreadTimeout)) // the error is Write's too
	}
	return c.Conn.Write(p)
}

// SetDeadline sets both deadlines.
func (c *readConn) SetDeadline(t time.Time) error {
	c.limited.Store(!t.IsZero())
	return c.Conn.SetDeadline(t)
}

// SetWriteDeadline puts another deadline in the place of its own.
func (c *readConn) SetWriteDeadline(t time.Time) error {
	c.limited.Store(!t.IsZero())
	return c.Conn.SetWriteDeadline(t)
}

// CloseWrite ends one direction.
func (c *readConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
