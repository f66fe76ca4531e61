package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/crash"
	"ddocker/engine"
	"ddocker/image"
)

// Bring makes sure that this engine has the image with the ID, which another host
// may have to give, and by the cluster's name if that is not empty. Report, which
// may be nil, is told how far it is, until Bring returns. An image that was brought
// for a name which is gone by then is removed again, with a *ledger.Refusal.
// *image.NoRoomError and *image.HoldersError are among the other errors. Whoever
// asked for it, what comes is a copy, which may be removed when the disk is full.
func (n *Node) Bring(ctx context.Context, id, name string, report func(image.Progress)) error {
	if err := n.learnOf(ctx, id); err != nil {
		return err
	}
	err := n.cfg.Images.Bring(ctx, image.Want{
		ID:      id,
		Holders: func() []string { return n.holders(id) },
		Keep:    func(ctx context.Context) error { return n.keep(ctx, id, name) },
		Report:  report,
	})
	if err == nil {
		return nil
	}
	if refusal, ok := errors.AsType[*ledger.Refusal](err); ok {
		return refusal
	}
	if failed, ok := errors.AsType[*image.HoldersError](err); ok {
		err = &namedError{n.whoFailed(failed), failed}
	}
	return fmt.Errorf("bring image %s to host %s: %w", cmp.Or(name, ledger.Short(id)), n.cfg.Name, err)
}

// learnOf catches up with the ledger where nobody is known to have the image: whoever
// asks for it may know more.
func (n *Node) learnOf(ctx context.Context, id string) error {
	known := false
	n.cfg.Log.View(func(l *ledger.Ledger) { known = len(l.ImageHolders(id)) > 0 })
	if known {
		return nil
	}
	if err := n.cfg.Log.Read(ctx); err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	return nil
}

// namedError tells in the hosts' names what its cause tells in IDs.
type namedError struct {
	words string
	cause *image.HoldersError
}

func (e *namedError) Error() string { return e.words }
func (e *namedError) Unwrap() error { return e.cause }

// whoFailed says which hosts could not give an image, and why.
func (n *Node) whoFailed(e *image.HoldersError) (words string) {
	n.cfg.Log.View(func(l *ledger.Ledger) {
		if len(e.Failures) == 0 {
			words = n.away(l, ledger.Short(e.ID), l.ImageHolders(e.ID)).Message
			return
		}
		var each []string
		for _, f := range e.Failures {
			each = append(each, fmt.Sprintf("host %s: %v", nodeName(l, f.Node), f.Err))
		}
		words = fmt.Sprintf("no host could give image %s: %s: see \"ddocker nodes\"", ledger.Short(e.ID), strings.Join(each, "; "))
	})
	return words
}

// away is the refusal for an image that only hosts have that do not answer.
func (n *Node) away(l *ledger.Ledger, image string, on []string) *ledger.Refusal {
	var names []string
	for _, node := range on {
		if node != n.cfg.ID {
			names = append(names, nodeName(l, node))
		}
	}
	if len(names) == 0 {
		return &ledger.Refusal{Code: ledger.Unknown, Message: "No such image: " + image}
	}
	slices.Sort(names)
	answer := "does"
	if len(names) > 1 {
		answer = "do"
	}
	return &ledger.Refusal{Code: ledger.Unknown, Message: fmt.Sprintf(
		"image %s is on host %s, which %s not answer: see \"ddocker nodes\"", image, strings.Join(names, ", "), answer)}
}

func nodeName(l *ledger.Ledger, id string) string {
	if m := l.Node(id); m != nil {
		return m.Name
	}
	return id
}

// holders returns the live nodes that have the image, but this one, in an order of
// their own each time: many that want it should not all ask the same.
func (n *Node) holders(id string) (on []string) {
	n.cfg.Log.View(func(l *ledger.Ledger) { on = l.ImageHolders(id) })
	on = slices.DeleteFunc(on, func(node string) bool { return node == n.cfg.ID || !n.cfg.Peers.Alive(node) })
	rand.Shuffle(len(on), func(i, j int) { on[i], on[j] = on[j], on[i] })
	return on
}

// keep tells the cluster that the image is here, and then gives it the names that it
// has in the cluster; the given one it must have. In this order, whoever takes a
// name away sees that this node has to do it, too. A crash before leaves an image
// without a name, which the Mover removes when the agent starts.
func (n *Node) keep(ctx context.Context, id, name string) error {
	have, err := n.takeNaming(ctx)
	if err != nil {
		return err
	}
	defer n.naming.release()
	if ledger.FindHolding(have.images, id) == nil {
		return fmt.Errorf("image %s came to %s and is gone again: see who removes images there", ledger.Short(id), n.cfg.Name)
	}
	if err = n.tellImages(ctx, have); err == nil {
		n.cfg.Crash.At(crash.ImagePublished)
		err = n.giveNames(ctx, have, id, name)
	}
	if err != nil {
		n.Kick() // the cluster may count on an image that goes again
	}
	return err
}

