package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// The protocols on the one TCP port, as TLS names them (ALPN). HTTP/2 is never
// offered: Docker clients take over the connection for attach and exec.
const (
	ProtoRaft   = "ddocker-raft/1"   // between voters
	ProtoGossip = "ddocker-gossip/1" // gossip's streams
	ProtoRPC    = "ddocker-rpc/1"    // between nodes
	ProtoHTTP   = "http/1.1"         // for everybody; also when a client names no protocol
)

// Server returns a config to serve protos, one or more of the Proto constants,
// over TLS 1.3. Over ProtoHTTP a client may show a certificate, which then has
// to be of this cluster; the handler decides what to do without ([PeerID]).
// All other protocols are closed to all but nodes of this cluster.
func (i *Identity) Server(protos ...string) *tls.Config {
	open := slices.Contains(protos, ProtoHTTP)
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: slices.Clone(protos),
		ClientAuth: tls.VerifyClientCertIfGiven,
		ClientCAs:  pool(i.ca),
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return i.cert.Load(), nil
		},
		// Called for resumed sessions as well, unlike VerifyPeerCertificate.
		VerifyConnection: func(cs tls.ConnectionState) error {
			proto := cs.NegotiatedProtocol
			if _, ok := PeerID(&cs); ok || open && (proto == ProtoHTTP || proto == "") {
				return nil
			}
			return fmt.Errorf("protocol %q is for nodes of the cluster only", proto)
		},
	}
}

// Client returns a config to speak proto, one of the Proto constants, with the
// node of that id, or with any node of this cluster if nodeID is "". The host
// name dialled does not matter. Each call of Client returns a new config.
//
// With TLS 1.3 a client's handshake ends before the server has judged the
// client's certificate: a refusal shows at the first read.
func (i *Identity) Client(proto, nodeID string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{proto},
		RootCAs:    pool(i.ca),
		ServerName: nodeHost,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return i.cert.Load(), nil
		},
		VerifyConnection: func(cs tls.ConnectionState) error {
			return checkServer(&cs, proto, nodeID)
		},
	}
}

func checkServer(cs *tls.ConnectionState, proto, want string) error {
	got, ok := PeerID(cs)
	switch {
	case !ok:
		return errors.New("server is no node of this cluster")
	case want != "" && got != want:
		return fmt.Errorf("reached node %s instead of node %s", got, want)
	case cs.NegotiatedProtocol != proto:
		return fmt.Errorf("node %s does not speak %s", got, proto)
	}
	return nil
}

// checkDates tells a certificate out of its dates in words that point at the
// likeliest reason: the clocks of two machines differ.
func checkDates(host string, cert *x509.Certificate, now time.Time) error {
	const sentence = "certificate of %s %s %s, but the clock of this machine says %s: do the clocks differ?"
	say := func(verb string, t time.Time) error {
		return fmt.Errorf(sentence, host, verb, t.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	switch {
	case now.Before(cert.NotBefore):
		return say("is not valid before", cert.NotBefore)
	case now.After(cert.NotAfter):
		return say("expired at", cert.NotAfter)
	}
	return nil
}

func pool(ca *x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(ca)
	return p
}
