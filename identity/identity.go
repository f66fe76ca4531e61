package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// Identity is this node's certificate, its key and the cluster's authority. It
// is safe for concurrent use. [Identity.Renew] replaces the certificate, and
// every config made from the identity uses the new one from the next handshake.
type Identity struct {
	dir     string
	ca      *x509.Certificate
	key     *ecdsa.PrivateKey
	node    string
	cluster string
	cert    atomic.Pointer[tls.Certificate]
}

// Load reads the identity that [Create] saved in dir. The error wraps
// [fs.ErrNotExist] if there is none. An expired certificate loads: the node has
// to know who it is to ask for another.
func Load(dir string) (*Identity, error) {
	cert, err := os.ReadFile(filepath.Join(dir, certFile))
	if err != nil {
		return nil, fmt.Errorf("load identity: %w", err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, caFile))
	if err != nil {
		return nil, fmt.Errorf("load identity: %w", err)
	}
	keyText, err := os.ReadFile(filepath.Join(dir, keyFile))
	if err != nil {
		return nil, fmt.Errorf("load identity: %w", err)
	}
	key, err := parseKey(keyText)
	if err != nil {
		return nil, fmt.Errorf("load identity: %s: %w", keyFile, err)
	}
	id, err := newIdentity(dir, cert, ca, key)
	if err != nil {
		return nil, fmt.Errorf("load identity from %s: %w", dir, err)
	}
	return id, nil
}

// Create makes a key, has issue turn a certificate request (DER) for it into a
// certificate (PEM) with the authority that signed it (PEM), and saves all three in dir,
// readable for the owner alone. Create trusts that authority: issue must have
// it from this machine or over a connection made with [Token.Client]. Create
// blocks as long as issue does. The error wraps [fs.ErrExist] if dir already
// holds an identity; after any failure Load finds none.
func Create(dir string, issue func(csrDER []byte) (certPEM, caPEM []byte, err error)) (*Identity, error) {
	if _, err := os.Lstat(filepath.Join(dir, certFile)); err == nil {
		return nil, fmt.Errorf("create identity in %s: %w", dir, fs.ErrExist)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("create identity: %w", err)
	}
	csr, err := request(key)
	if err != nil {
		return nil, fmt.Errorf("create identity: %w", err)
	}
	cert, ca, err := issue(csr)
	if err != nil {
		return nil, fmt.Errorf("create identity: %w", err)
	}
	id, err := newIdentity(dir, cert, ca, key)
	if err != nil {
		return nil, fmt.Errorf("create identity: %w", err)
	}
	if err := id.save(); err != nil {
		return nil, fmt.Errorf("create identity: %w", err)
	}
	return id, nil
}

// newIdentity fits the parts together without looking at the clock.
func newIdentity(dir string, certPEM, caPEM []byte, key *ecdsa.PrivateKey) (*Identity, error) {
	ca, err := parseCert(caPEM)
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	i := &Identity{dir: dir, ca: ca, key: key}
	if i.cluster, err = clusterOf(ca); err != nil {
		return nil, err
	}
	cert, node, err := i.fit(certPEM)
	if err != nil {
		return nil, err
	}
	i.node = node
	i.cert.Store(cert)
	return i, nil
}

// fit checks that a certificate is for this key and signed by this authority,
// and returns it ready for TLS with the node it names.
func (i *Identity) fit(certPEM []byte) (cert *tls.Certificate, node string, err error) {
	leaf, err := parseCert(certPEM)
	if err != nil {
		return nil, "", err
	}
	if err := leaf.CheckSignatureFrom(i.ca); err != nil {
		return nil, "", fmt.Errorf("certificate is not signed by the authority of cluster %s: %w", i.cluster, err)
	}
	if !i.key.PublicKey.Equal(leaf.PublicKey) {
		return nil, "", errors.New("certificate is for another key")
	}
	if node, err = nodeOf(leaf, i.ca); err != nil {
		return nil, "", err
	}
	// The authority goes along so that a joiner, who knows only its digest, sees it.
	chain := [][]byte{leaf.Raw, i.ca.Raw}
	return &tls.Certificate{Certificate: chain, PrivateKey: i.key, Leaf: leaf}, node, nil
}

// Renew puts certPEM in the place of the present certificate, on disk and then
// in every config made from this identity; established connections stay. It
// must be for the same node, key and cluster, and valid by this machine's
// clock; otherwise nothing changes. Call it from one goroutine.
func (i *Identity) Renew(certPEM []byte) error {
	cert, node, err := i.fit(certPEM)
	if err != nil {
		return fmt.Errorf("renew certificate: %w", err)
	}
	if node != i.node {
		return fmt.Errorf("renew certificate: it is for node %s, this is node %s", node, i.node)
	}
	if err := checkDates("this node", cert.Leaf, time.Now()); err != nil {
		return fmt.Errorf("renew certificate: %w", err)
	}
	if err := writeFile(i.dir, certFile, encodeCert(cert.Leaf.Raw)); err != nil {
		return fmt.Errorf("renew certificate: %w", err)
	}
	i.cert.Store(cert)
	return nil
}

// CSR returns a certificate request (DER) for this node's key, to be signed by
// [Authority.Sign] and given to Renew.
func (i *Identity) CSR() ([]byte, error) { return request(i.key) }

// NodeID returns this node's id.
func (i *Identity) NodeID() string { return i.node }

// Cluster returns the id of this node's cluster.
func (i *Identity) Cluster() string { return i.cluster }

// CAPEM returns the certificate of the cluster's authority.
func (i *Identity) CAPEM() []byte { return encodeCert(i.ca.Raw) }

// NotBefore returns when the present certificate began to be valid.
func (i *Identity) NotBefore() time.Time { return i.cert.Load().Leaf.NotBefore }

// NotAfter returns when the present certificate expires.
func (i *Identity) NotAfter() time.Time { return i.cert.Load().Leaf.NotAfter }

// request returns a certificate request that says nothing but the key.
func request(key *ecdsa.PrivateKey) ([]byte, error) {
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("make certificate request: %w", err)
	}
	return csr, nil
}
