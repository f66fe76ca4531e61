package identity

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// maxAuthorities is how many certificates a Trust may hold in each of its parts.
const maxAuthorities = 16

// Trust is whom a node believes, each part one or more PEM certificates.
type Trust struct {
	// Roots are the authorities whose nodes are believed; new tokens name the first.
	Roots []byte
	// Links are shown together with the node's own certificate to those who know
	// only an authority of before: successors signed by their predecessors
	// ([Authority.Vouch]), and the predecessors. None of them is believed.
	Links []byte `json:",omitempty"`
}

func (t Trust) parse() (roots, links []*x509.Certificate, err error) {
	if roots, err = parseAuthorities(t.Roots); err != nil {
		return nil, nil, fmt.Errorf("authority: %w", err)
	}
	if len(roots) == 0 {
		return nil, nil, errors.New("authority: no PEM certificate found")
	}
	if links, err = parseAuthorities(t.Links); err != nil {
		return nil, nil, fmt.Errorf("authority of before: %w", err)
	}
	cluster, err := clusterOf(roots[0])
	for _, c := range append(roots[1:len(roots):len(roots)], links...) {
		var other string
		if other, err = clusterOf(c); err == nil && other != cluster {
			err = fmt.Errorf("authorities of two clusters, %s and %s", cluster, other)
		}
		if err != nil {
			break
		}
	}
	return roots, links, err
}

func parseAuthorities(text []byte) (list []*x509.Certificate, err error) {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return list, nil
		}
		cert, err := parseCert(text)
		if err != nil {
			return nil, err
		}
		// The first authorities of clusters said that they sign no other authority;
		// their successors are signed by them all the same.
		cert.MaxPathLen, cert.MaxPathLenZero = -1, false
		if list = append(list, cert); len(list) > maxAuthorities {
			return nil, fmt.Errorf("more than %d certificates", maxAuthorities)
		}
		text = rest
	}
}

// Trust returns whom this node believes. The text is not the caller's to change.
func (i *Identity) Trust() Trust { return i.standing.Load().trust }

// SetTrust replaces whom this node believes, on disk and then from the next
// handshake on; established connections stay. All must be of this node's cluster.
func (i *Identity) SetTrust(t Trust) error {
	i.change.Lock()
	defer i.change.Unlock()
	roots, links, err := t.parse()
	if err != nil {
		return fmt.Errorf("change authorities: %w", err)
	}
	if cluster, _ := clusterOf(roots[0]); cluster != i.cluster {
		return fmt.Errorf("change authorities: they are of cluster %s, this node is of %s", cluster, i.cluster)
	}
	now := stand(i.standing.Load().leaf, i.key, roots, links)
	if err := saveTrust(i.dir, now.trust); err != nil {
		return fmt.Errorf("change authorities: %w", err)
	}
	i.standing.Store(now)
	return nil
}

// Proves says whether every authority of t is trusted here already, or vouched for by
// those that are, by the links of t.
func (i *Identity) Proves(t Trust) bool {
	roots, links, err := t.parse()
	if err != nil {
		return false
	}
	known, _, err := i.Trust().parse()
	if err != nil {
		return false
	}
	for grown := true; grown; {
		grown = false
		for at, link := range links {
			if slices.ContainsFunc(known, func(by *x509.Certificate) bool { return link.CheckSignatureFrom(by) == nil }) {
				known, links, grown = append(known, link), slices.Delete(slices.Clone(links), at, at+1), true
				break
			}
		}
	}
	for _, root := range roots {
		if !slices.ContainsFunc(known, func(c *x509.Certificate) bool {
			return bytes.Equal(c.RawSubjectPublicKeyInfo, root.RawSubjectPublicKeyInfo)
		}) {
			return false
		}
	}
	return true
}

// Equal says whether both have the same certificates in the same order.
func (t Trust) Equal(o Trust) bool {
	return bytes.Equal(t.Roots, o.Roots) && bytes.Equal(t.Links, o.Links)
}

