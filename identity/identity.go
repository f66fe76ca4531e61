package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Identity is this node's certificate, its key and the authorities that it
// trusts. It is safe for concurrent use. [Identity.Renew] replaces the certificate
// and [Identity.SetTrust] the authorities, and every config made from the identity
// uses the new ones from the next handshake.
type Identity struct {
	dir     string
	key     *ecdsa.PrivateKey
	node    string
	cluster string
	refuse  atomic.Pointer[func(nodeID, key string) error]

	change   sync.Mutex // held by whoever replaces standing
	standing atomic.Pointer[standing]
}

// standing is what an identity shows and whom it believes at one moment.
type standing struct {
	leaf     *x509.Certificate
	roots    []*x509.Certificate // trusted
	links    []*x509.Certificate // shown to those who trust older authorities
	pool     *x509.CertPool      // of the roots
	trust    Trust               // roots and links as text
	shown    *tls.Certificate
	fresh    bool // the first of the roots signed the leaf
	believed beliefs
}

// stand fits the parts together. Whoever is shown a chain may know but one of the
// authorities in it, or only the digest of one: all go along.
func stand(leaf *x509.Certificate, key *ecdsa.PrivateKey, roots, links []*x509.Certificate) *standing {
	s := &standing{leaf: leaf, roots: roots, links: links, pool: pool(roots...)}
	s.trust = Trust{encodeCerts(roots), encodeCerts(links)}
	s.fresh = leaf.CheckSignatureFrom(roots[0]) == nil
	chain := [][]byte{leaf.Raw}
	for _, c := range slices.Concat(links, roots) {
		chain = append(chain, c.Raw)
	}
	s.shown = &tls.Certificate{Certificate: chain, PrivateKey: key, Leaf: leaf}
	return s
}

// Load reads the identity that [Create] saved in dir. The error wraps
// [fs.ErrNotExist] if there is none. An expired certificate loads: the node has
// to know who it is to ask for another.
func Load(dir string) (*Identity, error) {
	cert, err := os.ReadFile(filepath.Join(dir, certFile))
	if err != nil {
		return nil, fmt.Errorf("load identity: %w", err)
	}
	t, err := loadTrust(dir)
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
	id, err := newIdentity(dir, cert, t, key)
	if err != nil {
		return nil, fmt.Errorf("load identity from %s: %w", dir, err)
	}
	return id, nil
}

// Create makes a key, has issue turn a certificate request (DER) for it into a
// certificate (PEM) with the authorities to trust, and saves all of it in dir,
// readable for the owner alone. Create trusts those authorities: issue must have
// them from this machine or over a connection made with [Token.Client]. Create
// blocks as long as issue does. The error wraps [fs.ErrExist] if dir already
// holds an identity; after any failure Load finds none.
func Create(dir string, issue func(csrDER []byte) (certPEM []byte, t Trust, err error)) (*Identity, error) {
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
	cert, t, err := issue(csr)
	if err != nil {
		return nil, fmt.Errorf("create identity: %w", err)
	}
	id, err := newIdentity(dir, cert, t, key)
	if err == nil {
		err = id.signed(id.standing.Load())
	}
	if err != nil {
		return nil, fmt.Errorf("create identity: %w", err)
	}
	if err := id.save(); err != nil {
		return nil, fmt.Errorf("create identity: %w", err)
	}
	return id, nil
}

// newIdentity fits the parts together without looking at the clock, nor at who
// signed the certificate: its authority may have been retired meanwhile.
func newIdentity(dir string, certPEM []byte, t Trust, key *ecdsa.PrivateKey) (*Identity, error) {
	roots, links, err := t.parse()
	if err != nil {
		return nil, err
	}
	i := &Identity{dir: dir, key: key}
	if i.cluster, err = clusterOf(roots[0]); err != nil {
		return nil, err
	}
	leaf, err := parseCert(certPEM)
	if err != nil {
		return nil, err
	}
	if i.node, err = i.named(leaf); err != nil {
		return nil, err
	}
	i.standing.Store(stand(leaf, key, roots, links))
	return i, nil
}

