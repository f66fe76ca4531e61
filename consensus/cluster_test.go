package consensus

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/settings"
	"ddocker/test/vnet"
)

// cluster is some nodes on a network in memory. What gossip would tell them,
// they learn from it: who runs, and where.
type cluster struct {
	t   *testing.T
	net *vnet.Net

	mu       sync.Mutex // guards what follows
	nodes    []*node
	believed map[string]bool // whether a node lives, where gossip is wrong
}

type node struct {
	*Consensus
	of     *cluster
	id     string
	ip     string
	dir    string // empty: stores are used
	stores *Stores
	reads  int        // up to this version of the log; 0: what this ddocker reads
	host   *vnet.Host // nil while it is off
	end    context.CancelFunc
	ended  chan error
}

// inCluster runs a test on n nodes in virtual time, the first of which founded
// the cluster, and all of which are in the ledger.
func inCluster(t *testing.T, n int, test func(t *testing.T, c *cluster)) {
	inMixedCluster(t, n, nil, test)
}

// inMixedCluster is inCluster, where some nodes read only what ddocker 4 did.
func inMixedCluster(t *testing.T, n int, old []int, test func(t *testing.T, c *cluster)) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, net: vnet.New(1)}
		for i := range n {
			c.add(fmt.Sprintf("n%d", i+1), fmt.Sprintf("10.0.0.%d", i+1))
		}
		for _, i := range old {
			c.nodes[i].reads = 4
		}
		c.nodes[0].open()
		if err := c.nodes[0].Found(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.nodes[0].run()
		for _, nd := range c.nodes[1:] {
			nd.start()
		}
		for _, nd := range c.nodes {
			nd.register()
		}
		if n > 0 {
			c.eventually("every node follows and enough vote", c.complete)
		}
		test(t, c)
		for _, nd := range c.nodes {
			nd.halt()
		}
	})
}

func (c *cluster) add(id, ip string) *node {
	nd := &node{of: c, id: id, ip: ip, stores: NewStores()}
	c.mu.Lock()
	c.nodes = append(c.nodes, nd)
	c.mu.Unlock()
	return nd
}

// eventually waits a virtual minute for a condition.
func (c *cluster) eventually(what string, holds func() bool) {
	c.t.Helper()
	c.within(time.Minute, what, holds)
}

func (c *cluster) within(limit time.Duration, what string, holds func() bool) {
	c.t.Helper()
	for end := time.Now().Add(limit); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("not within %v: %s\n%v", limit, what, c)
		}
	}
}

func (c *cluster) String() string {
	s := ""
	for _, nd := range c.nodes {
		if nd.Consensus != nil {
			s += fmt.Sprintf("%s on=%v %+v\n", nd.id, nd.host != nil, nd.Status())
		}
	}
	return s
}

// complete reports whether every node knows of as many servers as there should be, and
// enough of them vote.
func (c *cluster) complete() bool {
	for _, nd := range c.nodes {
		if nd.host != nil && (len(nd.Servers()) != min(len(c.nodes), votersFor(len(c.nodes))+maxWarm) || len(nd.Status().Voters) != votersFor(len(c.nodes))) {
			return false
		}
	}
	return c.leader() != nil
}

// leader returns a node that runs and holds itself for the leader.
func (c *cluster) leader() *node {
	i := slices.IndexFunc(c.nodes, func(nd *node) bool { return nd.host != nil && nd.IsLeader() })
	if i < 0 {
		return nil
	}
	return c.nodes[i]
}

// others returns the running nodes but nd, voters first.
func (c *cluster) others(nd *node) []*node {
	var voters, rest []*node
	for _, o := range c.nodes {
		switch {
		case o == nd || o.host == nil:
		case slices.Contains(nd.Status().Voters, o.id):
			voters = append(voters, o)
		default:
			rest = append(rest, o)
		}
	}
	return append(voters, rest...)
}

func (c *cluster) members() []Member {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ms []Member
	for _, nd := range c.nodes {
		alive, wrong := c.believed[nd.id]
		if !wrong {
			alive = nd.host != nil
		}
		ms = append(ms, Member{ID: nd.id, Name: "h" + nd.id[1:], Alive: alive})
	}
	return ms
}

// believe has gossip be wrong about nodes.
func (c *cluster) believe(alive map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.believed = alive
}

func (c *cluster) resolve(id string) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, nd := range c.nodes {
		if nd.id == id {
			return nd.ip, true
		}
	}
	return "", false
}

// idAt returns which node has an address.
func (c *cluster) idAt(addr net.Addr) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, nd := range c.nodes {
		if host, _, err := net.SplitHostPort(addr.String()); err == nil && nd.ip == host {
			return nd.id
		}
	}
	return ""
}

