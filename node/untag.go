package node

import (
	"context"
	"errors"
	"slices"

	"ddocker/consensus/ledger"
	"ddocker/engine"
)

// What is removed from the engine was listed a while ago. Commits, builds and plain
// docker do not wait for naming: each removal, and each tag, which takes the name from
// another image, looks once more, right before.

// untag takes a name off the image with the cluster's ID, and with the last name the
// image goes. A name that means another image by now, or is being given to one here,
// stays.
func (n *Node) untag(ctx context.Context, name, id string, force bool) ([]engine.RemovedImage, error) {
	making := false
	n.cfg.Log.View(func(l *ledger.Ledger) {
		making = slices.ContainsFunc(l.Claims(n.cfg.ID), func(i *ledger.Image) bool { return i.Name == name })
	})
	if making {
		return nil, nil
	}
	if means, err := n.meaning(ctx, name); err != nil || means != id {
		return nil, err
	}
	return n.cfg.Engine.RemoveImage(ctx, name, force)
}

// drop removes an image that has no name any more. The IDs are the engine's and the
// cluster's.
func (n *Node) drop(ctx context.Context, own, id string) ([]engine.RemovedImage, error) {
	list, err := n.cfg.Engine.Images(ctx)
	if err != nil {
		return nil, err
	}
	named := slices.ContainsFunc(list, func(i engine.Image) bool { return i.ID == own && slices.ContainsFunc(i.Refs, isName) })
	n.cfg.Log.View(func(l *ledger.Ledger) { named = named || len(l.ImageNames(id)) > 0 })
	if named || own == "" {
		return nil, nil
	}
	return n.cfg.Engine.RemoveImage(ctx, own, false)
}

// tag gives an image one more name. A namesake stays. The IDs are the engine's, which
// is empty for an image that it does not tell about, and the cluster's.
func (n *Node) tag(ctx context.Context, own, id, name string) error {
	if own == "" {
		return nil
	}
	err := n.nameFreeHere(ctx, name, id)
	if err == nil {
		return n.cfg.Engine.TagImage(ctx, own, name)
	}
	if _, taken := errors.AsType[*ledger.Refusal](err); taken {
		return nil
	}
	return err
}

// meansInCluster returns the ID that the name has in the cluster; empty: none.
func (n *Node) meansInCluster(name string) (id string) {
	n.cfg.Log.View(func(l *ledger.Ledger) {
		if i := l.Image(name); i != nil {
			id = i.ID
		}
	})
	return id
}
