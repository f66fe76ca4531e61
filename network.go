package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ddocker/identity"
	"ddocker/relay"
)

// network is what the agent reaches others through: the machine's own, or one in
// memory in which a whole cluster runs.
type network = relay.Network

// realNetwork is the machine's.
type realNetwork struct {
	keepAlive net.KeepAliveConfig
	// unacked is how long a peer may leave unread or unacknowledged what was sent to it;
	// 0: as long as the kernel has patience, and unread for ever.
	unacked time.Duration
}

// nodeNetwork is for what nodes say to each other. A machine that is unplugged says
// nothing: what was sent to it is given up, and a silent connection looked after, so
// that nobody waits for it much longer than gossip takes to notice.
func nodeNetwork() realNetwork {
	return realNetwork{
		net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 3 * time.Second, Count: 3}, 8 * time.Second,
	}
}

// relayNetwork is for what is other people's: who does not read for a while has reasons
// of his own, and only the dead are given up.
func relayNetwork() realNetwork {
	return realNetwork{net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 9}, 0}
}

func (n realNetwork) limitUnacked(_, _ string, c syscall.RawConn) error {
	if n.unacked == 0 {
		return nil
	}
	var err error
	if fault := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(n.unacked.Milliseconds()))
	}); fault != nil {
		return fault
	}
	return err
}

func (n realNetwork) Listen(addr string) (net.Listener, error) {
	l := net.ListenConfig{KeepAliveConfig: n.keepAlive, Control: n.limitUnacked}
	return l.Listen(context.Background(), "tcp", addr)
}

func (realNetwork) ListenPacket(addr string) (net.PacketConn, error) {
	return net.ListenPacket("udp", addr)
}

func (n realNetwork) Dial(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: n.keepAlive, Control: n.limitUnacked}
	return d.DialContext(ctx, "tcp", addr)
}

func (realNetwork) DialPacket(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "udp", addr)
}

// dialTimeout bounds connecting to a node and its TLS handshake.
const dialTimeout = 3 * time.Second

// dialTLS connects to a node. An error of it is always a dial error: nothing
// was asked of the node yet.
func dialTLS(ctx context.Context, n network, addr string, config *tls.Config) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	raw, err := n.Dial(ctx, addr)
	if err != nil {
		return nil, asDial(err)
	}
	c := tls.Client(raw, config)
	if err := c.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, asDial(err)
	}
	return c, nil
}

func asDial(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return err
	}
	return &net.OpError{Op: "dial", Net: "tcp", Err: err}
}

// dial connects to a node by its ID, wherever it is now.
func (a *agent) dial(ctx context.Context, proto, id string) (net.Conn, error) {
	addr, ok := a.resolve(id)
	if !ok {
		return nil, asDial(fmt.Errorf("the address of node %s is not known yet", id))
	}
	net := a.outward.to(id, a.cfg.net)
	if proto != identity.ProtoRPC {
		return dialTLS(ctx, net, addr, a.id.Client(proto, id))
	}
	c, err := dialTLS(ctx, gathering{farewells{net}, &a.pieces}, addr, a.id.Client(proto, id))
	if err != nil {
		return nil, err
	}
	return linked(c)
}

// farewells is a network on which a connection ends well only with TLS's own words
// of farewell: a stream that a container ended is told from one whose host's agent
// was killed, on whose behalf the kernel closes the connection all the same.
type farewells struct{ network }

// Dial connects.
func (f farewells) Dial(ctx context.Context, addr string) (net.Conn, error) {
	c, err := f.network.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	return farewellConn{c}, nil
}

type farewellConn struct{ net.Conn }

var errNoFarewell = errors.New("the other end closed the connection without a farewell")

// Read reads what is below TLS, which after a farewell reads no more.
func (c farewellConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == io.EOF {
		err = errNoFarewell
	}
	return n, err
}

// resolve returns where a node was last heard of: by gossip, in the ledger, or
// in an earlier life of this agent.
func (a *agent) resolve(id string) (addr string, ok bool) {
	if m, ok := a.gossip.Member(id); ok && m.Addr != "" {
		return m.Addr, true
	}
	if addr := a.addressInLedger(id); addr != "" {
		return addr, true
	}
	addr, ok = a.peers.address(id)
	return addr, ok
}

// holderAddress returns at which IP address other machines reach a node's published
// ports; not one that is this machine's too, where they would reach this agent.
func (a *agent) holderAddress(id string) (ip string, ok bool) {
	addr, _ := a.resolve(id)
	ip, _, err := net.SplitHostPort(addr)
	own, _, _ := net.SplitHostPort(a.cfg.Advertise)
	return ip, err == nil && ip != own
}

// peerTransport returns a transport whose requests go to the node named by the
// host of their URL, over the protocol between nodes.
func (a *agent) peerTransport() *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			id, _, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, asDial(err)
			}
			return a.dial(ctx, identity.ProtoRPC, id)
		},
		Protocols: protocols, DisableCompression: true,
		MaxIdleConnsPerHost: 128, IdleConnTimeout: 90 * time.Second,
		WriteBufferSize: peerBuffer, ReadBufferSize: peerBuffer,
	}
}

// peerBuffer is what net/http gathers for a node, in bytes: two records of TLS, which
// leave a large piece that follows to fill its own.
const peerBuffer = 32 << 10

// toNode sends requests to one node, whatever host they name.
type toNode struct {
	transport http.RoundTripper
	id        string
}

// RoundTrip sends one request.
func (t toNode) RoundTrip(r *http.Request) (*http.Response, error) {
	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Host = "http", t.id
	return t.transport.RoundTrip(out)
}

// rpcListener hands out the connections of other nodes, as links: of a *tls.Conn
// net/http would see that it speaks a protocol that it does not know, and close it.
type rpcListener struct{ net.Listener }

// Accept waits for the next.
func (l rpcListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return linked(c)
}

// peerKey is the context key of the identity.Peer that sent a request.
type peerKey struct{}

// withPeer notes who is at the other end of a connection, once for all that it sends:
// a certificate may expire meanwhile, and who is removed is cut off.
func (a *agent) withPeer(ctx context.Context, c net.Conn) context.Context {
	secure, ok := c.(interface{ ConnectionState() tls.ConnectionState })
	if !ok {
		return ctx
	}
	state := secure.ConnectionState()
	var peer identity.Peer
	peer.Node, _ = a.id.PeerID(&state)
	peer.Key, _ = identity.PeerKey(&state)
	return context.WithValue(ctx, peerKey{}, peer)
}

// peerOf returns the ID of the node that sent a request; empty: it was none.
func peerOf(ctx context.Context) string { return callingPeer(ctx).Node }

func callingPeer(ctx context.Context) identity.Peer {
	peer, _ := ctx.Value(peerKey{}).(identity.Peer)
	return peer
}

// ownAddress guesses at which address of this machine others reach it.
func ownAddress() (string, error) {
	// Connecting a UDP socket sends nothing; it asks the kernel for a route.
	if c, err := net.Dial("udp4", "192.0.2.1:9"); err == nil {
		defer c.Close()
		return c.LocalAddr().(*net.UDPAddr).IP.String(), nil
	}
	list, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	for _, a := range list {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() && ip.IP.To4() != nil {
			return ip.IP.String(), nil
		}
	}
	return "", errors.New("this machine has no address that others could reach: give one with --advertise")
}