// cut parts two nodes both ways.
func (c *cluster) cut(a, b *node) {
	c.net.Cut(a.ip, b.ip)
	c.net.Cut(b.ip, a.ip)
}

func (nd *node) start() {
	nd.open()
	nd.run()
}

func (nd *node) open() {
	host := nd.of.net.Boot(nd.ip)
	streams, err := host.Listen(":7000")
	calls, err2 := host.Listen(":7001")
	if err := errors.Join(err, err2); err != nil {
		nd.of.t.Fatal(err)
	}
	stores := nd.stores
	if nd.dir != "" {
		if stores, err = OpenStores(nd.dir, slog.New(slog.DiscardHandler)); err != nil {
			nd.of.t.Fatal(err)
		}
	}
	nd.Consensus, err = Open(Config{
		ID: nd.id, Stores: stores,
		Address: func() string { return nd.ip },
		Streams: streams,
		Dial: func(ctx context.Context, id, addr string) (net.Conn, error) {
			return host.Dial(ctx, addr+":7000")
		},
		Resolve: nd.of.resolve,
		Forward: func(ctx context.Context, id string, body []byte) ([]byte, error) {
			addr, _ := nd.of.resolve(id)
			return call(ctx, host, addr+":7001", body)
		},
		Members: nd.of.members,
		Logger:  slog.New(slog.NewTextHandler(nd.of.t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})).With("on", nd.id),
	})
	if err != nil {
		nd.of.t.Fatal(err)
	}
	if nd.reads != 0 {
		nd.speaks = nd.reads
	}
	nd.of.mu.Lock()
	nd.host = host
	nd.of.mu.Unlock()
	go nd.answerCalls(calls, nd.Consensus)
}

func (nd *node) run() {
	ctx, end := context.WithCancel(context.Background())
	nd.end, nd.ended = end, make(chan error, 1)
	go func() { nd.ended <- nd.Run(ctx) }()
}

func (nd *node) register() {
	nd.propose(ledger.Command{Register: &ledger.Register{Node: nd.id, Name: "h" + nd.id[1:], Speaks: nd.speaks}})
}

// halt ends the node as SIGTERM does.
func (nd *node) halt() {
	if nd.host == nil {
		return
	}
	nd.end()
	if err := <-nd.ended; err != nil {
		nd.of.t.Error(err)
	}
	nd.off()
}

// crash takes the node off the network first, so that nobody hears it go.
func (nd *node) crash() {
	nd.off()
	nd.end()
	<-nd.ended
}

func (nd *node) off() {
	nd.of.net.Kill(nd.host)
	nd.of.mu.Lock()
	nd.host = nil
	nd.of.mu.Unlock()
}

// propose has a command carried out and fails the test unless it was.
func (nd *node) propose(cmd ledger.Command) uint64 {
	nd.of.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	res, index, err := nd.Propose(ctx, cmd)
	if err != nil {
		nd.of.t.Fatalf("propose on %s: %v\n%v", nd.id, err, nd.of)
	}
	if res.Refusal != nil {
		nd.of.t.Fatalf("propose on %s: %v", nd.id, res.Refusal)
	}
	return index
}

// write returns a command that sets the register that these tests read. Its
// request ID is the value.
func write(value uint16) ledger.Command {
	return ledger.Command{ID: fmt.Sprint("w", value), Configure: &settings.Settings{StartPort: value}}
}

// value is the register of this replica.
func (nd *node) value() (v uint16) {
	nd.View(func(l *ledger.Ledger) { v = l.Settings().StartPort })
	return v
}

// call sends a body to a node and returns its answer, each behind its length.
func call(ctx context.Context, from *vnet.Host, addr string, body []byte) ([]byte, error) {
	conn, err := from.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if until, ok := ctx.Deadline(); ok {
		conn.SetDeadline(until)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := send(conn, body); err != nil {
		return nil, err
	}
	return receive(conn)
}

func (nd *node) answerCalls(ln net.Listener, c *Consensus) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			body, err := receive(conn)
			if err != nil {
				return
			}
			if c.speaks < 5 && strings.Contains(string(body), `"op":"raise"`) {
				body = []byte(`{"op":"what older ddockers do not know"}`)
			}
			if body, err = c.Serve(context.Background(), nd.of.idAt(conn.RemoteAddr()), body); err == nil {
				send(conn, body)
			}
		}()
	}
}

func send(w io.Writer, body []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...))
	return err
}

func receive(r io.Reader) ([]byte, error) {
	in := bufio.NewReader(r)
	var size uint32
	if err := binary.Read(in, binary.BigEndian, &size); err != nil {
		return nil, err
	}
	body := make([]byte, size)
	_, err := io.ReadFull(in, body)
	return body, err
}
