package consensus

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// streams is raft's stream layer over the agent's network. It keeps every open
// stream, because closing raft's transport leaves them open.
type streams struct {
	net.Listener
	dial  func(ctx context.Context, id, addr string) (net.Conn, error)
	local func() string
	life  context.Context // ends with close
	end   context.CancelFunc

	mu     sync.Mutex // guards what follows
	open   map[*stream]struct{}
	closed bool
}

func newStreams(cfg Config) *streams {
	life, end := context.WithCancel(context.Background())
	return &streams{
		Listener: cfg.Streams, dial: cfg.Dial, local: cfg.Address,
		life: life, end: end, open: map[*stream]struct{}{},
	}
}

// Accept returns the next stream that another node opened.
func (s *streams) Accept() (net.Conn, error) { return s.keep(s.Listener.Accept()) }

// Addr returns where others reach this node, which may change.
func (s *streams) Addr() net.Addr { return address(s.local()) }

// Dial opens a stream to a target made by peerAddress.
func (s *streams) Dial(target raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(s.life, timeout)
	defer cancel()
	id, addr, ok := strings.Cut(string(target), "@")
	if !ok {
		return nil, fmt.Errorf("dial %s: no node ID", target)
	}
	return s.keep(s.dial(ctx, id, addr))
}

func (s *streams) keep(conn net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		conn.Close()
		return nil, net.ErrClosed
	}
	kept := &stream{Conn: conn, in: s}
	s.open[kept] = struct{}{}
	return kept, nil
}

// hangUp ends every stream and every dial; no new ones are made.
func (s *streams) hangUp() {
	s.end()
	s.mu.Lock()
	s.closed = true
	open := s.open
	s.open = nil
	s.mu.Unlock()
	for conn := range open {
		conn.Conn.Close()
	}
	s.Listener.Close()
}

// stream forgets itself when it is closed.
type stream struct {
	net.Conn
	in *streams
}

// Close closes the connection.
func (c *stream) Close() error {
	c.in.mu.Lock()
	delete(c.in.open, c)
	c.in.mu.Unlock()
	return c.Conn.Close()
}

// address is a host:port as a net.Addr.
type address string

// Network returns "tcp".
func (address) Network() string { return "tcp" }

// String returns the host:port.
func (a address) String() string { return string(a) }

// peerAddress is what raft calls an address: the node's ID and where it is.
// The ID lets Dial insist on whom it meets.
func peerAddress(id, addr string) raft.ServerAddress {
	return raft.ServerAddress(id + "@" + addr)
}

// ServerAddr implements raft.ServerAddressProvider: gossip knows best where a
// node is; raft's configuration knows where it was when it was added.
func (c *Consensus) serverAddr(id raft.ServerID) (raft.ServerAddress, error) {
	if string(id) == c.cfg.ID {
		return peerAddress(c.cfg.ID, c.cfg.Address()), nil
	}
	if addr, ok := c.cfg.Resolve(string(id)); ok {
		return peerAddress(string(id), addr), nil
	}
	for _, s := range c.servers() {
		if s.ID == id {
			return s.Address, nil
		}
	}
	return "", fmt.Errorf("find address of node %s", id)
}

// resolver is serverAddr as raft wants it.
type resolver func(raft.ServerID) (raft.ServerAddress, error)

// ServerAddr implements raft.ServerAddressProvider.
func (f resolver) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) { return f(id) }
