package identity

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// stock returns the config of a TLS client that knows nothing of ddocker but
// the authority's certificate.
func stock(t *testing.T, caPEM []byte, host string, protos ...string) *tls.Config {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(caPEM) {
		t.Fatal("no authority")
	}
	return &tls.Config{RootCAs: roots, ServerName: host, NextProtos: protos}
}

func TestNodesReachEachOtherByEveryProtocol(t *testing.T) {
	ca := newCluster(t)
	server, client := newNode(t, ca), newNode(t, ca)
	ln := loopback(t)
	greeter(t, ln, server)
	for _, proto := range everyProto() {
		for _, node := range []string{server.NodeID(), ""} {
			raw, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			got, cs, err := ask(raw, client.Client(proto, node))
			if want := proto + " to " + client.NodeID(); got != want || err != nil {
				t.Errorf("server said %q, want %q (%v)", got, want, err)
			}
			if id, ok := client.PeerID(&cs); !ok || id != server.NodeID() {
				t.Errorf("client took the server for %q", id)
			}
		}
	}
}

func TestInternalProtocolsAreClosedToOutsiders(t *testing.T) {
	ca := newCluster(t)
	server, foreigner := newNode(t, ca), newNode(t, newCluster(t))
	ln := loopback(t)
	greeter(t, ln, server)
	for _, proto := range everyProto() {
		t.Run(proto, func(t *testing.T) {
			anonymous := stock(t, ca.CertPEM(), nodeHost, proto)
			got, err := askAt(t, ln.Addr(), anonymous)
			if proto == ProtoHTTP {
				if got != "http/1.1 to nobody" || err != nil {
					t.Errorf("HTTP without a certificate: %q, %v", got, err)
				}
			} else if err == nil || got != "" {
				t.Errorf("without a certificate: %q, %v", got, err)
			}

			foreign := stock(t, ca.CertPEM(), nodeHost, proto)
			foreign.GetClientCertificate = foreigner.Client(proto, "").GetClientCertificate
			got, err = askAt(t, ln.Addr(), foreign)
			if proto == ProtoHTTP { // who it is must be asked: a user's certificate is foreign too
				if got != "http/1.1 to nobody" || err != nil {
					t.Errorf("HTTP with another cluster's certificate: %q, %v", got, err)
				}
			} else if err == nil || got != "" {
				t.Errorf("with another cluster's certificate: %q, %v", got, err)
			}
		})
	}
}

func TestAnInternalServerDemandsACertificateWithoutALPNToo(t *testing.T) {
	ca := newCluster(t)
	ln := tls.NewListener(loopback(t), newNode(t, ca).Server(ProtoRaft))
	defer ln.Close()
	refused := make(chan error)
	go func() {
		conn, err := ln.Accept()
		if err == nil {
			err = conn.(*tls.Conn).Handshake()
			conn.Close()
		}
		refused <- err
	}()
	if _, err := askAt(t, ln.Addr(), stock(t, ca.CertPEM(), nodeHost)); err == nil {
		t.Error("the client saw no refusal")
	}
	wantErr(t, <-refused, "nodes of the cluster only")
}

func TestClientRefusesTheWrongServer(t *testing.T) {
	ca := newCluster(t)
	server, client := newNode(t, ca), newNode(t, ca)
	ln := loopback(t)
	greeter(t, ln, server)

	_, err := askAt(t, ln.Addr(), client.Client(ProtoRPC, client.NodeID()))
	wantErr(t, err, "reached node "+server.NodeID()+" instead of node "+client.NodeID())

	_, err = askAt(t, ln.Addr(), newNode(t, newCluster(t)).Client(ProtoRPC, ""))
	wantErr(t, err, "names no node of cluster")
}

func TestClientRefusesAServerThatIgnoresTheProtocol(t *testing.T) {
	ca := newCluster(t)
	deaf := newNode(t, ca).Server(ProtoHTTP)
	deaf.NextProtos = nil
	ln := tls.NewListener(loopback(t), deaf)
	defer ln.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if conn, err := ln.Accept(); err == nil {
			conn.(*tls.Conn).Handshake()
			conn.Close()
		}
	}()
	_, err := askAt(t, ln.Addr(), newNode(t, ca).Client(ProtoRaft, ""))
	wantErr(t, err, "does not speak ddocker-raft/1")
	<-done
}

func TestOldTLSAndHTTP2AreNeverSpoken(t *testing.T) {
	ca := newCluster(t)
	ln := loopback(t)
	greeter(t, ln, newNode(t, ca))

	old := stock(t, ca.CertPEM(), nodeHost, ProtoHTTP)
	old.MaxVersion = tls.VersionTLS12
	_, err := askAt(t, ln.Addr(), old)
	wantErr(t, err, "protocol version not supported")

	_, err = askAt(t, ln.Addr(), stock(t, ca.CertPEM(), nodeHost, "h2"))
	wantErr(t, err, "no application protocol")

	for _, protos := range [][]string{{"h2", "http/1.1"}, nil} {
		got, err := askAt(t, ln.Addr(), stock(t, ca.CertPEM(), nodeHost, protos...))
		if got != "http/1.1 to nobody" || err != nil {
			t.Errorf("offering %v: %q, %v", protos, got, err)
		}
	}
}

