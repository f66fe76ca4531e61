package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"ddocker/api"
	"ddocker/consensus/ledger"
	"ddocker/identity"
)

const (
	// rotateEvery is how often the leader looks whether a rotation can go on.
	rotateEvery = time.Second
	// standingTimeout bounds how long a node may take to say how far it is.
	standingTimeout = 2 * time.Second
)

// standing is how far a node is with the rotations.
type standing struct {
	CA, Gossip heeded
	Signs      string    // the fingerprint of the authority that signs, as this node sees it
	Signed     bool      // its own certificate is of that
	Until      time.Time // the end of its certificate
	Keys       []string  // the fingerprints of the authorities whose keys it has
}

// nodeKeys returns how far the live nodes are, for people.
func (a *agent) nodeKeys(ctx context.Context) []api.NodeKeys {
	stands, _ := a.standings(ctx)
	voters := a.log.Status().Voters
	list := []api.NodeKeys{}
	a.log.View(func(l *ledger.Ledger) {
		for id, s := range stands {
			n := l.Node(id)
			if n == nil {
				continue
			}
			row := api.NodeKeys{Node: n.Name, Expires: s.Until, Signs: slices.Contains(s.Keys, s.Signs)}
			if s.Signed {
				row.Authority = s.Signs
			}
			for _, kind := range []ledger.Secret{ledger.AuthorityKey, ledger.GossipKey} {
				if r := l.Rotating(kind); r != nil && !s.ready(*r, slices.Contains(voters, id)) {
					row.Waits = append(row.Waits, kind)
				}
			}
			list = append(list, row)
		}
	})
	return list
}

func (a *agent) standing(context.Context, struct{}) (*standing, error) {
	h, roots := a.secrets.get(), a.id.Trust().Roots
	s := &standing{CA: h.CA, Gossip: h.Gossip, Signs: identity.Fingerprint(roots), Signed: a.id.Fresh(), Until: a.id.NotAfter()}
	for _, cert := range [][]byte{roots, a.nextAuthority()} {
		if cert != nil && a.authorityOf(cert) != nil {
			s.Keys = append(s.Keys, identity.Fingerprint(cert))
		}
	}
	return s, nil
}

