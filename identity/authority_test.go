package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/url"
	"slices"
	"testing"
	"time"
)

func requestWith(t *testing.T, key crypto.Signer, template x509.CertificateRequest) []byte {
	t.Helper()
	csr, err := x509.CreateCertificateRequest(rand.Reader, &template, key)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

func newKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestAuthorityTakesNoNamesFromARequest(t *testing.T) {
	ca := newCluster(t)
	csr := requestWith(t, newKey(t, elliptic.P256()), x509.CertificateRequest{
		Subject:     pkix.Name{CommonName: "root", Organization: []string{"admins"}},
		DNSNames:    []string{"bank.example"},
		IPAddresses: []net.IP{net.IPv4(10, 0, 0, 1)},
		URIs:        []*url.URL{nodeURI(ca.cluster, "victim")},
		ExtraExtensions: []pkix.Extension{{
			Id: []int{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 3, 1, 1, 0xff}, // CA: true
		}},
	})
	text, err := ca.Sign(csr, Subject{NodeID: "n1", Name: "gpu1", Hosts: []string{"gpu1.lan", "::1", "192.0.2.7"}, Life: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	cert := mustParse(t, text)
	if got := cert.Subject.String(); got != "CN=gpu1" {
		t.Errorf("subject is %s", got)
	}
	if want := []string{nodeHost, "gpu1.lan"}; !slices.Equal(cert.DNSNames, want) {
		t.Errorf("DNS names are %v, want %v", cert.DNSNames, want)
	}
	if ips := cert.IPAddresses; len(ips) != 2 || !ips[0].Equal(net.IPv6loopback) || !ips[1].Equal(net.IPv4(192, 0, 2, 7)) {
		t.Errorf("addresses are %v", ips)
	}
	if len(cert.URIs) != 1 || cert.URIs[0].String() != "ddocker://"+ca.cluster+"/node/n1" {
		t.Errorf("URIs are %v", cert.URIs)
	}
	if cert.IsCA || cert.KeyUsage != x509.KeyUsageDigitalSignature {
		t.Errorf("a node can sign: IsCA %v, usage %b", cert.IsCA, cert.KeyUsage)
	}
}

func TestAuthorityRefusesToSign(t *testing.T) {
	ca := newCluster(t)
	good := requestWith(t, newKey(t, elliptic.P256()), x509.CertificateRequest{})
	forged := slices.Clone(good)
	forged[len(forged)-1] ^= 1
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		csr []byte
		s   Subject
		say string
	}{
		"what is no request":           {[]byte("hello"), Subject{NodeID: "n1", Life: 1}, "parse certificate request"},
		"a request by somebody else":   {forged, Subject{NodeID: "n1", Life: 1}, "check certificate request"},
		"a key on another curve":       {requestWith(t, newKey(t, elliptic.P384()), x509.CertificateRequest{}), Subject{NodeID: "n1", Life: 1}, "P-256"},
		"another kind of key":          {requestWith(t, edKey, x509.CertificateRequest{}), Subject{NodeID: "n1", Life: 1}, "P-256"},
		"nobody":                       {good, Subject{Life: 1}, "invalid node id"},
		"an id that escapes its place": {good, Subject{NodeID: "a/../b", Life: 1}, "invalid node id"},
		"no life":                      {good, Subject{NodeID: "n1"}, "life"},
		"an empty host":                {good, Subject{NodeID: "n1", Hosts: []string{""}, Life: 1}, "empty host"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ca.Sign(c.csr, c.s)
			wantErr(t, err, c.say)
		})
	}
}

func TestCertificateStartsInThePastAndEndsWithItsAuthority(t *testing.T) {
	ca := newCluster(t)
	csr := requestWith(t, newKey(t, elliptic.P256()), x509.CertificateRequest{})
	text, err := ca.Sign(csr, Subject{NodeID: "n1", Life: 20 * 365 * 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	cert := mustParse(t, text)
	if age := time.Since(cert.NotBefore); age < 5*time.Minute {
		t.Errorf("certificate is valid since %v, want at least 5 minutes", age)
	}
	if !cert.NotAfter.Equal(ca.cert.NotAfter) {
		t.Errorf("certificate ends %v, its authority %v", cert.NotAfter, ca.cert.NotAfter)
	}
}

func TestAuthorityReadBackSignsForTheSameCluster(t *testing.T) {
	ca := newCluster(t)
	key, err := ca.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseAuthority(ca.CertPEM(), key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := again.Sign(requestWith(t, newKey(t, elliptic.P256()), x509.CertificateRequest{}), Subject{NodeID: "n1", Life: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if err := mustParse(t, text).CheckSignatureFrom(ca.cert); err != nil {
		t.Error(err)
	}
}

func TestAuthorityIsNotReadBackFromWrongParts(t *testing.T) {
	ca := newCluster(t)
	key, err := ca.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	node := newNode(t, ca)
	nodeCert := encodeCert(node.standing.Load().leaf.Raw)
	for name, c := range map[string]struct {
		cert, key []byte
		say       string
	}{
		"another's certificate": {newCluster(t).CertPEM(), key, "another certificate"},
		"a node's certificate":  {nodeCert, key, "not the authority"},
		"no certificate":        {nil, key, "no PEM certificate"},
		"no key":                {ca.CertPEM(), nil, "no PEM key"},
		"swapped":               {key, ca.CertPEM(), "no PEM certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseAuthority(c.cert, c.key)
			wantErr(t, err, c.say)
		})
	}
}

func TestClusterIDsThatCannotStandInAURIAreRefused(t *testing.T) {
	for _, id := range []string{"", "A", "a b", "a/b", "a:1", "ä"} {
		_, err := NewAuthority(id)
		wantErr(t, err, "invalid cluster id")
	}
}

func TestNewIDIsFreshAndValid(t *testing.T) {
	a, b := NewID(), NewID()
	if a == b || len(a) != 32 || !validID(a) {
		t.Errorf("ids %q and %q", a, b)
	}
}
