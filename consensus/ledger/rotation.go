package ledger

import (
	"slices"
	"time"
)

// Secret is what all nodes of the cluster share, or trust.
type Secret string

// The secrets.
const (
	AuthorityKey Secret = "ca"     // that of the cluster's certificate authority
	GossipKey    Secret = "gossip" // that with which gossip is encrypted
)

// Stage is how far a rotation is. Each begins when all live nodes have done what the
// one before asks.
type Stage string

// The stages, in order.
const (
	Install Stage = "install" // every node learns the new secret, beside the old one
	Use     Stage = "use"     // the new one is used, the old one still accepted
	Done    Stage = "done"    // the old one is accepted no more
)

// next returns the stage after this one; empty: there is none.
func (s Stage) next() Stage {
	switch s {
	case Install:
		return Use
	case Use:
		return Done
	}
	return ""
}

// Before says whether a stage comes before another; the empty one comes before all.
func (s Stage) Before(o Stage) bool {
	order := []Stage{"", Install, Use, Done}
	return slices.Index(order, s) < slices.Index(order, o)
}

// Rotation is the replacement of a secret.
type Rotation struct {
	Kind Secret `json:"kind"`
	ID   string `json:"id"`
	// Data is what nodes need to know of the new secret. It is no secret itself.
	Data string `json:"data"`
	By   string `json:"by,omitempty"`
	// Index is where in the log it began: a later rotation has a higher one.
	Index uint64    `json:"index"`
	Began time.Time `json:"began"` // the leader's time
	Stage Stage     `json:"stage"`
	Ended time.Time `json:"ended,omitzero"` // the leader's time
}

// Rotate begins to replace a secret. One rotation of a kind is under way at a time, but
// an authority that nobody uses yet gives way to another.
type Rotate struct {
	Kind Secret `json:"kind"`
	ID   string `json:"id"`
	Data string `json:"data"`
	By   string `json:"by,omitempty"`
}

// Advance takes a rotation to its next stage. Repeating it is no error.
type Advance struct {
	Kind Secret `json:"kind"`
	ID   string `json:"id"`
	To   Stage  `json:"to"`
}

// Bounds of rotations.
const (
	maxRotationData = 16 << 10
	keptAuthorities = 4 // ended rotations, whose authorities are still shown to those who know no newer
	keptGossipKeys  = 1
)

func (l *Ledger) rotate(c *Rotate, at time.Time) Result {
	switch {
	case c.Kind != AuthorityKey && c.Kind != GossipKey:
		return refuse(Invalid, "the cluster has no secret %q: it has %q and %q", c.Kind, AuthorityKey, GossipKey)
	case c.ID == "" || c.Data == "" || len(c.Data) > maxRotationData:
		return refuse(Invalid, "a rotation has an ID, and from 1 to %d bytes of data", maxRotationData)
	}
	list := slices.Clone(l.rotations)
	if i := slices.IndexFunc(list, func(r Rotation) bool { return r.Kind == c.Kind && r.ID == c.ID }); i >= 0 {
		return Result{}
	}
	if open := l.Rotating(c.Kind); open != nil {
		if c.Kind != AuthorityKey || open.Stage != Install {
			return refuse(Conflict, "a rotation of the %s key is under way since %s: see \"ddocker ca ls\"", c.Kind, open.Began.Format(time.RFC3339))
		}
		list = slices.DeleteFunc(list, func(r Rotation) bool { return r.Kind == c.Kind && r.ID == open.ID })
	}
	if c.Kind == GossipKey {
		l.spilled = false
	}
	l.rotations = append(list, Rotation{Kind: c.Kind, ID: c.ID, Data: c.Data, By: c.By, Index: l.index, Began: at.UTC(), Stage: Install})
	return Result{}
}

func (l *Ledger) advance(c *Advance, at time.Time) Result {
	i := slices.IndexFunc(l.rotations, func(r Rotation) bool { return r.Kind == c.Kind && r.ID == c.ID })
	if i < 0 {
		return refuse(Unknown, "no rotation %s of the %s key is known", c.ID, c.Kind)
	}
	now := l.rotations[i]
	switch c.To {
	case now.Stage:
		return Result{}
	case now.Stage.next():
	default:
		return refuse(Invalid, "a rotation does not go from %q to %q", now.Stage, c.To)
	}
	if now.Stage = c.To; now.Stage == Done {
		now.Ended = at.UTC()
	}
	l.rotations = slices.Clone(l.rotations)
	l.rotations[i] = now
	l.forgetRotations(AuthorityKey, keptAuthorities)
	l.forgetRotations(GossipKey, keptGossipKeys)
	return Result{}
}

// forgetRotations forgets the oldest of a kind's ended rotations.
func (l *Ledger) forgetRotations(kind Secret, keep int) {
	ended := 0
	for _, r := range l.rotations {
		if r.Kind == kind && r.Stage == Done {
			ended++
		}
	}
	l.rotations = slices.DeleteFunc(l.rotations, func(r Rotation) bool {
		if r.Kind != kind || r.Stage != Done || ended <= keep {
			return false
		}
		ended--
		return true
	})
}

// Rotations returns the rotations of a kind, oldest first: the last ended ones, and
// what is under way.
func (l *Ledger) Rotations(kind Secret) (list []Rotation) {
	for _, r := range l.rotations {
		if r.Kind == kind {
			list = append(list, r)
		}
	}
	return list
}

// Rotating returns the rotation of a kind that is under way, or nil.
func (l *Ledger) Rotating(kind Secret) *Rotation {
	for i := range l.rotations {
		if r := &l.rotations[i]; r.Kind == kind && r.Stage != Done {
			return r
		}
	}
	return nil
}

// tangled says whether two rotations of a kind are under way, which no history brings.
func (l *Ledger) tangled() bool {
	open := map[Secret]int{}
	for _, r := range l.rotations {
		if r.Stage != Done {
			open[r.Kind]++
		}
	}
	return open[AuthorityKey] > 1 || open[GossipKey] > 1
}

// Spilled says whether a removed node may know the gossip key: no rotation of it has
// begun since.
func (l *Ledger) Spilled() bool { return l.spilled }
