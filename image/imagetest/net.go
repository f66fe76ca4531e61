package imagetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// fromHeader names the node that a request comes from.
const fromHeader = "Imagetest-From"

// From returns the node that sent a request over a Net.
func From(r *http.Request) string { return r.Header.Get(fromHeader) }

// Net is HTTP between nodes, in memory. Close it when the test is over.
type Net struct {
	mu    sync.Mutex // guards what follows
	nodes map[string]*host
	ways  []*http.Transport
	calls sync.WaitGroup // requests being served
}

// NewNet returns a network without nodes.
func NewNet() *Net { return &Net{nodes: map[string]*host{}} }

// host is one node of a Net.
type host struct {
	server *http.Server
	conns  chan net.Conn
	gone   chan struct{}

	mu   sync.Mutex // guards what follows
	hook func(sent int64) error
	rate int64
	free time.Time // when the link is free again
	sent int64
}

// Join puts a node on the network, whose requests h serves. A node of that name
// leaves first.
func (n *Net) Join(node string, h http.Handler) {
	n.Leave(node)
	at := &host{conns: make(chan net.Conn), gone: make(chan struct{})}
	at.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.calls.Add(1)
		defer n.calls.Done()
		h.ServeHTTP(w, r)
	})}
	n.mu.Lock()
	n.nodes[node] = at
	n.mu.Unlock()
	go at.server.Serve(at) // returns when the node leaves
}

// Leave takes a node from the network: its connections break.
func (n *Net) Leave(node string) {
	n.mu.Lock()
	at := n.nodes[node]
	delete(n.nodes, node)
	n.mu.Unlock()
	if at != nil {
		at.server.Close()
	}
}

// Close ends all nodes and connections, and returns when nothing is served any more.
func (n *Net) Close() {
	n.mu.Lock()
	nodes, ways := n.nodes, n.ways
	n.nodes, n.ways = map[string]*host{}, nil
	n.mu.Unlock()
	for _, at := range nodes {
		at.server.Close()
	}
	for _, way := range ways {
		way.CloseIdleConnections()
	}
	n.calls.Wait()
}

// Hook has f called before each write of a node that serves, with how many bytes
// it has sent so far: it may take its time, and its error breaks the connection.
func (n *Net) Hook(node string, f func(sent int64) error) {
	at := n.host(node)
	at.mu.Lock()
	defer at.mu.Unlock()
	at.hook = f
}

// Limit caps what a node sends, in bytes a second.
func (n *Net) Limit(node string, rate int64) {
	at := n.host(node)
	at.mu.Lock()
	defer at.mu.Unlock()
	at.rate = rate
}

// Sent returns how many bytes a node sent as a server, HTTP's own included.
func (n *Net) Sent(node string) int64 {
	at := n.host(node)
	at.mu.Lock()
	defer at.mu.Unlock()
	return at.sent
}

// host returns a node that is on the network.
func (n *Net) host(node string) *host {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.nodes[node]
}

// Peer returns how one node reaches the others.
func (n *Net) Peer(self string) func(node string) http.RoundTripper {
	way := &http.Transport{DialContext: n.dial, MaxIdleConnsPerHost: 4, DisableCompression: true}
	n.mu.Lock()
	n.ways = append(n.ways, way)
	n.mu.Unlock()
	return func(node string) http.RoundTripper { return toNode{way, self, node} }
}

type toNode struct {
	way        *http.Transport
	self, node string
}

// RoundTrip implements http.RoundTripper.
func (t toNode) RoundTrip(r *http.Request) (*http.Response, error) {
	out := r.Clone(r.Context())
	out.URL.Host = t.node
	out.Header.Set(fromHeader, t.self)
	return t.way.RoundTrip(out)
}

func (n *Net) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	node, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	at := n.host(node)
	if at == nil {
		return nil, fmt.Errorf("dial %s: connection refused", node)
	}
	near, far := net.Pipe()
	select {
	case at.conns <- &link{far, at}:
		return near, nil
	case <-at.gone:
		return nil, fmt.Errorf("dial %s: connection refused", node)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept implements net.Listener.
func (at *host) Accept() (net.Conn, error) {
	select {
	case c := <-at.conns:
		return c, nil
	case <-at.gone:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (at *host) Close() error {
	at.mu.Lock()
	defer at.mu.Unlock()
	select {
	case <-at.gone:
		return errors.New("closed twice")
	default:
		close(at.gone)
	}
	return nil
}

// Addr implements net.Listener.
func (at *host) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "memory"} }

// link is a server's end of a connection.
type link struct {
	net.Conn
	host *host
}

// Write implements net.Conn.
func (l *link) Write(p []byte) (int, error) {
	at := l.host
	at.mu.Lock()
	hook, sent := at.hook, at.sent
	var wait time.Duration
	if at.rate > 0 {
		now := time.Now()
		if at.free.Before(now) {
			at.free = now
		}
		at.free = at.free.Add(time.Duration(float64(len(p)) / float64(at.rate) * float64(time.Second)))
		wait = at.free.Sub(now)
	}
	at.mu.Unlock()
	time.Sleep(wait)
	if hook != nil {
		if err := hook(sent); err != nil {
			l.Close()
			return 0, err
		}
	}
	n, err := l.Conn.Write(p)
	at.mu.Lock()
	at.sent += int64(n)
	at.mu.Unlock()
	return n, err
}
