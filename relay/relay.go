// Package relay has this host answer on ports that containers publish on other hosts:
// a connection or a datagram that comes to such a port is carried to the same port of
// the host that has the container.
//
//	r := relay.New(relay.Config{Network: network, Address: address, Logger: log})
//	missing := r.Set([]relay.Target{{Port: port, Placement: id, Node: holder}}, nil)
//	…
//	r.Close()
//
// It reaches nothing but the targets it is set to, and knows nothing of what they are:
// whoever sets them decides. The holder's own agent has no part in it.
package relay

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"ddocker/sched"
)

// Network is what a relay reaches the world through. Listen and ListenPacket take an
// address without a host, and should answer to IPv4 and IPv6.
type Network interface {
	Listen(addr string) (net.Listener, error)
	ListenPacket(addr string) (net.PacketConn, error)
	Dial(ctx context.Context, addr string) (net.Conn, error)
	// DialPacket returns a socket for datagrams to and from one address alone.
	DialPacket(ctx context.Context, addr string) (net.Conn, error)
}

// Config says how a relay reaches the other hosts. All fields are needed.
type Config struct {
	Network Network
	// Address returns the IP address of a node, and false where none is known or it is
	// this host's own: what is sent there would come back.
	Address func(node string) (ip string, ok bool)
	Logger  *slog.Logger
}

// Target is a port of a container on another host.
type Target struct {
	Port      sched.Port // here as there; tcp or udp
	Placement string     // whose it is: connections end with it
	Node      string     // where it is
}

// Bounds of what strangers can have a relay hold. A connection takes six descriptors, a
// session of datagrams one.
const (
	portStreams  = 4096
	allStreams   = 16384
	portSessions = 1024
	allSessions  = 8192
	// dialTimeout bounds connecting to the holder.
	dialTimeout = 3 * time.Second
	// pause is how long a relay waits when the machine has run out of something.
	pause = 100 * time.Millisecond
)

// Relay is a host's part in answering for the others.
type Relay struct {
	cfg     Config
	life    context.Context
	stop    context.CancelFunc
	running sync.WaitGroup // all that was started
	buffers sync.Pool      // of *datagram

	streams, sessions         room
	portStreams, portSessions int64

	mu    sync.Mutex // guards what follows, and what it guards of the doors; held over no wait
	look  uint64     // counts calls of Set
	doors map[Target]*door
}

// New returns a relay that answers on no port yet.
func New(cfg Config) *Relay {
	life, stop := context.WithCancel(context.Background())
	return &Relay{
		cfg: cfg, life: life, stop: stop, doors: map[Target]*door{},
		buffers: sync.Pool{New: func() any { return new(datagram) }},
		streams: room{most: allStreams}, sessions: room{most: allSessions},
		portStreams: portStreams, portSessions: portSessions,
	}
}

// Set has this host answer for the targets of open, and for no others. What is under way
// to those of kept goes on where it can: connections do, datagrams do not. All that is
// under way to any other target ends. When Set returns, the ports that it gave up are
// free. It returns how many ports it could not have, because another process has them:
// to try again, set the same again.
func (r *Relay) Set(open, kept []Target) (missing int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.look++
	for _, to := range open {
		if d := r.doors[to]; d != nil {
			d.seen = r.look
		}
	}
	for _, to := range kept {
		if d := r.doors[to]; d != nil {
			d.seen = r.look
			d.shut()
		}
	}
	for to, d := range r.doors {
		if d.seen != r.look {
			d.shut()
			d.end()
			delete(r.doors, to)
		}
	}
	for _, to := range open { // now that all ports are free that may be
		if !r.open(to) {
			missing++
		}
	}
	return missing
}

// open answers on a target's port, if it does not yet. Its caller holds mu.
func (r *Relay) open(to Target) bool {
	if r.life.Err() != nil {
		return true // nobody is to try again
	}
	d := r.doors[to]
	if d == nil {
		life, end := context.WithCancel(r.life)
		d = &door{r: r, to: to, life: life, end: end, seen: r.look}
		d.streams.most, d.sessions.most = r.portStreams, r.portSessions
		r.doors[to] = d
	}
	if d.in != nil {
		return true
	}
	err := d.listen()
	if err != nil && !d.told {
		r.cfg.Logger.Info("a port of another host is not answered on here", "port", to.words(), "err", err)
	}
	d.told = err != nil
	return err == nil
}

// Ports returns the ports that this host answers on for others.
func (r *Relay) Ports() map[sched.Port]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	ports := make(map[sched.Port]bool, len(r.doors))
	for to, d := range r.doors {
		if d.in != nil {
			ports[to.Port] = true
		}
	}
	return ports
}

// Close ends everything and returns when it has ended. After it, Set does nothing.
func (r *Relay) Close() {
	r.stop()
	r.Set(nil, nil)
	r.running.Wait()
}

func (t Target) words() string { return fmt.Sprintf("%d/%s", t.Port.Number, t.Port.Proto) }

// door is the way to one target.
type door struct {
	r    *Relay
	to   Target
	life context.Context // as long as the target is known
	end  context.CancelFunc

	// The relay's mu guards these.
	in   io.Closer // what is listened on; nil: nothing
	told bool      // that in could not be had
	seen uint64    // the last look that knew the target

	streams, sessions room
}

// listen begins to answer.
func (d *door) listen() error {
	at := ":" + strconv.Itoa(int(d.to.Port.Number))
	if d.to.Port.Proto == "udp" {
		c, err := d.r.cfg.Network.ListenPacket(at)
		if err != nil {
			return err
		}
		d.in = c
		d.r.running.Go(func() { d.exchange(c) })
		return nil
	}
	l, err := d.r.cfg.Network.Listen(at)
	if err != nil {
		return err
	}
	d.in = l
	d.r.running.Go(func() { d.accept(l) })
	return nil
}

// shut answers no more.
func (d *door) shut() {
	if d.in == nil {
		return
	}
	if err := d.in.Close(); err != nil {
		d.r.cfg.Logger.Debug("close a relayed port", "port", d.to.words(), "err", err)
	}
	d.in = nil
}

// dial goes to the target by one of the network's two ways.
func (d *door) dial(way func(context.Context, string) (net.Conn, error)) (net.Conn, error) {
	ip, ok := d.r.cfg.Address(d.to.Node)
	if !ok {
		return nil, fmt.Errorf("node %s has no address but this host's", d.to.Node)
	}
	ctx, cancel := context.WithTimeout(d.life, dialTimeout)
	defer cancel()
	return way(ctx, net.JoinHostPort(ip, strconv.Itoa(int(d.to.Port.Number))))
}

// room bounds how many there are of something.
type room struct {
	most int64
	n    atomic.Int64
}

func (r *room) enter() bool {
	if r.n.Add(1) > r.most {
		r.n.Add(-1)
		return false
	}
	return true
}

func (r *room) leave() { r.n.Add(-1) }

// enterBoth enters a door's room and that of all doors, or neither.
func enterBoth(own, all *room) bool {
	if !own.enter() {
		return false
	}
	if !all.enter() {
		own.leave()
		return false
	}
	return true
}

// rest waits a moment, and says whether to go on.
func (d *door) rest() bool {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-d.life.Done():
		return false
	}
}
