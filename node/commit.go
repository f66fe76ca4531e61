package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"ddocker/consensus/ledger"
	"ddocker/crash"
	"ddocker/engine"
)

// Commit is an image to be made of a container of this node.
type Commit struct {
	// Claim has reserved Name for Owner at Index of the log. Without a claim the
	// image gets no name.
	Claim, Name, Owner string
	Index              uint64
	// Version, Query and Body are the request to the engine. A name in Query is not
	// looked at.
	Version, Query string
	Body           []byte
}

// Commit makes an image of a container of this node. When it returns a 201, the
// image is here and, where there is a claim, the cluster calls it by the name; the
// ID in the reply is the cluster's. A refusal by the engine gives the claim up. The
// work goes on when ctx ends: a later call with the same claim gets its outcome.
//
// The engine tags the image as it makes it. So after a crash a claim with its tag
// here is an image that was made, and one without is not: see planNames.
func (n *Node) Commit(ctx context.Context, c Commit) (status int, reply []byte, err error) {
	return n.once(ctx, n.committing, c.Claim, func() (int, []byte, error) { return n.commit(c) })
}

func (n *Node) commit(c Commit) (status int, reply []byte, err error) {
	query, err := named(c)
	if err != nil {
		n.unclaim(c.Claim)
		return 0, nil, &ledger.Refusal{Code: ledger.Invalid, Message: err.Error()}
	}
	if err := n.claimed(c); err != nil {
		return 0, nil, err
	}
	if err := n.nameFreeHere(n.life, c.Name, ""); err != nil {
		n.unclaim(c.Claim)
		return 0, nil, err
	}
	// A crash before this leaves a claim without a tag; see doubt.
	n.cfg.Crash.At(crash.CommitBegun)
	status, reply, err = n.cfg.Engine.Commit(n.life, c.Version, query, c.Body)
	switch {
	case err != nil:
		n.doubt(c.Claim)
		return 0, nil, fmt.Errorf("commit on %s: its Docker Engine did not answer, see \"ddocker images\" for what came of it: %w", n.cfg.Name, err)
	case status == statusCreated:
		n.cfg.Crash.At(crash.CommitMade)
		return n.committed(c, reply)
	case status >= statusFailed && n.mayHave(c.Name):
		n.doubt(c.Claim)
		n.Kick()
		return status, reply, nil
	}
	n.cfg.Crash.At(crash.CommitRefused)
	n.unclaim(c.Claim)
	n.cfg.Crash.At(crash.CommitUnclaimed)
	return status, reply, nil
}

// named returns the query of a commit with the claimed name in it, and no other.
func named(c Commit) (string, error) {
	query, err := url.ParseQuery(c.Query)
	if err != nil {
		return "", fmt.Errorf("read the request to commit: %w", err)
	}
	query.Del("repo")
	query.Del("tag")
	if c.Claim != "" {
		query.Set("repo", repository(c.Name))
		query.Set("tag", strings.TrimPrefix(c.Name, repository(c.Name)+":"))
	}
	return query.Encode(), nil
}

// claimed makes sure that the name is still reserved for the commit.
func (n *Node) claimed(c Commit) error {
	if c.Claim == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(n.life, proposeTimeout)
	defer cancel()
	if err := n.cfg.Log.Wait(ctx, c.Index); err != nil {
		return fmt.Errorf("wait for the claim of image %s: %w", c.Name, err)
	}
	var i *ledger.Image
	n.cfg.Log.View(func(l *ledger.Ledger) { i = l.Image(c.Name) })
	if i == nil || i.Claim != c.Claim {
		return &ledger.Refusal{Code: ledger.Conflict, Message: fmt.Sprintf(
			"image %s is no longer being made by this request: see \"ddocker images\" for who has the name", c.Name)}
	}
	return nil
}

// nameFreeHere refuses a name that this engine has for another image than the one
// with the ID: somebody gave it with plain docker, and the cluster may not know yet.
// A name that is to be taken away here is free.
func (n *Node) nameFreeHere(ctx context.Context, name, id string) error {
	if name == "" {
		return nil
	}
	own, _, _, err := n.cfg.Engine.ImageLayers(ctx, name)
	if engine.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for image %s on host %s: %w", name, n.cfg.Name, err)
	}
	means, err := n.identify(ctx, own)
	if err != nil {
		means = own
	}
	free := means == id
	n.cfg.Log.View(func(l *ledger.Ledger) { free = free || l.Removing(n.cfg.ID, name, means) })
	if free {
		return nil
	}
	n.Kick() // which publishes it
	return &ledger.Refusal{Code: ledger.Conflict, Message: fmt.Sprintf(
		"image %s already exists on host %s, as %s: choose another name, or see \"ddocker images\"", name, n.cfg.Name, ledger.Short(means))}
}

// mayHave says whether the engine has the name, or does not tell.
func (n *Node) mayHave(name string) bool {
	if name == "" {
		return false
	}
	_, _, _, err := n.cfg.Engine.ImageLayers(n.life, name)
	return !engine.IsNotFound(err)
}

