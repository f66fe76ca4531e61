package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ddocker/consensus/ledger"
	"ddocker/engine"
	"ddocker/image"
)

// stock is what this host's engine has of images. IDs are the cluster's; some
// engines have their own.
type stock struct {
	seen   uint64           // how far in the log the list was begun
	images []ledger.Holding // by ID
	// cluster has the cluster's IDs by the engine's, engine the other way round.
	cluster, engine map[string]string
}

// takeStock lists the engine's images. What one of them is to the cluster does not
// change, so that an engine that fails to tell it once loses no name. Its caller
// holds naming.
func (n *Node) takeStock(ctx context.Context) (*stock, error) {
	s := &stock{cluster: map[string]string{}, engine: map[string]string{}}
	n.cfg.Log.View(func(l *ledger.Ledger) { s.seen = l.Index() })
	list, err := n.cfg.Engine.Images(ctx)
	if err != nil {
		return nil, err
	}
	for _, i := range list {
		id, failed := n.cfg.Library.ConfigID(ctx, i.ID)
		if failed != nil {
			id = n.stocked[i.ID]
		}
		if id != "" {
			s.add(id, i)
		} else if !errors.Is(failed, image.ErrUnknown) { // else it was removed since
			n.log.Debug("image is left out: its engine does not tell what it is", "image", short(i.ID), "err", failed)
			err = failed
		}
	}
	if len(s.images) == 0 && err != nil {
		return nil, fmt.Errorf("find out what images there are: %w", err)
	}
	for i := range s.images {
		slices.Sort(s.images[i].Names)
		s.images[i].Names = slices.Compact(s.images[i].Names)
	}
	n.stocked = s.cluster
	return s, ctx.Err()
}

// add takes an image into the stock. Two of the engine's may be one to the cluster.
func (s *stock) add(id string, i engine.Image) {
	s.cluster[i.ID] = id
	if s.engine[id] == "" || len(i.Refs) > 0 {
		s.engine[id] = i.ID
	}
	at, found := slices.BinarySearchFunc(s.images, id, byID)
	if !found {
		s.images = slices.Insert(s.images, at, ledger.Holding{ID: id, Size: i.Size})
	}
	s.images[at].Names = append(s.images[at].Names, i.Refs...)
}

func byID(h ledger.Holding, id string) int { return strings.Compare(h.ID, id) }

// holding returns the image with the ID, or nil.
func holding(images []ledger.Holding, id string) *ledger.Holding {
	if at, ok := slices.BinarySearchFunc(images, id, byID); ok {
		return &images[at]
	}
	return nil
}

// tagged returns what this engine's own names stand for. A digest is no name.
func tagged(images []ledger.Holding) map[string]string {
	ids := map[string]string{}
	for _, h := range images {
		for _, name := range h.Names {
			if isName(name) {
				ids[name] = h.ID
			}
		}
	}
	return ids
}

func isName(text string) bool {
	name, ok := ledger.ImageName(text)
	return ok && name == text
}

// tellImages tells the cluster which images this engine has, where the ledger says
// otherwise. Its caller holds naming.
func (n *Node) tellImages(ctx context.Context, s *stock) error {
	return n.amend(ctx, func(o *ledger.Observe) { o.Images, o.Seen = s.images, s.seen })
}

// refreshImages lists this engine's images anew and tells the cluster.
func (n *Node) refreshImages(ctx context.Context) error {
	if err := n.naming.acquire(ctx); err != nil {
		return err
	}
	defer n.naming.release()
	s, err := n.takeStock(ctx)
	if err != nil {
		return err
	}
	return n.tellImages(ctx, s)
}

// EngineImage returns what this engine calls the image with the cluster's ID; the
// ID itself where it does not have the image or does not tell.
func (n *Node) EngineImage(ctx context.Context, id string) string {
	own, err := n.cfg.Library.EngineID(ctx, id)
	if err != nil {
		return id
	}
	return own
}

// clusterImage returns the cluster's ID of an image that this engine has, and the
// engine's own. The ID may be either.
func (n *Node) clusterImage(ctx context.Context, id string) (cluster, own string, err error) {
	if cluster, err = n.cfg.Library.ConfigID(ctx, id); errors.Is(err, image.ErrUnknown) {
		cluster, err = id, nil
	}
	if err == nil {
		own, err = n.cfg.Library.EngineID(ctx, cluster)
	}
	if errors.Is(err, image.ErrUnknown) {
		return "", "", &ledger.Refusal{Code: ledger.Unknown, Message: fmt.Sprintf("No such image on host %s: %s", n.cfg.Name, id)}
	}
	if err != nil {
		return "", "", fmt.Errorf("look for image %s on %s: %w", id, n.cfg.Name, err)
	}
	return cluster, own, nil
}

// layers returns what an image of this engine is made of, nil where the engine
// does not tell: then the ledger does without.
func (n *Node) layers(ctx context.Context, id string) []ledger.Layer {
	list, err := n.cfg.Library.Outline(ctx, id)
	if err != nil {
		n.log.Debug("layers of an image are not known", "image", id, "err", err)
		return nil
	}
	layers := make([]ledger.Layer, len(list))
	for i, l := range list {
		layers[i] = ledger.Layer{Chain: l.Chain, Size: l.Size}
	}
	return layers
}

// short is an ID as people see it.
func short(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	return id[:min(12, len(id))]
}
