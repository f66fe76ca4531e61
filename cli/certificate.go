package cli

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// agentCertificates is where an agent keeps its own certificate.
const agentCertificates = "/var/lib/ddocker/tls"

// certificateError is a client certificate that cannot be used, or a server's
// that is not to be trusted.
type certificateError struct{ err error }

// Error says what the cause says.
func (e *certificateError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *certificateError) Unwrap() error { return e.err }

// clientTLS reads the user's certificate for speaking to agents over TCP.
func (a *app) clientTLS() (*tls.Config, error) {
	dir := a.certificates()
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return nil, &certificateError{fmt.Errorf("it asks for a client certificate: put ca.pem, cert.pem and key.pem "+
			"into ~/.ddocker, or their directory's name into DOCKER_CERT_PATH (%w)", err)}
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		return nil, &certificateError{fmt.Errorf("read the client certificate in %s: %w", dir, err)}
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, &certificateError{fmt.Errorf("%s holds no certificate", filepath.Join(dir, "ca.pem"))}
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		Certificates:       []tls.Certificate{pair},
		NextProtos:         []string{"http/1.1"},
		InsecureSkipVerify: true, // an agent has no host name of its own: verifyNode checks what it is instead
		VerifyConnection:   func(state tls.ConnectionState) error { return verifyNode(state, roots) },
	}, nil
}

// certificates is the directory to take ca.pem, cert.pem and key.pem from.
func (a *app) certificates() string {
	if dir := firstOf(a.tried, a.Getenv("DOCKER_CERT_PATH")); dir != "" {
		return dir
	}
	own := a.ownDir()
	if _, err := os.Stat(filepath.Join(own, "cert.pem")); err == nil {
		return own
	}
	if _, err := os.Stat(agentCertificates); err == nil {
		return agentCertificates
	}
	return own
}

// verifyNode demands a certificate of the user's cluster that names a node,
// whatever host it was reached at.
func verifyNode(state tls.ConnectionState, roots *x509.CertPool) error {
	intermediates := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		intermediates.AddCert(c)
	}
	leaf := state.PeerCertificates[0]
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates}); err != nil {
		return &certificateError{fmt.Errorf("it is not of the cluster that your ca.pem names: %w", err)}
	}
	for _, uri := range leaf.URIs {
		if uri.Scheme == "ddocker" && strings.HasPrefix(uri.Path, "/node/") {
			return nil
		}
	}
	return &certificateError{errors.New("its certificate does not name a node")}
}
