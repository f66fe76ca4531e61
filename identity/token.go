package identity

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"strings"
	"time"
)

const (
	tokenPrefix = "ddt1-"
	secretBytes = 16
	tokenBytes  = sha256.Size + secretBytes + crc32.Size
)

// Token lets a machine join a cluster. It names the cluster by the SHA-256 of
// its authority's certificate, so that the joiner talks to no other, and holds
// a 128-bit secret, by which the cluster knows the joiner. Tokens are
// comparable. Hold them as you would a password: String shows the secret.
type Token struct {
	ca     [sha256.Size]byte
	secret [secretBytes]byte
}

// NewToken makes a token with a fresh secret for the cluster of that authority.
func NewToken(caPEM []byte) (Token, error) {
	ca, err := parseCert(caPEM)
	if err != nil {
		return Token{}, fmt.Errorf("make token: %w", err)
	}
	t := Token{ca: sha256.Sum256(ca.Raw)}
	rand.Read(t.secret[:]) // never fails
	return t, nil
}

// ParseToken reads what [Token.String] wrote, in either case and with blanks
// around. The error tells a mistyped token from something that is none, and
// repeats no part of it.
func ParseToken(s string) (Token, error) {
	word := strings.ToLower(strings.TrimSpace(s))
	body, found := strings.CutPrefix(word, tokenPrefix)
	if !found {
		return Token{}, fmt.Errorf("not a join token: one starts with %s and is %d characters long; `ddocker token` prints one",
			tokenPrefix, len(Token{}.String()))
	}
	raw, err := tokenEncoding().DecodeString(body)
	var t Token
	if err == nil && len(raw) == tokenBytes {
		copy(t.ca[:], raw)
		copy(t.secret[:], raw[len(t.ca):])
	}
	if t.String() != word { // of several spellings of the same bytes, one is a token
		return Token{}, fmt.Errorf("mistyped join token: its %d characters do not add up, so some are wrong or missing; copy it again, or get a new one with `ddocker token`",
			len(word))
	}
	return t, nil
}

// String returns the token as one word, with a checksum over all of it.
func (t Token) String() string {
	raw := append(t.ca[:], t.secret[:]...)
	raw = binary.BigEndian.AppendUint32(raw, crc32.ChecksumIEEE(raw))
	return tokenPrefix + tokenEncoding().EncodeToString(raw)
}

// Hash returns the SHA-256 of the secret in hexadecimal: what the cluster
// remembers of the token. The secret cannot be had from it.
func (t Token) Hash() string {
	sum := sha256.Sum256(t.secret[:])
	return hex.EncodeToString(sum[:])
}

// Client returns a config to speak ProtoHTTP with any node of the token's
// cluster, and with nobody else: only to such a peer may the token be sent.
func (t Token) Client() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		NextProtos:         []string{ProtoHTTP},
		InsecureSkipVerify: true, // VerifyConnection does it: the root comes with the connection
		VerifyConnection: func(cs tls.ConnectionState) error {
			return t.verify(cmp.Or(cs.ServerName, "the host"), cs.PeerCertificates, time.Now())
		},
	}
}

// verify checks a server's certificates, leaf first, against the digest.
func (t Token) verify(host string, certs []*x509.Certificate, now time.Time) error {
	ca := t.authority(certs)
	if ca == nil {
		return fmt.Errorf("%s belongs to another cluster than the token", host)
	}
	cluster, err := clusterOf(ca)
	if err != nil {
		return fmt.Errorf("verify %s: %w", host, err)
	}
	if err := verify(host, certs, pool(ca), now); err != nil {
		return err
	}
	if _, err := nodeOf(certs[0], cluster); err != nil {
		return fmt.Errorf("verify %s: %w", host, err)
	}
	return nil
}

func (t Token) authority(certs []*x509.Certificate) *x509.Certificate {
	for _, c := range certs {
		if sha256.Sum256(c.Raw) == t.ca {
			ca := *c
			ca.MaxPathLen, ca.MaxPathLenZero = -1, false // see parseAuthorities
			return &ca
		}
	}
	return nil
}

func tokenEncoding() *base32.Encoding {
	return base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
}
