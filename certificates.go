package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ddocker/consensus"
	"ddocker/consensus/ledger"
	"ddocker/identity"
)

// certificateLife is how long a node's certificate lasts: a machine that is stolen is not
// believed for longer, whoever forgot to remove it.
const certificateLife = 24 * time.Hour

const (
	// certificateEvery is how often a certificate that is due is asked for.
	certificateEvery = 10 * time.Second
	// keyEvery is how often a node looks whether it has become a voter, which should have
	// the CA's key: if those who have it are lost first, nobody can sign any more.
	keyEvery = 500 * time.Millisecond
	// namesEvery is how often a certificate is asked for because the present one does
	// not have the names that it should.
	namesEvery = 10 * time.Minute
)

// authority returns the cluster's CA if this node has its key, else nil.
func (a *agent) authority() *identity.Authority { return a.authorityOf(a.id.Trust().Roots) }

// authorityOf returns the authority with that certificate, the first of a PEM text, if
// this node has its key.
func (a *agent) authorityOf(certPEM []byte) *identity.Authority {
	for _, name := range []string{fileCAKey, nextKeyFile(certPEM)} {
		key, err := os.ReadFile(filepath.Join(a.cfg.DataDir, name))
		if err != nil {
			continue
		}
		if ca, err := identity.ParseAuthority(certPEM, key); err == nil {
			return ca
		}
	}
	return nil
}

// nextKeys is where the keys of authorities are that do not sign yet.
const nextKeys = "ca-key-*.pem"

// nextKeyFile is where the key of an authority is before that signs.
func nextKeyFile(certPEM []byte) string {
	return strings.Replace(nextKeys, "*", identity.Fingerprint(certPEM)[:16], 1)
}

// keepCertificate renews this node's certificate in time, and fetches the CA's key once
// this node is a voter, so that losing the others does not close the cluster to newcomers.
func (a *agent) keepCertificate(ctx context.Context) {
	for asked := time.Now().Add(-certificateEvery); ; {
		if err := a.fetchAuthorities(ctx); err != nil {
			a.cfg.Logger.Debug("CA key not fetched yet", "err", err)
		}
		if time.Since(asked) >= certificateEvery && a.renewalDue() {
			asked = time.Now()
			if err := a.renew(ctx); err != nil && ctx.Err() == nil {
				a.cfg.Logger.Warn("certificate not renewed yet", "until", a.id.NotAfter(), "err", err)
			}
		}
		if !sleep(ctx, keyEvery) {
			return
		}
	}
}

// staleCertificate says whether this node's certificate should be replaced.
func (a *agent) staleCertificate() bool {
	now := time.Now()
	return !now.Before(a.id.RenewAt()) || a.id.NotAfter().Sub(now) > 2*a.cfg.life || !a.id.Fresh()
}

// misnamed says whether the certificate lacks a name that clients know this node by.
func (a *agent) misnamed() bool {
	host, _, _ := net.SplitHostPort(a.cfg.Advertise)
	return !a.id.Names(a.cfg.Name) || !a.id.Names(host)
}

// renewalDue says whether this node's certificate is to be replaced now.
func (a *agent) renewalDue() bool {
	if a.staleCertificate() {
		return true
	}
	due := a.misnamed() && time.Since(a.named) >= namesEvery
	if due {
		a.named = time.Now()
	}
	return due
}

// renew replaces this node's certificate.
func (a *agent) renew(ctx context.Context) error {
	if done, err := a.renewHere(); done || err != nil {
		return err
	}
	return a.sayHello(ctx, true)
}

// renewHere renews the certificate with this node's own copy of the CA's key.
func (a *agent) renewHere() (done bool, err error) {
	ca := a.authority()
	if ca == nil {
		return false, nil
	}
	csr, err := a.id.CSR()
	if err != nil {
		return false, err
	}
	cert, err := ca.Sign(csr, a.cfg.subject(a.id.NodeID(), a.cfg.Name, a.cfg.Advertise))
	if err != nil {
		return false, err
	}
	return true, a.id.Renew(cert)
}

