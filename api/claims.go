package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	named "github.com/distribution/reference"

	"ddocker/consensus/ledger"
	"ddocker/identity"
)

// settleClaim bounds what is done about a claim when its work is over, whether
// its client still waits or not.
const settleClaim = 30 * time.Second

// claim reserves a name for an image that a node makes, and returns the place in
// the log. The error is a *ledger.Refusal where the name is taken.
func (a *API) claim(c *call, claim ledger.Claim) (_ ledger.Claim, index uint64, err error) {
	claim.Claim, claim.Owner = identity.NewID(), a.who(c).Name
	index, err = a.decide(c.Context(), ledger.Command{Claim: &claim})
	var refusal *ledger.Refusal
	if err != nil && !errors.As(err, &refusal) {
		a.giveUp(c.Context(), claim) // it may have been decided all the same
	}
	return claim, index, a.taken(claim.Name, err)
}

// claimed returns the image that has the name if somebody still makes it, or nil.
func (a *API) claimed(name string) (i *ledger.Image) {
	a.cfg.Log.View(func(l *ledger.Ledger) {
		if i = l.Image(name); i != nil && i.ID != "" {
			i = nil
		}
	})
	return i
}

// gone says whether the node is dead, as far as gossip knows.
func (a *API) gone(node string) bool { return node != a.cfg.Self && !a.cfg.Alive(node) }

// taken returns err, or says what can be done where it is a refusal because of a
// name that a host which does not answer was making.
func (a *API) taken(name string, err error) error {
	var refusal *ledger.Refusal
	if i := a.claimed(name); i != nil && a.gone(i.Node) && errors.As(err, &refusal) && refusal.Code == ledger.Conflict {
		return a.abandoned(i)
	}
	return err
}

// abandoned refuses a name that a host which does not answer was making.
func (a *API) abandoned(i *ledger.Image) *ledger.Refusal {
	remedy := ""
	if a.gone(i.Node) {
		remedy = fmt.Sprintf(", choose another name, or free this one with \"ddocker rmi -f %s\"", i.Name)
	}
	return &ledger.Refusal{Code: ledger.Conflict, Message: fmt.Sprintf(
		"image %s was being made on host %s, which does not answer: see \"ddocker nodes\"%s", i.Name, a.hosts.name(i.Node), remedy)}
}

// freeClaim gives a claim on a name up, by force, if the host that was making the
// image does not answer. It refuses to remove what is still being made. It returns the
// name, which is empty without an error if nobody makes it.
func (a *API) freeClaim(ctx context.Context, ref string, force bool) (freed string, err error) {
	name, ok := ledger.ImageName(ref)
	if !ok || a.claimed(name) == nil {
		return "", nil
	}
	if err := a.cfg.Log.Read(ctx); err != nil {
		return "", err
	}
	i := a.claimed(name)
	switch {
	case i == nil:
		return "", nil
	case !a.gone(i.Node):
		return "", &ledger.Refusal{Code: ledger.Conflict, Message: fmt.Sprintf(
			"image %s is being made on host %s: wait until it is done", name, a.hosts.name(i.Node))}
	case !force:
		return "", a.abandoned(i)
	}
	_, err = a.decide(ctx, ledger.Command{Unclaim: &ledger.Unclaim{Claim: i.Claim}})
	return name, err
}

// fulfil gives the claim's name to an image of this engine, or, after an error of
// its making, gives the claim up.
func (a *API) fulfil(ctx context.Context, claim ledger.Claim, id string, made error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleClaim)
	defer cancel()
	if made == nil {
		made = a.cfg.Images.NameImage(ctx, claim.Claim, id, claim.Name, claim.Owner)
	}
	if made != nil {
		a.giveUp(ctx, claim)
	}
	return made
}

// giveUp frees the claim's name, if there is one. The claim's node does so later
// where that fails.
func (a *API) giveUp(ctx context.Context, claim ledger.Claim) {
	if claim.Claim == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleClaim)
	defer cancel()
	if _, _, err := a.cfg.Log.Propose(ctx, ledger.Command{Unclaim: &ledger.Unclaim{Claim: claim.Claim}}); err != nil {
		a.log.Warn("claim on a name of an image is not yet given up", "name", claim.Name, "err", err)
	}
}

// claimPatience is how long a pull waits for one claim on its name. A commit is
// soon done, or its host was never asked for it; what is pulled or imported takes
// its time, until its node gives it up.
func claimPatience(i *ledger.Image) time.Duration {
	if i.Commit {
		return 2 * time.Minute
	}
	return time.Hour
}

// awaitClaim waits until nobody makes the name any more. With a claim of a host
// that is away, or one that does not end, the refusal stands.
func (a *API) awaitClaim(ctx context.Context, ref named.NamedTagged, out *messages) error {
	name := named.FamiliarString(ref)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var claim string
	var since time.Time
	for first := true; ; first = false {
		var i *ledger.Image
		a.cfg.Log.View(func(l *ledger.Ledger) { i = l.Image(name) })
		if i != nil && i.Claim != claim {
			claim, since = i.Claim, time.Now()
		}
		switch {
		case i == nil || i.ID != "":
			return nil
		case !a.hosts.answers(i.Node):
			return a.abandoned(i)
		case time.Since(since) >= claimPatience(i):
			return a.claimStays(i)
		case first:
			out.status(ref.Tag(), "Waiting for host %s, which is making it", a.hosts.name(i.Node))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// claimStays refuses a pull whose name somebody has been making for too long.
func (a *API) claimStays(i *ledger.Image) error {
	who := i.Owner
	if who == "" {
		who = "somebody"
	}
	return &ledger.Refusal{Code: ledger.Conflict, Message: fmt.Sprintf("image %s is still being made by %s on host %s after %s: try again later",
		i.Name, who, a.hosts.name(i.Node), claimPatience(i))}
}