// committed records the new image in the ledger before anybody hears of it. Without
// a quorum the claim stands in for the name, and Reconcile names the image later;
// if the claim was given up meanwhile, nobody was told of the image, and it goes.
func (n *Node) committed(c Commit, reply []byte) (int, []byte, error) {
	var made struct{ ID string }
	if err := json.Unmarshal(reply, &made); err != nil {
		n.doubt(c.Claim)
		return 0, nil, fmt.Errorf("commit on %s: read the engine's reply: %w", n.cfg.Name, err)
	}
	id, _, err := n.clusterImage(n.life, made.ID)
	if err == nil {
		err = n.record(c, id)
	}
	if refusal, ok := errors.AsType[*ledger.Refusal](err); ok {
		n.undo(c.Name, made.ID, id)
		return 0, nil, refusal
	}
	if err != nil {
		n.log.Warn("image is made but the cluster does not know it yet", "name", c.Name, "image", ledger.Short(made.ID), "err", err)
		n.doubt(c.Claim)
		n.Kick()
	}
	if id == "" {
		id = made.ID
	}
	reply, err = json.Marshal(map[string]string{"Id": id})
	return statusCreated, reply, err
}

// record tells the ledger of a committed image.
func (n *Node) record(c Commit, id string) error {
	ctx, cancel := context.WithTimeout(n.life, proposeTimeout)
	defer cancel()
	if c.Claim == "" {
		return n.refreshImages(ctx)
	}
	i := ledger.Image{Name: c.Name, ID: id, Owner: c.Owner, Node: n.cfg.ID, Layers: n.layers(ctx, id)}
	result, _, err := n.cfg.Log.Propose(ctx, ledger.Command{NameImage: &ledger.NameImage{Image: i, Claim: c.Claim}})
	if err != nil {
		return err
	}
	if result.Refusal != nil {
		return result.Refusal
	}
	n.cfg.Crash.At(crash.CommitNamed)
	n.spread()
	return nil
}

// undo removes an image that was made and could not be named. The IDs are the engine's
// and the cluster's.
func (n *Node) undo(name, own, id string) {
	var err error
	if name == "" {
		_, err = n.drop(n.life, own, id)
	} else {
		_, err = n.untag(n.life, name, id, false)
	}
	if err != nil && !engine.IsNotFound(err) {
		n.log.Warn("image without its name stays", "name", name, "image", ledger.Short(own), "err", err)
	}
}

// unclaim gives a claim up. What fails here Reconcile does later.
func (n *Node) unclaim(claim string) {
	if claim == "" {
		return
	}
	ctx, cancel := context.WithTimeout(n.life, proposeTimeout)
	defer cancel()
	if _, _, err := n.cfg.Log.Propose(ctx, ledger.Command{Unclaim: &ledger.Unclaim{Claim: claim}}); err != nil {
		n.log.Warn("claim of an image's name is not yet given up", "claim", claim, "err", err)
		n.doubt(claim)
	}
}

// MoveName gives the cluster a name that this engine has given to an image by itself,
// as a build does: the name is taken from the image that had it, if that is the
// owner's or nobody's. A *ledger.Refusal tells whose it is.
func (n *Node) MoveName(ctx context.Context, id, name, owner string) error {
	cluster, _, err := n.clusterImage(ctx, id)
	if err != nil {
		return err
	}
	i := ledger.Image{Name: name, ID: cluster, Owner: owner, Node: n.cfg.ID, Layers: n.layers(ctx, cluster)}
	if err := n.naming.acquire(ctx); err != nil {
		return err
	}
	defer n.naming.release()
	if err := n.nameFreeHere(ctx, name, cluster); err != nil {
		return err // it was built again meanwhile
	}
	was := ""
	if err := n.cfg.Log.Read(ctx); err != nil {
		return err
	}
	n.cfg.Log.View(func(l *ledger.Ledger) {
		if old := l.Image(name); old != nil {
			was = old.ID
		}
	})
	result, index, err := n.cfg.Log.Propose(ctx, ledger.Command{NameImage: &ledger.NameImage{Image: i, Was: was}})
	if err == nil && result.Refusal != nil {
		err = result.Refusal
	}
	if err != nil {
		return fmt.Errorf("name image %s: %w", name, err)
	}
	n.spread()
	return n.cfg.Log.Wait(ctx, index)
}

// NameImage gives an image that this engine has a name of the cluster's. The ID is
// the engine's or the cluster's; an empty claim is none. The ledger has the name
// first: after a crash before the engine has it too, Reconcile gives it. An error
// that is a *ledger.Refusal tells who has the name, or that there is no image.
func (n *Node) NameImage(ctx context.Context, claim, id, name, owner string) error {
	cluster, own, err := n.clusterImage(ctx, id)
	if err != nil {
		return err
	}
	i := ledger.Image{Name: name, ID: cluster, Owner: owner, Node: n.cfg.ID, Layers: n.layers(ctx, cluster)}
	// Held until the engine has the name: to take it away meanwhile would come to
	// nothing, and it would be published again.
	if err := n.naming.acquire(ctx); err != nil {
		return err
	}
	defer n.naming.release()
	if err := n.nameFreeHere(ctx, name, cluster); err != nil {
		return err
	}
	result, _, err := n.cfg.Log.Propose(ctx, ledger.Command{NameImage: &ledger.NameImage{Image: i, Claim: claim}})
	if err != nil {
		return fmt.Errorf("name image %s: %w", name, err)
	}
	if result.Refusal != nil {
		return result.Refusal
	}
	n.spread()
	switch err := n.cfg.Engine.TagImage(ctx, own, name); {
	case engine.IsNotFound(err):
		n.Kick()
		return &ledger.Refusal{Code: ledger.Unknown, Message: fmt.Sprintf("No such image on host %s: %s", n.cfg.Name, id)}
	case err != nil:
		n.log.Warn("image has its name in the cluster, but not yet on this host", "name", name, "err", err)
		n.Kick()
	}
	return nil
}
