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

// evictLoop removes copies that the cluster made here while the disk is fuller than
// the cluster wants.
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

// evict removes one copy if the ledger allows it. It holds naming all the while:
// whoever makes a container looks for its image either before the ledger was asked,
// which then refuses, or after the image is gone. A crash in between leaves an
// image that Reconcile lists again.
func (n *Node) evict(ctx context.Context, id string) error {
	if err := n.naming.acquire(ctx); err != nil {
		return err
	}
	defer n.naming.release()
	have, err := n.takeStock(ctx)
	if err != nil {
		return err
	}
	h := holding(have.images, id)
	if h == nil {
		n.cfg.Images.Forget(id)
		return nil
	}
	if err := n.tellImages(ctx, have); err != nil {
		return err
	}
	if n.outnumbered(id) {
		return nil
	}
	result, index, err := n.cfg.Log.Propose(ctx, ledger.Command{Evict: &ledger.Evict{Node: n.cfg.ID, ID: id}})
	if err != nil {
		return fmt.Errorf("ask to remove image %s: %w", short(id), err)
	}
	if result.Refusal != nil {
		n.log.Debug("copy of an image stays", "image", short(id), "err", result.Refusal)
		return nil
	}
	if err := n.cfg.Log.Wait(ctx, index); err != nil {
		return err
	}
	if !n.outnumbered(id) { // others may have been allowed the same
		n.removeCopy(ctx, have, h)
	}
	after, err := n.takeStock(ctx)
	if err != nil {
		return err
	}
	return n.tellImages(ctx, after)
}

// outnumbered says whether too few live hosts would have the image without this
// one. The ledger, which decides, does not know who is alive.
func (n *Node) outnumbered(id string) bool {
	want := 0
	n.cfg.Log.View(func(l *ledger.Ledger) { want = l.Settings().ImageReplicas })
	return len(n.holders(id)) < want
}

// removeCopy takes all names off an image, and with the last one the engine removes
// it. None of it is by force: a container that was made a moment ago keeps its image.
func (n *Node) removeCopy(ctx context.Context, have *stock, h *ledger.Holding) {
	refs := slices.DeleteFunc(slices.Clone(h.Names), func(name string) bool { return !isName(name) })
	if len(refs) == 0 {
		refs = []string{have.engine[h.ID]}
	}
	for _, ref := range refs {
		if _, err := n.cfg.Engine.RemoveImage(ctx, ref, false); err != nil && !engine.IsNotFound(err) {
			n.log.Warn("copy of an image stays", "image", short(h.ID), "name", ref, "err", err)
			return
		}
	}
	n.log.Info("copy of an image removed to make room", "image", short(h.ID), "names", h.Names)
	n.cfg.Images.Forget(h.ID)
}
