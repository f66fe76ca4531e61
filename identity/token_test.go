package identity

import (
	"crypto/tls"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func newToken(t *testing.T, ca *Authority) Token {
	t.Helper()
	token, err := NewToken(ca.CertPEM())
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestTokenIsReadBack(t *testing.T) {
	token := newToken(t, newCluster(t))
	for _, s := range []string{token.String(), strings.ToUpper(token.String()), " " + token.String() + "\n"} {
		if got, err := ParseToken(s); err != nil || got != token {
			t.Errorf("ParseToken(%q): %v", s, err)
		}
	}
}

func TestTokensDifferInTheirSecretOnly(t *testing.T) {
	ca := newCluster(t)
	a, b := newToken(t, ca), newToken(t, ca)
	if a == b || a.Hash() == b.Hash() || a.ca != b.ca {
		t.Error("two tokens of a cluster are too alike, or too different")
	}
	again, err := ParseToken(a.String())
	if err != nil || again.Hash() != a.Hash() || len(a.Hash()) != 64 {
		t.Errorf("hash %s became %s (%v)", a.Hash(), again.Hash(), err)
	}
}

func TestATypoIsToldFromAWrongToken(t *testing.T) {
	word := newToken(t, newCluster(t)).String()
	for i := len(tokenPrefix); i < len(word); i++ {
		for _, c := range []string{"a", "z", "7", "1", "-", "\n", ""} { // wrong, impossible, missing
			typo := word[:i] + c + word[i+1:]
			if typo == word {
				continue
			}
			if _, err := ParseToken(typo); strings.TrimSpace(typo) != word && err == nil {
				t.Fatalf("accepted %q for %q", typo, word)
			} else if !strings.Contains(err.Error(), "mistyped") {
				t.Fatalf("error for %q: %v", typo, err)
			}
		}
	}
	for _, s := range []string{"", "hello", "SWMTKN-1-abc", strings.TrimPrefix(word, tokenPrefix)} {
		_, err := ParseToken(s)
		wantErr(t, err, "`ddocker token` prints one")
	}
}

func TestATokensErrorDoesNotShowIt(t *testing.T) {
	word := newToken(t, newCluster(t)).String()
	_, err := ParseToken(word[:len(word)-1])
	wantErr(t, err, "mistyped")
	if strings.Contains(err.Error(), word[len(tokenPrefix):len(word)/2]) {
		t.Errorf("error shows the token: %v", err)
	}
}

func TestATokenLeadsToItsClusterOnly(t *testing.T) {
	ca := newCluster(t)
	ln := loopback(t)
	greeter(t, ln, newNode(t, ca))

	got, err := askAt(t, ln.Addr(), newToken(t, ca).Client())
	if got != "http/1.1 to nobody" || err != nil {
		t.Errorf("with the right token: %q, %v", got, err)
	}

	stranger := newToken(t, newCluster(t)).Client()
	_, err = askAt(t, ln.Addr(), stranger)
	wantErr(t, err, "the host belongs to another cluster than the token")
	stranger.ServerName = "gpu1"
	_, err = askAt(t, ln.Addr(), stranger)
	wantErr(t, err, "gpu1 belongs to another cluster than the token")
}

// A digest is public: whoever shows the right authority must also be signed by it.
func TestShowingTheAuthoritysCertificateIsNotEnough(t *testing.T) {
	ca := newCluster(t)
	impostor := newNode(t, newCluster(t))
	cert := *impostor.standing.Load().shown
	cert.Certificate = [][]byte{cert.Certificate[0], ca.cert.Raw, impostor.standing.Load().roots[0].Raw}
	config := impostor.Server(ProtoHTTP)
	config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }
	ln := tls.NewListener(loopback(t), config)
	defer ln.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if conn, err := ln.Accept(); err == nil {
			conn.(*tls.Conn).Handshake()
			conn.Close()
		}
	}()
	_, err := askAt(t, ln.Addr(), newToken(t, ca).Client())
	wantErr(t, err, "signed by unknown authority")
	<-done
}

func TestDifferingClocksAreNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		early := time.Now()
		time.Sleep(time.Hour)
		ca := newCluster(t)
		id, token := newNodeAs(t, ca, Subject{NodeID: "n1", Life: time.Hour}), newToken(t, ca)
		certs := newChain(id)

		if err := token.verify("gpu1", certs, time.Now().Add(-4*time.Minute)); err != nil {
			t.Errorf("4 minutes slow: %v", err)
		}
		wantErr(t, token.verify("gpu1", certs, early),
			"certificate of gpu1 is not valid before 2000-01-01T00:55:00Z, but the clock of this machine says 2000-01-01T00:00:00Z: do the clocks differ?")
		wantErr(t, token.verify("gpu1", certs, time.Now().Add(2*time.Hour)),
			"certificate of gpu1 expired at 2000-01-01T02:00:00Z, but the clock of this machine says 2000-01-01T03:00:00Z: do the clocks differ?")
	})
}

func FuzzParseToken(f *testing.F) {
	f.Add("")
	f.Add(tokenPrefix)
	f.Add(Token{}.String())
	f.Add(strings.ToUpper(Token{}.String()))
	f.Fuzz(func(t *testing.T, s string) {
		token, err := ParseToken(s)
		if err != nil {
			if token != (Token{}) {
				t.Error("half a token came with an error")
			}
			return
		}
		if token.String() != strings.ToLower(strings.TrimSpace(s)) {
			t.Errorf("%q was read as %q", s, token)
		}
	})
}
