package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

func everyProto() []string { return []string{ProtoRaft, ProtoGossip, ProtoRPC, ProtoHTTP} }

func newCluster(t *testing.T) *Authority {
	t.Helper()
	ca, err := NewAuthority(NewID())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// newNode creates an identity in its own directory, with a day to live.
func newNode(t *testing.T, ca *Authority) *Identity {
	t.Helper()
	return newNodeAs(t, ca, Subject{NodeID: NewID(), Life: 24 * time.Hour})
}

func newNodeAs(t *testing.T, ca *Authority, s Subject) *Identity {
	t.Helper()
	id, err := Create(t.TempDir(), signedBy(ca, s))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func signedBy(ca *Authority, s Subject) func([]byte) ([]byte, Trust, error) {
	return func(csr []byte) ([]byte, Trust, error) {
		cert, err := ca.Sign(csr, s)
		return cert, Trust{Roots: ca.CertPEM()}, err
	}
}

// renewal signs another certificate for id, to live as long as that.
func renewal(t *testing.T, ca *Authority, id *Identity, life time.Duration) []byte {
	t.Helper()
	csr, err := id.CSR()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Sign(csr, Subject{NodeID: id.NodeID(), Life: life})
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func mustParse(t *testing.T, certPEM []byte) *x509.Certificate {
	t.Helper()
	cert, err := parseCert(certPEM)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func loopback(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// greeter runs a port over ln until the test ends. To everybody who gets in it says
// by what protocol and as which node, and hangs up.
func greeter(t *testing.T, ln net.Listener, id *Identity) {
	t.Helper()
	port := NewPort(ln, id, maxHandshakes)
	var servers sync.WaitGroup
	for _, proto := range everyProto() {
		door := port.Listener(proto)
		servers.Go(func() {
			for {
				conn, err := door.Accept()
				if err != nil {
					return
				}
				servers.Go(func() { greet(conn.(*tls.Conn), id, proto) })
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	servers.Go(func() {
		if err := port.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		servers.Wait()
	})
}

func greet(conn *tls.Conn, id *Identity, proto string) {
	defer conn.Close()
	cs := conn.ConnectionState()
	who, ok := id.PeerID(&cs)
	if !ok {
		who = "nobody"
	}
	fmt.Fprintf(conn, "%s to %s", proto, who)
}

// ask returns the greeting over a raw connection and its TLS state.
func ask(raw net.Conn, config *tls.Config) (string, tls.ConnectionState, error) {
	defer raw.Close()
	conn := tls.Client(raw, config)
	greeting, err := io.ReadAll(conn) // shakes hands first
	return string(greeting), conn.ConnectionState(), err
}

func askAt(t *testing.T, addr net.Addr, config *tls.Config) (string, error) {
	t.Helper()
	raw, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	greeting, _, err := ask(raw, config)
	return greeting, err
}

// wantErr checks that err is there and contains the words.
func wantErr(t *testing.T, err error, words string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", words)
	} else if !strings.Contains(err.Error(), words) {
		t.Errorf("error %q does not contain %q", err, words)
	}
}

// pipes is a listener without a network, for bubbles of virtual time.
type pipes struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func newPipes() *pipes {
	return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (p *pipes) dial() net.Conn {
	near, far := net.Pipe()
	p.conns <- far
	return near
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "pipe"} }

// newChain returns what a client sees of id's certificates.
func newChain(id *Identity) []*x509.Certificate {
	s := id.standing.Load()
	return append([]*x509.Certificate{s.leaf}, s.roots...)
}
