package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
)

const (
	uriScheme  = "ddocker"
	nodePrefix = "/node/"

	// nodeHost is in every node's certificate, for nodes that dial each other:
	// crypto/tls insists on checking some host name, and this one never changes.
	nodeHost = "node.ddocker.internal"
)

// NewID returns a random 128-bit id for a node or a cluster: 32 hexadecimal
// digits in lower case.
func NewID() string {
	var id [16]byte
	rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// PeerKey returns the SHA-256, in hexadecimal, of the public key whose private part
// the peer holds, whoever it is: no certificate of the peer is looked at further. It
// is false for a peer that showed none.
func PeerKey(cs *tls.ConnectionState) (hash string, ok bool) {
	if cs == nil || len(cs.PeerCertificates) == 0 {
		return "", false
	}
	return hashKey(cs.PeerCertificates[0]), true
}

func hashKey(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// nodeOf returns the node that leaf names, if it is one of that cluster. It reads
// names only: the caller has verified the signature.
func nodeOf(leaf *x509.Certificate, cluster string) (string, error) {
	id, found := strings.CutPrefix(path(leaf, cluster), nodePrefix)
	if !found || !validID(id) {
		return "", fmt.Errorf("certificate %q names no node of cluster %s", leaf.Subject.CommonName, cluster)
	}
	return id, nil
}

// clusterOf returns the cluster whose authority ca is.
func clusterOf(ca *x509.Certificate) (string, error) {
	if !ca.IsCA || len(ca.URIs) != 1 || ca.URIs[0].Scheme != uriScheme || !validID(ca.URIs[0].Host) {
		return "", fmt.Errorf("certificate %q is not the authority of a ddocker cluster", ca.Subject.CommonName)
	}
	return ca.URIs[0].Host, nil
}

// path returns the path of cert's only URI if it lies in cluster, else "".
func path(cert *x509.Certificate, cluster string) string {
	if len(cert.URIs) != 1 || cert.URIs[0].Scheme != uriScheme || cert.URIs[0].Host != cluster {
		return ""
	}
	return cert.URIs[0].Path
}

func clusterURI(cluster string) *url.URL {
	return &url.URL{Scheme: uriScheme, Host: cluster}
}

func nodeURI(cluster, node string) *url.URL {
	return &url.URL{Scheme: uriScheme, Host: cluster, Path: nodePrefix + node}
}

// validID reports whether id can stand in a URI as it is: 1 to 64 lower-case
// letters, digits and hyphens.
func validID(id string) bool {
	return 0 < len(id) && len(id) <= 64 &&
		strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