// giveNames gives the image the names that it has in the cluster, of which the given
// one must be, unless it is empty.
func (n *Node) giveNames(ctx context.Context, have *stock, id, name string) error {
	if err := n.cfg.Log.Read(ctx); err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	var names []string
	n.cfg.Log.View(func(l *ledger.Ledger) { names = l.ImageNames(id) })
	if name != "" && !slices.Contains(names, name) {
		return &ledger.Refusal{Code: ledger.Unknown, Message: fmt.Sprintf("No such image: %s (its name was taken away meanwhile)", name)}
	}
	here := tagged(have.images)
	for _, name := range names {
		if here[name] != "" {
			continue // a namesake stays
		}
		if err := n.tag(ctx, have.engine[id], id, name); err != nil {
			return err
		}
	}
	return nil
}

// provide makes sure that the image of a placement is here, and returns what the
// engine is to be asked for; empty: the name that was asked for means it here. What
// it cannot provide releases the placement: nothing was asked of the engine yet. A
// crash meanwhile leaves a reservation without a container, which expires.
func (n *Node) provide(p *ledger.Placement) (ref string, err error) {
	if p.ImageID == "" {
		return "", nil // nobody knows more than its name
	}
	n.cfg.Images.Used(p.ImageID)
	n.awaitEviction(p.ImageID)
	means, err := n.meaning(n.life, p.Image)
	if err == nil && means != p.ImageID {
		if err := n.bringFor(p); err != nil {
			if _, full := errors.AsType[*image.NoRoomError](err); full {
				return "", n.elsewhere(p.ID, "%v", err)
			}
			n.release(p.ID)
			return "", err
		}
		n.cfg.Images.Used(p.ImageID)
		means, err = n.meaning(n.life, p.Image)
	}
	switch {
	case err != nil:
		why := n.elsewhere(p.ID, "%s is %s: %v", n.cfg.Name, engineSilent, err)
		n.closeSilent()
		return "", why
	case means == p.ImageID:
		return "", nil
	}
	return n.EngineImage(n.life, p.ImageID), nil
}

// An image that comes for a container has bringAtLeast, and a second more for as many
// bytes as slowestRate of what is missing.
const (
	bringAtLeast = 5 * time.Minute
	slowestRate  = 1 << 20
)

// bringFor brings the image of a placement, as long as somebody may wait for it.
func (n *Node) bringFor(p *ledger.Placement) error {
	missing := int64(0)
	n.cfg.Log.View(func(l *ledger.Ledger) { missing = l.Missing(p.ImageID)(n.cfg.ID) })
	limit := bringAtLeast + time.Duration(missing/slowestRate)*time.Second
	ctx, cancel := context.WithTimeoutCause(n.life, limit, fmt.Errorf("it has not come within %v", limit))
	defer cancel()
	return n.Bring(ctx, p.ImageID, n.clusterName(p), nil)
}

// closeSilent tells the cluster that the engine does not answer, until Reconcile
// finds that it does.
func (n *Node) closeSilent() {
	ctx, cancel := context.WithTimeout(n.life, proposeTimeout)
	defer cancel()
	n.close(ctx, engineSilent)
	n.Kick()
}

// meaning returns the cluster's ID of what the engine takes a reference for; empty:
// nothing, as always for name@host, or an image that it does not tell about.
func (n *Node) meaning(ctx context.Context, ref string) (id string, err error) {
	if _, _, local := ledger.CutHost(ref); local {
		return "", nil
	}
	own, _, _, err := n.cfg.Engine.ImageLayers(ctx, ref)
	if engine.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if id, err = n.identify(ctx, own); err != nil && ctx.Err() == nil {
		n.log.Debug("engine does not tell what an image is", "image", ledger.Short(own), "err", err)
		return "", nil
	}
	return id, err
}

// clusterName returns the name that the placement's image has in the cluster, if it
// was asked for by that.
func (n *Node) clusterName(p *ledger.Placement) string {
	var found ledger.FoundImage
	n.cfg.Log.View(func(l *ledger.Ledger) { found, _ = l.FindImage(p.Image) })
	if found.ID != p.ImageID || found.Node != "" {
		return ""
	}
	return found.Name
}