// named returns the node that a certificate for this key names.
func (i *Identity) named(leaf *x509.Certificate) (node string, err error) {
	if !i.key.PublicKey.Equal(leaf.PublicKey) {
		return "", errors.New("certificate is for another key")
	}
	return nodeOf(leaf, i.cluster)
}

// signed checks that the certificate comes from an authority that is trusted.
func (i *Identity) signed(s *standing) error {
	for _, root := range s.roots {
		if s.leaf.CheckSignatureFrom(root) == nil {
			return nil
		}
	}
	return fmt.Errorf("certificate is not signed by the authority of cluster %s", i.cluster)
}

// Renew puts certPEM in the place of the present certificate, on disk and then
// in every config made from this identity; established connections stay. It
// must be for the same node, key and cluster, and valid by this machine's
// clock; otherwise nothing changes.
func (i *Identity) Renew(certPEM []byte) error {
	i.change.Lock()
	defer i.change.Unlock()
	if err := i.renew(certPEM); err != nil {
		return fmt.Errorf("renew certificate: %w", err)
	}
	return nil
}

func (i *Identity) renew(certPEM []byte) error {
	leaf, err := parseCert(certPEM)
	if err != nil {
		return err
	}
	node, err := i.named(leaf)
	if err != nil {
		return err
	}
	if node != i.node {
		return fmt.Errorf("it is for node %s, this is node %s", node, i.node)
	}
	was := i.standing.Load()
	now := stand(leaf, i.key, was.roots, was.links)
	if err := i.signed(now); err != nil {
		return err
	}
	if err := checkDates("this node", leaf, time.Now()); err != nil {
		return err
	}
	if err := writeFile(i.dir, certFile, encodeCert(leaf.Raw)); err != nil {
		return err
	}
	i.standing.Store(now)
	return nil
}

// CSR returns a certificate request (DER) for this node's key, to be signed by
// [Authority.Sign] and given to Renew.
func (i *Identity) CSR() ([]byte, error) { return request(i.key) }

// NodeID returns this node's id.
func (i *Identity) NodeID() string { return i.node }

// Cluster returns the id of this node's cluster.
func (i *Identity) Cluster() string { return i.cluster }

// Key returns the hash of this node's public key, as [PeerKey] does of another's.
func (i *Identity) Key() string { return hashKey(i.standing.Load().leaf) }

// Fresh says whether the present certificate is of the authority that signs: the
// first of those that are trusted.
func (i *Identity) Fresh() bool { return i.standing.Load().fresh }

// Names says whether the present certificate has this host name or IP address.
func (i *Identity) Names(host string) bool { return i.standing.Load().leaf.VerifyHostname(host) == nil }

// NotBefore returns when the present certificate began to be valid.
func (i *Identity) NotBefore() time.Time { return i.standing.Load().leaf.NotBefore }

// NotAfter returns when the present certificate expires.
func (i *Identity) NotAfter() time.Time { return i.standing.Load().leaf.NotAfter }

// RenewAt returns when the present certificate is to be renewed: at a point
// between half and four fifths of its life that is its own, so that the nodes of
// a cluster do not ask all at once.
func (i *Identity) RenewAt() time.Time {
	leaf := i.standing.Load().leaf
	sum := sha256.Sum256(leaf.Raw)
	part := time.Duration(500 + int(binary.BigEndian.Uint16(sum[:]))%301) // thousandths
	issued := leaf.NotBefore.Add(clockSkew)
	return issued.Add(leaf.NotAfter.Sub(issued) / 1000 * part)
}

// request returns a certificate request that says nothing but the key.
func request(key *ecdsa.PrivateKey) ([]byte, error) {
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("make certificate request: %w", err)
	}
	return csr, nil
}
