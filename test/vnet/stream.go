package vnet

import (
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"
)

// window is how many bytes a reader may be behind before Write blocks.
const window = 256 << 10

// conn is one end of a stream.
type conn struct {
	inbox
	host          *Host
	local, remote netip.AddrPort
	peer          *conn
	unread        int  // bytes in the inbox
	reset         bool // closed by force
	shut          bool // for writing
	abrupt        bool // to be closed by force
	broken        bool // by the network
}

func (c *conn) LocalAddr() net.Addr                { return net.TCPAddrFromAddrPort(c.local) }
func (c *conn) RemoteAddr() net.Addr               { return net.TCPAddrFromAddrPort(c.remote) }
func (c *conn) SetDeadline(t time.Time) error      { return c.host.net.setDeadlines(&c.inbox, &t, &t) }
func (c *conn) SetReadDeadline(t time.Time) error  { return c.host.net.setDeadlines(&c.inbox, &t, nil) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.host.net.setDeadlines(&c.inbox, nil, &t) }

// deaf reports whether nothing arrives at c.
func (c *conn) deaf() bool { return c.host.net.cut[path{c.remote.Addr(), c.local.Addr()}] }

func (c *conn) Read(p []byte) (k int, err error) {
	c.host.net.await(&c.inbox, func() (bool, time.Time) {
		switch {
		case c.closed:
			err = &net.OpError{Op: "read", Net: "tcp", Err: net.ErrClosed}
		case past(c.readUntil):
			err = &net.OpError{Op: "read", Net: "tcp", Err: os.ErrDeadlineExceeded}
		case len(p) == 0:
		case c.broken:
			err = &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
		case c.deaf():
			return false, c.readUntil
		case c.peer.reset:
			err = &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
		default:
			s, wake := c.next()
			if s == nil {
				return false, wake
			}
			k, err = c.take(s, p)
		}
		return true, time.Time{}
	})
	return k, err
}

// take moves bytes of the first segment to p. Its end a stream keeps.
func (c *conn) take(s *segment, p []byte) (int, error) {
	if len(s.bytes) == 0 {
		return 0, io.EOF
	}
	k := copy(p, s.bytes)
	if s.bytes = s.bytes[k:]; len(s.bytes) == 0 {
		c.segments = c.segments[1:]
	}
	c.unread -= k
	c.peer.pulse()
	return k, nil
}

// Write blocks while the peer is a window behind, and fails once it has heard
// that the peer has closed.
func (c *conn) Write(p []byte) (k int, err error) {
	c.host.net.await(&c.inbox, func() (bool, time.Time) {
		switch {
		case c.closed:
			err = &net.OpError{Op: "write", Net: "tcp", Err: net.ErrClosed}
		case c.shut:
			err = &net.OpError{Op: "write", Net: "tcp", Err: syscall.EPIPE}
		case past(c.writeUntil):
			err = &net.OpError{Op: "write", Net: "tcp", Err: os.ErrDeadlineExceeded}
		case c.broken, c.peer.closed && !c.deaf():
			err = &net.OpError{Op: "write", Net: "tcp", Err: syscall.ECONNRESET}
		default:
			k += c.send(p[k:min(len(p), k+window-c.peer.unread)])
			return k == len(p), c.writeUntil
		}
		return true, time.Time{}
	})
	return k, err
}

// send lets bytes arrive at the peer behind all that was sent before.
func (c *conn) send(p []byte) int {
	if len(p) > 0 {
		c.peer.unread += len(p)
		c.peer.push(segment{at: c.behind(), bytes: slices.Clone(p)})
	}
	return len(p)
}

// behind is when something sent now arrives, not before what was sent earlier.
func (c *conn) behind() time.Time {
	at := c.host.net.arrival()
	if s := c.peer.segments; len(s) > 0 && s[len(s)-1].at.After(at) {
		at = s[len(s)-1].at
	}
	return at
}

// CloseWrite ends one direction; what was written still arrives.
func (c *conn) CloseWrite() error {
	c.host.net.mu.Lock()
	defer c.host.net.mu.Unlock()
	if c.closed {
		return &net.OpError{Op: "close", Net: "tcp", Err: net.ErrClosed}
	}
	if !c.shut {
		c.shut = true
		c.peer.push(segment{at: c.behind()})
		c.pulse()
	}
	return nil
}

// SetLinger with 0 makes Close a reset.
func (c *conn) SetLinger(seconds int) error {
	c.host.net.mu.Lock()
	defer c.host.net.mu.Unlock()
	c.abrupt = seconds == 0
	return nil
}

// Close ends both directions; what was written still arrives, unless SetLinger says
// otherwise.
func (c *conn) Close() error {
	c.host.net.mu.Lock()
	defer c.host.net.mu.Unlock()
	c.end(c.abrupt)
	return nil
}

// end closes c, by force if its peer is to lose what it has not read. The caller
// holds net.mu.
func (c *conn) end(reset bool) {
	if c.closed {
		return
	}
	c.closed, c.reset = true, reset
	c.peer.push(segment{at: c.behind()})
	c.pulse()
	if c.peer.closed {
		delete(c.host.net.conns, c)
		delete(c.host.net.conns, c.peer)
	}
}