// heed follows the rotations until ctx ends.
func (a *agent) heed(ctx context.Context) {
	for {
		changed := a.log.Changed()
		if err := a.follow(); err != nil {
			a.cfg.Logger.Error("a rotation of the cluster's keys cannot be followed", "err", err)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// follow does what the rotations in the ledger ask of a node.
func (a *agent) follow() error {
	var ca, keys []ledger.Rotation
	a.log.View(func(l *ledger.Ledger) {
		ca, keys = l.Rotations(ledger.AuthorityKey), l.Rotations(ledger.GossipKey)
	})
	was := a.secrets.get()
	if now := lately(keys); was.Gossip.before(now) {
		if err := a.secrets.set(func(h *held) { h.Gossip, h.Salts = now, saltsOf(keys) }); err != nil {
			return err
		}
		if err := a.useKeys(); err != nil {
			return err
		}
	}
	if now := lately(ca); was.CA.before(now) {
		trust, err := trustOf(ca)
		if err == nil {
			err = a.id.SetTrust(trust)
		}
		if err == nil {
			err = a.secrets.set(func(h *held) { h.CA = now })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lead takes rotations on while this node leads, begins one of the gossip key when a node
// that knows it was removed, and has the log written in the newest version as soon as all
// nodes read it: the keys by which nodes are known again stand in no older one.
func (a *agent) lead(ctx context.Context) {
	for sleep(ctx, rotateEvery) {
		if !a.log.IsLeader() {
			continue
		}
		var open []ledger.Rotation
		spilled, old := false, false
		a.log.View(func(l *ledger.Ledger) {
			for _, kind := range []ledger.Secret{ledger.AuthorityKey, ledger.GossipKey} {
				if r := l.Rotating(kind); r != nil {
					open = append(open, *r)
				}
			}
			spilled = l.Spilled() && l.Rotating(ledger.GossipKey) == nil
			old = l.Level() < ledger.Version && len(l.Nodes()) > 0 && len(l.Behind(ledger.Version)) == 0
		})
		if old {
			if err := a.raise(ctx); err != nil {
				a.cfg.Logger.Debug("the log is written in an older version yet", "err", err)
			}
		}
		if spilled {
			if err := a.rotateGossip(ctx, "ddocker"); err != nil {
				a.cfg.Logger.Warn("the gossip key that a removed node knows is not being replaced yet", "err", err)
			}
		}
		if len(open) > 0 {
			a.push(ctx, open)
		}
	}
}

func (a *agent) raise(ctx context.Context) error {
	result, _, err := a.log.Propose(ctx, ledger.Command{Raise: &ledger.Raise{To: ledger.Version}})
	if err == nil && result.Refusal != nil {
		return result.Refusal
	}
	return err
}

// push takes each rotation to its next stage that all live nodes are ready for.
func (a *agent) push(ctx context.Context, open []ledger.Rotation) {
	stands, late := a.standings(ctx)
	voters := a.log.Status().Voters
	for _, r := range open {
		waits := slices.Clone(late)
		for id, s := range stands {
			if !s.ready(r, slices.Contains(voters, id)) {
				waits = append(waits, id)
			}
		}
		to := ledger.Use
		if r.Stage == ledger.Use {
			to = ledger.Done
		}
		if len(waits) > 0 {
			a.cfg.Logger.Debug("a rotation waits for nodes", "key", r.Kind, "stage", r.Stage, "for", waits)
			continue
		}
		result, _, err := a.log.Propose(ctx, ledger.Command{Advance: &ledger.Advance{Kind: r.Kind, ID: r.ID, To: to}})
		if err == nil && result.Refusal != nil {
			err = result.Refusal
		}
		if err != nil {
			a.cfg.Logger.Warn("a rotation does not go on yet", "key", r.Kind, "stage", r.Stage, "err", err)
			continue
		}
		a.cfg.Logger.Info("a rotation goes on", "key", r.Kind, "rotation", r.ID, "to", to)
	}
}

// ready says whether a node has done all that the rotation's stage asks of it.
func (s *standing) ready(r ledger.Rotation, voter bool) bool {
	at := heeded{r.Index, r.Stage}
	if r.Kind == ledger.GossipKey {
		return !s.Gossip.before(at)
	}
	next := ""
	if said, err := successionOf(r); err == nil {
		next = identity.Fingerprint(said.Next)
	}
	switch {
	case s.CA.before(at) || voter && !slices.Contains(s.Keys, next):
		return false
	case r.Stage == ledger.Use:
		return s.Signed && s.Signs == next
	}
	return true
}

// standings asks all nodes that are alive how far they are, and returns the IDs of those
// that did not say.
func (a *agent) standings(ctx context.Context) (stands map[string]*standing, late []string) {
	var ids []string
	a.log.View(func(l *ledger.Ledger) { ids = l.NodeIDs() })
	ctx, cancel := context.WithTimeout(ctx, standingTimeout)
	defer cancel()
	stands = map[string]*standing{}
	var mu sync.Mutex // guards stands and late
	var asked sync.WaitGroup
	for _, id := range ids {
		if !a.alive(id) {
			continue
		}
		asked.Go(func() {
			s, err := a.standingOf(ctx, id)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				late = append(late, id)
				return
			}
			stands[id] = s
		})
	}
	asked.Wait()
	return stands, late
}

func (a *agent) standingOf(ctx context.Context, id string) (*standing, error) {
	if id == a.id.NodeID() {
		return a.standing(ctx, struct{}{})
	}
	s := &standing{}
	return s, post(ctx, toNode{a.transport, id}, "http://node/rpc/standing", struct{}{}, s)
}

// rotation asks for one.
type rotation struct{ By string }

// rotate begins to replace one of the cluster's secrets.
func (a *agent) rotate(ctx context.Context, kind ledger.Secret, by string) error {
	if kind == ledger.GossipKey {
		return a.rotateGossip(ctx, by)
	}
	if a.authority() != nil {
		_, err := a.rotateAuthority(ctx, rotation{by})
		return err
	}
	_, err := askVoters[struct{}](ctx, a, "/rpc/rotate-ca", rotation{by})
	return err
}

func (a *agent) rotateGossip(ctx context.Context, by string) error {
	salt := make([]byte, 32)
	rand.Read(salt)
	return a.begin(ctx, ledger.Rotate{Kind: ledger.GossipKey, ID: identity.NewID()[:12], Data: hex.EncodeToString(salt), By: by})
}

// rotateAuthority makes a successor of the CA. Most voters have the key of it before
// anybody hears of it: a rotation whose key died with its maker would not go on.
func (a *agent) rotateAuthority(ctx context.Context, request rotation) (*struct{}, error) {
	ca := a.authority()
	if ca == nil || !a.isVoter(a.id.NodeID()) {
		return nil, errors.New("this voter does not have the CA's key yet")
	}
	next, err := ca.Successor()
	if err != nil {
		return nil, err
	}
	s := succession{Next: next.CertPEM(), Former: ca.CertPEM()}
	if s.Link, err = ca.Vouch(next); err != nil {
		return nil, err
	}
	key, err := next.KeyPEM()
	if err != nil {
		return nil, err
	}
	if err := a.spread(ctx, nextKey{s.Next, key}); err != nil {
		return nil, err
	}
	data, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return &struct{}{}, a.begin(ctx, ledger.Rotate{Kind: ledger.AuthorityKey, ID: identity.Fingerprint(s.Next)[:12], Data: string(data), By: request.By})
}

// nextKey is an authority that is about to sign.
type nextKey struct{ Cert, Key []byte }

// spread has most voters keep the key, this one among them.
func (a *agent) spread(ctx context.Context, next nextKey) error {
	if _, err := a.keepNext(ctx, next); err != nil {
		return err
	}
	voters := a.log.Status().Voters
	have, failed := 1, error(nil)
	for _, id := range voters {
		if id == a.id.NodeID() {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, standingTimeout)
		err := post(ctx, toNode{a.transport, id}, "http://node/rpc/next-key", next, &struct{}{})
		cancel()
		if err != nil {
			failed = err
			continue
		}
		have++
	}
	if have <= len(voters)/2 {
		return fmt.Errorf("hand the key of the new authority to most voters: only %d of %d have it: %w", have, len(voters), failed)
	}
	return nil
}

// keepNext keeps the key of an authority that is about to sign.
func (a *agent) keepNext(ctx context.Context, next nextKey) (*struct{}, error) {
	if by := peerOf(ctx); by != "" && !a.isVoter(by) {
		return nil, errors.New("the CA's key is of voters")
	}
	if _, err := identity.ParseAuthority(next.Cert, next.Key); err != nil {
		return nil, err
	}
	if err := writeDurably(filepath.Join(a.cfg.DataDir, nextKeyFile(next.Cert)), next.Key); err != nil {
		return nil, fmt.Errorf("save the key of the new authority: %w", err)
	}
	return &struct{}{}, nil
}

func (a *agent) begin(ctx context.Context, r ledger.Rotate) error {
	result, _, err := a.log.Propose(ctx, ledger.Command{ID: r.ID, Rotate: &r})
	if err != nil {
		return err
	}
	if result.Refusal != nil {
		return result.Refusal
	}
	a.cfg.Logger.Info("a rotation of one of the cluster's keys has begun", "key", r.Kind, "rotation", r.ID, "by", r.By)
	return nil
}
