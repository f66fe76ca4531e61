package relay

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// datagram is room for the largest there is.
type datagram [1 << 16]byte

const (
	// sessionIdle is how long a session lasts in which nothing is sent either way.
	sessionIdle = 90 * time.Second
	// sendTimeout bounds sending one datagram.
	sendTimeout = time.Second
)

// way is by whom a datagram was sent and to which address of this host.
type way struct {
	from netip.AddrPort
	at   netip.Addr // zero: not known
}

// session is one client's exchange with the target: a socket of its own, so that the
// target tells clients apart, and that gets nothing but the target's answers.
type session struct {
	far  net.Conn
	used atomic.Int64 // when something was last sent either way, in ns
}

func (s *session) touch()           { s.used.Store(time.Now().UnixNano()) }
func (s *session) until() time.Time { return time.Unix(0, s.used.Load()).Add(sessionIdle) }

// exchange is the datagrams of one door.
type exchange struct {
	*door
	socket *socket
	open   context.Context // as long as the socket is

	mu      sync.Mutex // guards talking
	talking map[way]*session
}

// exchange carries datagrams until the socket is closed.
func (d *door) exchange(c net.PacketConn) {
	open, end := context.WithCancel(d.life)
	defer end()
	x := &exchange{door: d, socket: newSocket(c), open: open, talking: map[way]*session{}}
	for {
		err := x.next()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			d.r.cfg.Logger.Debug("receive on a relayed port", "port", d.to.words(), "err", err)
			if !d.rest() {
				return
			}
		}
	}
}

// next carries one datagram to the target. One that cannot be sent is lost, as
// datagrams may be.
func (x *exchange) next() error {
	if err := await(x.socket.c); err != nil {
		return err
	}
	buf := x.r.buffers.Get().(*datagram)
	defer x.r.buffers.Put(buf)
	n, from, err := x.socket.read(buf[:])
	if err != nil {
		return err
	}
	if s := x.session(from); s != nil {
		s.touch()
		s.far.SetWriteDeadline(time.Now().Add(sendTimeout))
		s.far.Write(buf[:n])
	}
	return nil
}

// session returns the client's, a new one if need be; nil when there is no room for one.
func (x *exchange) session(from way) *session {
	x.mu.Lock()
	s := x.talking[from]
	x.mu.Unlock()
	if s != nil || !enterBoth(&x.door.sessions, &x.r.sessions) {
		return s
	}
	far, err := x.dial(x.r.cfg.Network.DialPacket)
	if err != nil {
		x.door.sessions.leave()
		x.r.sessions.leave()
		x.r.cfg.Logger.Debug("relayed port is not served", "port", x.to.words(), "node", x.to.Node, "err", err)
		return nil
	}
	s = &session{far: far}
	s.touch()
	x.mu.Lock()
	x.talking[from] = s
	x.mu.Unlock()
	x.r.running.Go(func() {
		defer context.AfterFunc(x.open, func() { far.Close() })()
		for x.answer(s, from) {
		}
		x.mu.Lock()
		delete(x.talking, from)
		x.mu.Unlock()
		far.Close()
		x.door.sessions.leave()
		x.r.sessions.leave()
	})
	return s
}

// answer carries one datagram of the target's back, and says whether to go on: not when
// the target's host says that nobody is there, and not when the session was idle.
func (x *exchange) answer(s *session, to way) bool {
	s.far.SetReadDeadline(s.until())
	err := await(s.far)
	if err == nil {
		buf := x.r.buffers.Get().(*datagram)
		defer x.r.buffers.Put(buf)
		var n int
		if n, err = s.far.Read(buf[:]); err == nil {
			s.touch()
			x.socket.write(buf[:n], to) // who does not get it may ask again
			return true
		}
	}
	var fault net.Error
	return errors.As(err, &fault) && fault.Timeout() && time.Now().Before(s.until())
}
