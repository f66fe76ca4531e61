package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority signs certificates of one cluster.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	a.cert, a.key = a.sign(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// sign makes a certificate and its key; the authority's own is the first.
func (a *authority) sign(c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(1), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, parentKey := a.cert, a.key
	if parent == nil {
		parent, parentKey = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, parentKey)
	if err != nil {
		a.t.Fatal(err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return signed, key
}

// serves runs an agent over TLS whose certificate names uri, and returns its
// host and port.
func (a *authority) serves(uri string) string {
	template := &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if uri != "" {
		name, err := url.Parse(uri)
		if err != nil {
			a.t.Fatal(err)
		}
		template.URIs = []*url.URL{name}
	}
	cert, key := a.sign(template)
	clients := x509.NewCertPool()
	clients.AddCert(a.cert)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `[{"Name":"h1"}]`)
	}))
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    clients,
	}
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // refusals are what is tested
	server.StartTLS()
	a.t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "https://")
}

// grants writes a user's certificate as docker wants it and returns where.
func (a *authority) grants() string {
	cert, key := a.sign(&x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	dir := a.t.TempDir()
	for name, block := range map[string]*pem.Block{
		"ca.pem":   {Type: "CERTIFICATE", Bytes: a.cert.Raw},
		"cert.pem": {Type: "CERTIFICATE", Bytes: cert.Raw},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return dir
}

func TestARemoteAgentIsKnownByItsCertificate(t *testing.T) {
	ours, other := newAuthority(t), newAuthority(t)
	certificates := ours.grants()
	for _, c := range []struct {
		name, host, certificates string
		code                     int
		want                     string
	}{
		{"a node of the cluster", ours.serves("ddocker://c1/node/n1"), certificates, 0, ""},
		{"of another cluster", other.serves("ddocker://c2/node/n1"), certificates, 1, "it is not of the cluster that your ca.pem names"},
		{"not a node", ours.serves("ddocker://c1/user/u1"), certificates, 1, "its certificate does not name a node"},
		{"nothing", ours.serves(""), certificates, 1, "its certificate does not name a node"},
		{"asked without a certificate", ours.serves("ddocker://c1/node/n1"), t.TempDir(), 1, "it asks for a client certificate: put ca.pem, cert.pem and key.pem"},
	} {
		r := execute(t, unread{t}, map[string]string{"DOCKER_CERT_PATH": c.certificates}, "-H", c.host, "nodes", "-q")
		if r.code != c.code || !strings.Contains(r.stderr, c.want) || (c.code == 0) != (r.stdout == "h1\n") {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", c.name, r.code, r.stdout, r.stderr)
		}
	}
}

func TestCertificatesComeFromTheHomeDirectoryByDefault(t *testing.T) {
	ours := newAuthority(t)
	home := t.TempDir()
	if err := os.Rename(ours.grants(), filepath.Join(home, ".ddocker")); err != nil {
		t.Fatal(err)
	}
	execute(t, unread{t}, map[string]string{"HOME": home}, "-H", ours.serves("ddocker://c1/node/n1"), "nodes", "-q").
		wants(t, 0, "h1\n")
}
