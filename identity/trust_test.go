package identity

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// succession is a chain of authorities of one cluster, and what nodes show of it.
type succession struct {
	list  []*Authority
	links []byte
}

func newSuccession(t *testing.T, n int) *succession {
	t.Helper()
	s := &succession{list: []*Authority{newCluster(t)}}
	for range n {
		s.rotate(t)
	}
	return s
}

func (s *succession) last() *Authority { return s.list[len(s.list)-1] }

func (s *succession) rotate(t *testing.T) {
	t.Helper()
	was := s.last()
	next, err := was.Successor()
	if err != nil {
		t.Fatal(err)
	}
	link, err := was.Vouch(next)
	if err != nil {
		t.Fatal(err)
	}
	s.list = append(s.list, next)
	s.links = append(append(s.links, link...), was.CertPEM()...)
}

func (s *succession) trust() Trust { return Trust{Roots: s.last().CertPEM(), Links: s.links} }

// node makes one that trusts the last authority alone, which has signed it.
func (s *succession) node(t *testing.T) *Identity {
	t.Helper()
	id, err := Create(t.TempDir(), func(csr []byte) ([]byte, Trust, error) {
		cert, err := s.last().Sign(csr, Subject{NodeID: NewID(), Hosts: []string{"gpu1.lan"}, Life: 24 * time.Hour})
		return cert, s.trust(), err
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestWhoKnowsOnlyAnOlderAuthorityBelievesItsSuccessors(t *testing.T) {
	s := newSuccession(t, 0)
	token, absent := newToken(t, s.last()), newNode(t, s.last())
	old := s.last().CertPEM()
	for range 3 {
		s.rotate(t)
		ln := loopback(t)
		server := s.node(t)
		greeter(t, ln, server)
		if got, err := askAt(t, ln.Addr(), token.Client()); got != "http/1.1 to nobody" || err != nil {
			t.Errorf("a token of before, after %d successors: %q, %v", len(s.list)-1, got, err)
		}
		if got, err := askAt(t, ln.Addr(), stock(t, old, "gpu1.lan")); got != "http/1.1 to nobody" || err != nil {
			t.Errorf("a stock client, after %d successors: %q, %v", len(s.list)-1, got, err)
		}
		got, err := askAt(t, ln.Addr(), absent.Client(ProtoHTTP, server.NodeID()))
		if got != "http/1.1 to nobody" || err != nil {
			t.Errorf("a node that was away, after %d successors: %q, %v", len(s.list)-1, got, err)
		}
		_, err = askAt(t, ln.Addr(), absent.Client(ProtoRPC, ""))
		wantErr(t, err, "remote error: tls")
	}
}

// The first authorities said of themselves that they sign no other.
func TestAnAuthorityThatWasToSignNoOtherIsSucceededAllTheSame(t *testing.T) {
	old := newCluster(t)
	template := rootTemplate(old.cluster, old.cert.Subject, time.Now())
	template.MaxPathLenZero = true
	der, err := x509.CreateCertificate(rand.Reader, template, template, old.key.Public(), old.key)
	if err != nil {
		t.Fatal(err)
	}
	if old, err = newAuthority(der, old.key); err != nil {
		t.Fatal(err)
	}
	s := &succession{list: []*Authority{old}}
	token, absent := newToken(t, old), newNode(t, old)
	s.rotate(t)
	ln := loopback(t)
	greeter(t, ln, s.node(t))
	for who, config := range map[string]*tls.Config{"a token": token.Client(), "a node": absent.Client(ProtoHTTP, "")} {
		if got, err := askAt(t, ln.Addr(), config); got != "http/1.1 to nobody" || err != nil {
			t.Errorf("%s of before: %q, %v", who, got, err)
		}
	}
}

func TestARetiredAuthorityIsBelievedNoMore(t *testing.T) {
	s := newSuccession(t, 0)
	retired := s.last()
	straggler := newNode(t, retired)
	s.rotate(t)
	server := s.node(t)
	ln := loopback(t)
	greeter(t, ln, server)
	call := func() error {
		_, err := askAt(t, ln.Addr(), straggler.Client(ProtoRPC, ""))
		return err
	}
	wantErr(t, call(), "remote error: tls")

	both := Trust{Roots: append(s.last().CertPEM(), retired.CertPEM()...), Links: s.links}
	if err := server.SetTrust(both); err != nil {
		t.Fatal(err)
	}
	if err := call(); err != nil {
		t.Errorf("while both are trusted: %v", err)
	}
	wantErr(t, straggler.Renew(renewal(t, s.last(), straggler, time.Hour)), "not signed by the authority")
	if err := straggler.SetTrust(s.trust()); err != nil {
		t.Fatal(err)
	}
	if err := straggler.Renew(renewal(t, s.last(), straggler, time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := server.SetTrust(s.trust()); err != nil {
		t.Fatal(err)
	}
	if err := call(); err != nil {
		t.Errorf("with a certificate of the successor: %v", err)
	}
}

func TestTrustIsSavedAndKeptToOneCluster(t *testing.T) {
	s := newSuccession(t, 1)
	id := newNode(t, s.list[0])
	before := id.Trust()
	if !id.Fresh() {
		t.Error("the certificate is taken for another authority's")
	}
	other := newCluster(t)
	for name, c := range map[string]struct {
		trust Trust
		say   string
	}{
		"nobody":               {Trust{}, "no PEM certificate"},
		"another cluster":      {Trust{Roots: other.CertPEM()}, "this node is of"},
		"another one too":      {Trust{Roots: append(s.last().CertPEM(), other.CertPEM()...)}, "authorities of two clusters"},
		"another's link":       {Trust{Roots: s.last().CertPEM(), Links: other.CertPEM()}, "authorities of two clusters"},
		"a node's certificate": {Trust{Roots: renewal(t, s.last(), id, time.Hour)}, "not the authority"},
		"what is no PEM":       {Trust{Roots: []byte("hello")}, "no PEM certificate"},
	} {
		wantErr(t, id.SetTrust(c.trust), c.say)
		if read, err := Load(id.dir); err != nil || !read.Trust().Equal(before) || !id.Trust().Equal(before) {
			t.Errorf("%s: something changed (%v)", name, err)
		}
	}
	if err := id.SetTrust(s.trust()); err != nil {
		t.Fatal(err)
	}
	read, err := Load(id.dir) // though its certificate is of the authority retired
	if err != nil || !read.Trust().Equal(s.trust()) {
		t.Errorf("loaded another trust (%v)", err)
	}
	if read.Fresh() {
		t.Error("the certificate is taken for another authority's")
	}
	if err := id.SetTrust(Trust{Roots: s.last().CertPEM()}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(id.dir, linksFile)); err == nil {
		t.Error("links that are shown no more are still there")
	}
}

func TestWhoIsRefusedIsRefusedAtOnceAndCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newCluster(t)
		server, evil, good := newNode(t, ca), newNode(t, ca), newNode(t, ca)
		ln := newPipes()
		port := NewPort(ln, server, maxHandshakes)
		door := port.Listener(ProtoRPC)
		run(t, port)
		open := func(id *Identity) *tls.Conn {
			c := tls.Client(ln.dial(), id.Client(ProtoRPC, ""))
			go c.Write([]byte("x"))
			far, err := door.Accept()
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				io.Copy(io.Discard, far)
				far.Close()
			}()
			return c
		}
		bad, fine := open(evil), open(good)
		server.Refuse(func(id, _ string) error {
			if id == evil.NodeID() {
				return errors.New("it was removed")
			}
			return nil
		})
		port.Cut(func(p Peer) bool {
			if p.Node != evil.NodeID() && p.Node != good.NodeID() || p.Key != evil.Key() && p.Key != good.Key() {
				t.Errorf("a peer is %v", p)
			}
			return p.Node == evil.NodeID()
		})
		if _, err := bad.Read(make([]byte, 1)); err == nil {
			t.Error("the connection of a refused node is still open")
		}
		if _, err := fine.Write([]byte("y")); err != nil {
			t.Errorf("another's connection is closed: %v", err)
		}
		fine.Close()
		synctest.Wait()
		port.mu.Lock()
		if len(port.guests) > 0 {
			t.Errorf("%d closed connections are remembered", len(port.guests))
		}
		port.mu.Unlock()

		_, _, err := ask(ln.dial(), evil.Client(ProtoRPC, ""))
		wantErr(t, err, "remote error: tls")
		wantErr(t, server.checkServer(&tls.ConnectionState{PeerCertificates: newChain(evil)}, "", ""), "it was removed")
	})
}

func TestCertificatesAreRenewedBetweenHalfAndFourFifthsOfTheirLife(t *testing.T) {
	ca := newCluster(t)
	seen := map[time.Duration]bool{}
	for range 20 {
		id := newNode(t, ca)
		at, life := time.Until(id.RenewAt()), time.Until(id.NotAfter())
		if at < life/2-time.Minute || at > life*8/10+time.Minute {
			t.Errorf("renewed after %v of %v", at, life)
		}
		seen[at.Truncate(time.Minute)] = true
	}
	if len(seen) < 5 {
		t.Errorf("20 nodes renew at %d moments", len(seen))
	}
}

// A compromised node could answer with an authority of its own making.
func TestAuthoritiesAreProvedByThoseThatAreTrusted(t *testing.T) {
	ca := newCluster(t)
	node := newNode(t, ca)
	succeed := func(from *Authority) (*Authority, []byte) {
		next, err := from.Successor()
		if err != nil {
			t.Fatal(err)
		}
		link, err := from.Vouch(next)
		if err != nil {
			t.Fatal(err)
		}
		return next, link
	}
	second, link := succeed(ca)
	third, later := succeed(second)
	evil, err := NewAuthority(node.Cluster())
	if err != nil {
		t.Fatal(err)
	}
	worse, forged := succeed(evil)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for name, c := range map[string]struct {
		trust  Trust
		proved bool
	}{
		"those that it has":                    {Trust{Roots: ca.CertPEM()}, true},
		"its successor":                        {Trust{second.CertPEM(), join(link, ca.CertPEM())}, true},
		"both":                                 {Trust{Roots: join(second.CertPEM(), ca.CertPEM()), Links: link}, true},
		"the successor's, with all links":      {Trust{third.CertPEM(), join(later, second.CertPEM(), link, ca.CertPEM())}, true},
		"the successor's, with a link missing": {Trust{third.CertPEM(), join(later, second.CertPEM(), ca.CertPEM())}, false},
		"a successor that nobody vouches for":  {Trust{Roots: second.CertPEM()}, false},
		"another":                              {Trust{Roots: evil.CertPEM()}, false},
		"another beside its own":               {Trust{Roots: join(ca.CertPEM(), evil.CertPEM())}, false},
		"another that vouches for itself":      {Trust{evil.CertPEM(), evil.CertPEM()}, false},
		"another's successor":                  {Trust{worse.CertPEM(), join(forged, evil.CertPEM(), ca.CertPEM())}, false},
		"none":                                 {Trust{}, false},
	} {
		if got := node.Proves(c.trust); got != c.proved {
			t.Errorf("%s: %v", name, got)
		}
	}
}
