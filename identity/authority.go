package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"time"
)

const (
	authorityYears = 10
	clockSkew      = 5 * time.Minute // how far a new certificate reaches into the past
)

// Authority is the cluster's certificate authority together with its key.
// Whoever holds one can make itself any node of the cluster. It does not
// change once made, and is safe for concurrent use.
type Authority struct {
	cluster string
	cert    *x509.Certificate
	key     *ecdsa.PrivateKey
}

// Subject is what an authority vouches for when it signs.
type Subject struct {
	NodeID string        // who the node is, as made by NewID
	Name   string        // what people call it; for display only
	Hosts  []string      // DNS names and IP addresses that stock TLS clients may dial
	Life   time.Duration // from now on; cut short where the authority's own life ends
}

// NewAuthority makes an authority with a fresh P-256 key for the cluster of
// that id, valid for ten years.
func NewAuthority(cluster string) (*Authority, error) {
	if !validID(cluster) {
		return nil, fmt.Errorf("make authority: invalid cluster id %q", cluster)
	}
	return newRoot(cluster, "ddocker cluster "+cluster)
}

// Successor makes another authority, with a key of its own, for the same cluster.
func (a *Authority) Successor() (*Authority, error) {
	return newRoot(a.cluster, "ddocker cluster "+a.cluster+" since "+time.Now().UTC().Format(time.RFC3339))
}

func newRoot(cluster, name string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make authority key: %w", err)
	}
	template := rootTemplate(cluster, pkix.Name{CommonName: name}, time.Now())
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make authority: %w", err)
	}
	return newAuthority(der, key)
}

func rootTemplate(cluster string, name pkix.Name, now time.Time) *x509.Certificate {
	return &x509.Certificate{
		Subject:               name,
		URIs:                  []*url.URL{clusterURI(cluster)},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.AddDate(authorityYears, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
}

// Vouch returns a certificate (PEM) in which this authority says that next is one
// too: whoever trusts this one believes next's nodes, if they show it.
func (a *Authority) Vouch(next *Authority) (linkPEM []byte, err error) {
	if next.cluster != a.cluster {
		return nil, fmt.Errorf("vouch for an authority: it is of cluster %s, not %s", next.cluster, a.cluster)
	}
	template := rootTemplate(a.cluster, next.cert.Subject, time.Now())
	if template.NotAfter.After(a.cert.NotAfter) {
		template.NotAfter = a.cert.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, next.cert.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("vouch for an authority: %w", err)
	}
	return encodeCert(der), nil
}

// ParseAuthority reads back what CertPEM and KeyPEM wrote.
func ParseAuthority(certPEM, keyPEM []byte) (*Authority, error) {
	cert, err := parseCert(certPEM)
	if err != nil {
		return nil, fmt.Errorf("parse authority: %w", err)
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("parse authority: %w", err)
	}
	return newAuthority(cert.Raw, key)
}

func newAuthority(der []byte, key *ecdsa.PrivateKey) (*Authority, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse authority: %w", err)
	}
	cluster, err := clusterOf(cert)
	if err != nil {
		return nil, err
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("authority's key belongs to another certificate")
	}
	return &Authority{cluster: cluster, cert: cert, key: key}, nil
}

// Fingerprint returns the SHA-256 of an authority's certificate (PEM), in
// hexadecimal; empty where it is none.
func Fingerprint(caPEM []byte) string {
	ca, err := parseCert(caPEM)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(ca.Raw)
	return hex.EncodeToString(sum[:])
}

// CertPEM returns the authority's certificate, which is public.
func (a *Authority) CertPEM() []byte { return encodeCert(a.cert.Raw) }

// KeyPEM returns the authority's key in PKCS #8, unencrypted: the caller seals it.
func (a *Authority) KeyPEM() ([]byte, error) { return encodeKey(a.key) }

// Sign returns a certificate for s and the public key of the certificate
// request. Nothing else in the request counts: names and extensions that it
// asks for are ignored. The request must be signed by its own key, on P-256.
func (a *Authority) Sign(csrDER []byte, s Subject) (certPEM []byte, err error) {
	pub, err := requestKey(csrDER)
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	template, err := a.template(s, time.Now())
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, pub, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	return encodeCert(der), nil
}

func (a *Authority) template(s Subject, now time.Time) (*x509.Certificate, error) {
	if !validID(s.NodeID) {
		return nil, fmt.Errorf("invalid node id %q", s.NodeID)
	}
	if s.Life <= 0 {
		return nil, fmt.Errorf("life of %v is none", s.Life)
	}
	t := &x509.Certificate{
		Subject:               pkix.Name{CommonName: s.Name},
		URIs:                  []*url.URL{nodeURI(a.cluster, s.NodeID)},
		DNSNames:              []string{nodeHost},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(s.Life),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	if t.NotAfter.After(a.cert.NotAfter) {
		t.NotAfter = a.cert.NotAfter
	}
	return t, addHosts(t, s.Hosts)
}

func addHosts(t *x509.Certificate, hosts []string) error {
	for _, host := range hosts {
		if host == "" {
			return errors.New("empty host name")
		}
		if ip, err := netip.ParseAddr(host); err == nil {
			t.IPAddresses = append(t.IPAddresses, ip.AsSlice())
		} else {
			t.DNSNames = append(t.DNSNames, host)
		}
	}
	return nil
}

// RequestKey returns the hash of the public key of a certificate request, as [PeerKey]
// does of a peer's. Whoever made the request holds the private one.
func RequestKey(csrDER []byte) (hash string, err error) {
	pub, err := requestKey(csrDER)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", fmt.Errorf("read certificate request: %w", err)
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}

// requestKey returns the public key of a certificate request whose sender
// proves to hold the private one.
func requestKey(csrDER []byte) (*ecdsa.PublicKey, error) {
	csr, err := x509.ParseCertificateRequest(csrDER)
	if err != nil {
		return nil, fmt.Errorf("parse certificate request: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("check certificate request: %w", err)
	}
	pub, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok || pub.Curve != elliptic.P256() {
		return nil, errors.New("certificate request has no P-256 key")
	}
	return pub, nil
}