func loadTrust(dir string) (t Trust, err error) {
	if t.Roots, err = os.ReadFile(filepath.Join(dir, caFile)); err != nil {
		return t, err
	}
	if t.Links, err = os.ReadFile(filepath.Join(dir, linksFile)); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return t, err
}

// saveTrust writes the links first: without them a node only convinces fewer.
func saveTrust(dir string, t Trust) error {
	if len(t.Links) > 0 {
		if err := writeFile(dir, linksFile, t.Links); err != nil {
			return err
		}
	} else if err := os.Remove(filepath.Join(dir, linksFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return writeFile(dir, caFile, t.Roots)
}

// Refuse has every handshake of this identity fail with nodes of which the function
// returns an error, however good their certificates are; nil refuses nobody. The
// function is called by many at a time and must not block.
// It is given the node's ID and the SHA-256 of its key, as of [PeerKey].
func (i *Identity) Refuse(why func(nodeID, key string) error) { i.refuse.Store(&why) }

// PeerID returns the id of the node at the other end of a connection made with
// [Identity.Server] or [Identity.Client]. It is false for a peer that showed no
// certificate, or one that is no node's of this cluster, or of a node that is
// refused; also once the certificate has expired.
func (i *Identity) PeerID(cs *tls.ConnectionState) (nodeID string, ok bool) {
	if cs == nil {
		return "", false
	}
	nodeID, err := i.peer("the node", cs.PeerCertificates)
	if err != nil {
		return "", false
	}
	return nodeID, true
}

// peer returns whose these certificates are, leaf first, as a peer has shown them
// that holds the leaf's key.
func (i *Identity) peer(host string, certs []*x509.Certificate) (nodeID string, err error) {
	if len(certs) == 0 {
		return "", errors.New("no certificate was shown")
	}
	if nodeID, err = nodeOf(certs[0], i.cluster); err != nil {
		return "", err
	}
	if err := i.standing.Load().verify(host, certs, time.Now()); err != nil {
		return "", err
	}
	if why := i.refuse.Load(); why != nil && *why != nil {
		return nodeID, (*why)(nodeID, hashKey(certs[0]))
	}
	return nodeID, nil
}

// beliefs are the chains that were verified of late, by digest, and until when they need
// not be verified again: every connection shows one several times.
type beliefs struct {
	mu    sync.Mutex // guards until
	until map[[sha256.Size]byte]time.Time
}

const (
	beliefLife = time.Minute
	maxBeliefs = 4096
)

// verify is [verify] with the roots that are believed in. The dates of the leaf are looked
// at each time.
func (s *standing) verify(host string, certs []*x509.Certificate, now time.Time) error {
	if err := checkDates(host, certs[0], now); err != nil {
		return err
	}
	var chain []byte
	for _, c := range certs {
		chain = append(chain, c.Raw...) // which say their lengths themselves
	}
	key, b := sha256.Sum256(chain), &s.believed
	b.mu.Lock()
	until := b.until[key]
	b.mu.Unlock()
	if now.Before(until) {
		return nil
	}
	if err := verify(host, certs, s.pool, now); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.until == nil || len(b.until) >= maxBeliefs {
		b.until = map[[sha256.Size]byte]time.Time{}
	}
	b.until[key] = now.Add(beliefLife)
	return nil
}

// verify checks that the first of these certificates is a node's and leads to one of
// the roots, if need be by the others.
func verify(host string, certs []*x509.Certificate, roots *x509.CertPool, now time.Time) error {
	if err := checkDates(host, certs[0], now); err != nil {
		return err
	}
	_, err := certs[0].Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: pool(certs[1:]...),
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return fmt.Errorf("verify %s: %w", host, err)
	}
	return nil
}

func pool(certs ...*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certs {
		p.AddCert(c)
	}
	return p
}
