package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"ddocker/consensus/ledger"
	"ddocker/image"
)

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

// maxTold bounds in bytes what one command tells of images. A command may have twice
// as much in all.
const maxTold = 512 << 10

// encoded is how many bytes a value has in the log, about.
func encoded(value any) int {
	data, _ := json.Marshal(value) // of strings and numbers: cannot fail
	return len(data) + 1
}

// bound leaves images without a tag out of what the cluster is told where there are
// too many. Its caller holds naming.
func (n *Node) bound(s *stock) {
	size, left := 0, 0
	for _, h := range s.images {
		size += encoded(h)
	}
	s.told = slices.Clone(s.images)
	if size > maxTold {
		s.told = slices.DeleteFunc(s.told, func(h ledger.Holding) bool {
			if size <= maxTold || slices.ContainsFunc(h.Names, isName) {
				return false
			}
			size -= encoded(h)
			left++
			return true
		})
	}
	if left > n.leftOut {
		n.log.Warn("this host has more images than the cluster keeps account of: remove those without a name with \"docker image prune\"", "left out", left)
	}
	n.leftOut = left
}

// tellImages tells the cluster which images this engine has, where the ledger says
// otherwise. Its caller holds naming.
func (n *Node) tellImages(ctx context.Context, s *stock) error {
	return n.amend(ctx, func(o *ledger.Observe) { o.Images, o.Seen = s.told, s.seen })
}

// refreshImages lists this engine's images anew and tells the cluster.
func (n *Node) refreshImages(ctx context.Context) error {
	s, err := n.takeNaming(ctx)
	if err != nil {
		return err
	}
	defer n.naming.release()
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