// As docker --tlsverify does it: certificates from files, host name checked.
func TestStockClientsCheckHostNames(t *testing.T) {
	ca := newCluster(t)
	server := newNodeAs(t, ca, Subject{NodeID: NewID(), Hosts: []string{"gpu1.lan", "127.0.0.1"}, Life: time.Hour})
	client := newNode(t, ca)
	ln := loopback(t)
	greeter(t, ln, server)
	cert, err := tls.LoadX509KeyPair(filepath.Join(client.dir, "cert.pem"), filepath.Join(client.dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for host, known := range map[string]bool{"gpu1.lan": true, "127.0.0.1": true, "gpu2.lan": false, "127.0.0.2": false} {
		config := stock(t, ca.CertPEM(), host)
		config.Certificates = []tls.Certificate{cert}
		got, err := askAt(t, ln.Addr(), config)
		if known && (err != nil || got != "http/1.1 to "+client.NodeID()) {
			t.Errorf("%s: %q, %v", host, got, err)
		}
		if !known {
			wantErr(t, err, "certificate is valid for")
		}
	}
}

func TestNetHTTPServesFromAPort(t *testing.T) {
	ca := newCluster(t)
	id, client := newNode(t, ca), newNode(t, ca)
	port := NewPort(loopback(t), id, maxHandshakes)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, _ := id.PeerID(r.TLS)
		io.WriteString(w, r.Proto+" "+who)
	})}
	served := make(chan error)
	go func(ln net.Listener) { served <- server.Serve(ln) }(port.Listener(ProtoHTTP))
	run(t, port)

	transport := &http.Transport{TLSClientConfig: client.Client(ProtoHTTP, id.NodeID()), ForceAttemptHTTP2: true}
	resp, err := (&http.Client{Transport: transport}).Get("https://" + port.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if want := "HTTP/1.1 " + client.NodeID(); string(body) != want || err != nil {
		t.Errorf("got %q, want %q (%v)", body, want, err)
	}
	transport.CloseIdleConnections()
	server.Close()
	if err := <-served; err != http.ErrServerClosed {
		t.Errorf("Serve: %v", err)
	}
}

func TestStaleCertificatesAreRefusedUntilRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newCluster(t)
		server, client := newNode(t, ca), newNode(t, ca)
		ln := newPipes()
		greeter(t, ln, server)
		call := func() error {
			_, _, err := ask(ln.dial(), client.Client(ProtoRaft, server.NodeID()))
			return err
		}
		if err := call(); err != nil {
			t.Errorf("with fresh certificates: %v", err)
		}
		time.Sleep(25 * time.Hour)
		wantErr(t, call(), "certificate of the node expired at 2000-01-02T00:00:00Z")
		if err := server.Renew(renewal(t, ca, server, 24*time.Hour)); err != nil {
			t.Fatal(err)
		}
		wantErr(t, call(), "remote error: tls")
		if err := client.Renew(renewal(t, ca, client, 24*time.Hour)); err != nil {
			t.Fatal(err)
		}
		if err := call(); err != nil {
			t.Errorf("with renewed certificates on a live listener: %v", err)
		}
	})
}

func TestAResumedSessionKnowsItsPeer(t *testing.T) {
	ca := newCluster(t)
	server, client := newNode(t, ca), newNode(t, ca)
	ln := loopback(t)
	greeter(t, ln, server)
	config := client.Client(ProtoRPC, server.NodeID())
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for _, resumed := range []bool{false, true} {
		raw, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		got, cs, err := ask(raw, config)
		if want := "ddocker-rpc/1 to " + client.NodeID(); got != want || cs.DidResume != resumed || err != nil {
			t.Errorf("%q, resumed %v, want %v (%v)", got, cs.DidResume, resumed, err)
		}
	}
}

func TestPeerIDIsFalseForStrangers(t *testing.T) {
	ca, other := newCluster(t), newCluster(t)
	id, node, strange := newNode(t, ca), newNode(t, ca), newNode(t, other)
	forged := newNodeAs(t, other, Subject{NodeID: node.NodeID(), Life: time.Hour})
	for name, cs := range map[string]*tls.ConnectionState{
		"no TLS":                 nil,
		"no certificate":         {},
		"another cluster's node": {PeerCertificates: newChain(strange)},
		"an authority":           {PeerCertificates: []*x509.Certificate{ca.cert}},
		"another's signature":    {PeerCertificates: append(newChain(forged), ca.cert)},
	} {
		if got, ok := id.PeerID(cs); ok {
			t.Errorf("%s: PeerID is %q, %v", name, got, ok)
		}
	}
	cs := &tls.ConnectionState{PeerCertificates: newChain(node)}
	if got, ok := id.PeerID(cs); !ok || got != node.NodeID() {
		t.Errorf("a node is taken for %q, %v", got, ok)
	}
	if key, ok := PeerKey(cs); !ok || key != node.Key() || key == id.Key() {
		t.Errorf("a node's key is taken for %q, %v", key, ok)
	}
}
