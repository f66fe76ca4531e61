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
	claim.Claim, claim.Owner = identity.NewID(), a.cfg.Caller(c.Request)
	index, err = a.decide(c.Context(), ledger.Command{Claim: &claim})
	var refusal *ledger.Refusal
	if err != nil && !errors.As(err, &refusal) {
		a.giveUp(c.Context(), claim) // it may have been decided all the same
	}
	return claim, index, err
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
func (a *API) awaitClaim(ctx context.Context, ref named.NamedTagged, taken *ledger.Refusal, out *messages) error {
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
			return fmt.Errorf("%w, which does not answer: see \"ddocker nodes\"", taken)
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
