package identity

import (
	"crypto/tls"
	"crypto/x509"
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
// over TLS 1.3. Over ProtoHTTP a client may show any certificate, or none: the
// handler asks [Identity.PeerID] and [PeerKey] who it is. All other protocols are
// closed to all but nodes of this cluster.
func (i *Identity) Server(protos ...string) *tls.Config {
	open := slices.Contains(protos, ProtoHTTP)
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: slices.Clone(protos),
		// Authorities come and go, and users' certificates have none: see VerifyConnection.
		ClientAuth: tls.RequestClientCert,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return i.standing.Load().shown, nil
		},
		// Called for resumed sessions as well, unlike VerifyPeerCertificate.
		VerifyConnection: func(cs tls.ConnectionState) error {
			proto := cs.NegotiatedProtocol
			if open && (proto == ProtoHTTP || proto == "") {
				return nil
			}
			if _, err := i.peer("the node", cs.PeerCertificates); err != nil {
				return fmt.Errorf("protocol %q is for nodes of the cluster only: %w", proto, err)
			}
			return nil
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
		MinVersion:         tls.VersionTLS13,
		NextProtos:         []string{proto},
		ServerName:         nodeHost,
		InsecureSkipVerify: true, // VerifyConnection does it: authorities come and go
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return i.standing.Load().shown, nil
		},
		VerifyConnection: func(cs tls.ConnectionState) error { return i.checkServer(&cs, proto, nodeID) },
	}
}

func (i *Identity) checkServer(cs *tls.ConnectionState, proto, want string) error {
	got, err := i.peer("the node", cs.PeerCertificates)
	switch {
	case err != nil:
		return err
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