// caKey carries the CA's key between voters.
type caKey struct{ Key []byte }

// caKeyRequest asks for the key of the authority with that fingerprint; empty: of the one
// that signs.
type caKeyRequest struct{ Authority string }

// fetchAuthorities has a voter hold the key of the CA, and of the one that is to follow.
func (a *agent) fetchAuthorities(ctx context.Context) error {
	if !a.holdsKey(a.id.NodeID()) {
		return nil
	}
	roots, next := a.id.Trust().Roots, a.nextAuthority()
	all := string(roots) + string(next)
	if a.fetched == all {
		return nil
	}
	err := a.promoteKey()
	if a.authorityOf(roots) == nil {
		err = errors.Join(err, a.fetchKey(ctx, roots, fileCAKey))
	}
	if next != nil && a.authorityOf(next) == nil {
		err = errors.Join(err, a.fetchKey(ctx, next, nextKeyFile(next)))
	}
	if err == nil {
		a.fetched = all
	}
	return err
}

// nextAuthority returns the certificate of the authority that is about to sign; nil: none.
func (a *agent) nextAuthority() (certPEM []byte) {
	a.log.View(func(l *ledger.Ledger) {
		if r := l.Rotating(ledger.AuthorityKey); r != nil && r.Stage == ledger.Install {
			if s, err := successionOf(*r); err == nil {
				certPEM = s.Next
			}
		}
	})
	return certPEM
}

// promoteKey puts the key of the authority that has begun to sign in the place of the
// former's, and ends all that was meant to follow.
func (a *agent) promoteKey() error {
	dir, signs := a.cfg.DataDir, a.id.Trust().Roots
	next := nextKeyFile(signs)
	if !exists(dir, next) {
		return nil
	}
	if err := os.Rename(filepath.Join(dir, next), filepath.Join(dir, fileCAKey)); err != nil {
		return err
	}
	left, err := filepath.Glob(filepath.Join(dir, nextKeys))
	for _, path := range left {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

func (a *agent) fetchKey(ctx context.Context, certPEM []byte, file string) error {
	reply, err := askVoters[caKey](ctx, a, "/rpc/ca-key", caKeyRequest{identity.Fingerprint(certPEM)})
	if err != nil {
		return err
	}
	if _, err := identity.ParseAuthority(certPEM, reply.Key); err != nil {
		return err
	}
	return writeDurably(filepath.Join(a.cfg.DataDir, file), reply.Key)
}

// handOutKey gives a key of the CA to another voter.
func (a *agent) handOutKey(ctx context.Context, request caKeyRequest) (*caKey, error) {
	if !a.holdsKey(peerOf(ctx)) {
		return nil, errors.New("the CA's key is for voters")
	}
	cert := a.id.Trust().Roots
	if next := a.nextAuthority(); next != nil && request.Authority == identity.Fingerprint(next) {
		cert = next
	} else if request.Authority != "" && request.Authority != identity.Fingerprint(cert) {
		return nil, errors.New("this voter knows another authority as the one that signs")
	}
	ca := a.authorityOf(cert)
	if ca == nil {
		return nil, errors.New("this voter does not have the CA's key yet")
	}
	key, err := ca.KeyPEM()
	return &caKey{key}, err
}

func (a *agent) isVoter(id string) bool {
	for _, s := range a.log.Servers() {
		if s.ID == id {
			return s.Role != consensus.Nonvoter
		}
	}
	return false
}

// holdsKey says whether a node should have the CA's key: a voter, and of two servers the
// other one as well, which may be the only one left.
func (a *agent) holdsKey(id string) bool {
	servers := a.log.Servers()
	return a.isVoter(id) || len(servers) == 2 && (servers[0].ID == id || servers[1].ID == id)
}
