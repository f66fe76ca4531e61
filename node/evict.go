package node

import (
	"context"
	"fmt"
	"slices"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/engine"
	"ddocker/image"
)

const evictEvery = time.Minute

// evictLoop removes copies that came here from other hosts while the disk is fuller
// than the cluster wants: those for containers, for replicas, and those that a person
// had brought here by a pull or by replicate. What this engine pulled from a registry,
// built, loaded or committed itself is no copy.
func (n *Node) evictLoop(ctx context.Context) {
	for wait(ctx, evictEvery) {
		if err := n.evictCopies(ctx); err != nil && ctx.Err() == nil {
			n.log.Warn("copies of images are not removed", "err", err)
		}
	}
}

// evictCopies removes copies, those that were not used for the longest time first,
// until the disk is empty enough. The ledger lets go only those that no container
// here uses and that enough other hosts have.
func (n *Node) evictCopies(ctx context.Context) error {
	if !n.diskFull() {
		return nil
	}
	copies := n.cfg.Images.Copies()
	slices.SortFunc(copies, func(a, b image.Copy) int { return a.Used.Compare(b.Used) })
	for _, c := range copies {
		if err := n.evict(ctx, c.ID); err != nil {
			return err
		}
		if !n.diskFull() {
			return nil
		}
	}
	return nil
}

// diskFull says whether the disk of the engine's images is fuller than it should be.
func (n *Node) diskFull() bool {
	free, total, err := n.cfg.Disk()
	if err != nil || total <= 0 {
		return false
	}
	most := 0
	n.cfg.Log.View(func(l *ledger.Ledger) { most = l.Settings().ImageDisk })
	return (total-free)/max(1, total/100) > int64(most)
}

// evict removes one copy if the ledger allows it. Whoever makes a container from it
// looks for it either before the ledger was asked, which then refuses, or when this
// is over: see awaitEviction. A crash in between leaves an image that Reconcile lists
// again.
func (n *Node) evict(ctx context.Context, id string) error {
	have, err := n.takeNaming(ctx)
	if err != nil {
		return err
	}
	defer n.naming.release()
	h := ledger.FindHolding(have.images, id)
	if h == nil {
		n.cfg.Images.Forget(id)
		return nil
	}
	if err := n.tellImages(ctx, have); err != nil {
		return err
	}
	if have.engine[id] == "" || n.scarce(ctx, id) {
		return nil
	}
	defer n.beginEviction(id)()
	result, index, err := n.cfg.Log.Propose(ctx, ledger.Command{Evict: &ledger.Evict{Node: n.cfg.ID, ID: id}})
	if err != nil {
		return fmt.Errorf("ask to remove image %s: %w", ledger.Short(id), err)
	}
	if result.Refusal != nil {
		n.log.Debug("copy of an image stays", "image", ledger.Short(id), "err", result.Refusal)
		return nil
	}
	if err := n.cfg.Log.Wait(ctx, index); err != nil {
		return err
	}
	if !n.scarce(ctx, id) { // others may have been allowed the same
		n.removeCopy(ctx, have, h)
	}
	after, err := n.takeStock(ctx)
	if err != nil {
		return err
	}
	if ledger.FindHolding(after.images, id) == nil {
		n.log.Info("copy of an image removed to make room", "image", ledger.Short(id), "names", h.Names)
		n.cfg.Images.Forget(id)
	}
	return n.tellImages(ctx, after)
}

// beginEviction has the containers that are to be made from the image wait until the
// function that it returns is called.
func (n *Node) beginEviction(id string) (end func()) {
	over := make(chan struct{})
	n.mu.Lock()
	defer n.mu.Unlock()
	n.evicting[id] = over
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.evicting, id)
		close(over)
	}
}

// awaitEviction returns when no eviction of the image is under way. The ledger refuses
// a later one to whoever has a placement with the image by then.
func (n *Node) awaitEviction(id string) {
	n.mu.Lock()
	over := n.evicting[id]
	n.mu.Unlock()
	if over == nil {
		return
	}
	select {
	case <-over:
	case <-n.life.Done():
	}
}

// scarce says whether too few live hosts would have the image without this one, by
// their own word: what the ledger knows of them may be some time old, and it does not
// know who is alive.
func (n *Node) scarce(ctx context.Context, id string) bool {
	want, found := 0, 0
	n.cfg.Log.View(func(l *ledger.Ledger) { want = l.Settings().ImageReplicas })
	on := n.holders(id)
	for len(on) > 0 && found+len(on) >= want && found < want {
		if n.cfg.Peers.HasImage(ctx, on[0], id) {
			found++
		}
		on = on[1:]
	}
	return found < want
}

// removeCopy takes all names off an image, and with the last one the engine removes
// it. None of it is by force: a container that was made a moment ago keeps its image.
func (n *Node) removeCopy(ctx context.Context, have *stock, h *ledger.Holding) {
	refs := slices.DeleteFunc(slices.Clone(h.Names), func(name string) bool { return !isName(name) })
	if len(refs) == 0 {
		refs = []string{have.engine[h.ID]}
	}
	for _, ref := range refs {
		if _, err := n.untag(ctx, ref, h.ID, false); err != nil && !engine.IsNotFound(err) {
			n.log.Warn("copy of an image stays", "image", ledger.Short(h.ID), "name", ref, "err", err)
			return
		}
	}
}
