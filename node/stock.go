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
	told   []ledger.Holding // those of them that the cluster is told of
	// cluster has the cluster's IDs by the engine's, engine the other way round.
	cluster, engine map[string]string
	fresh           []string // engine's IDs that nobody looked into yet
}

// takeNaming takes naming and lists the engine's images. What is new among them it
// looks into with naming free: that may take minutes, and creates wait for naming.
func (n *Node) takeNaming(ctx context.Context) (*stock, error) {
	for last := false; ; last = true {
		if err := n.naming.acquire(ctx); err != nil {
			return nil, err
		}
		s, err := n.list(ctx, last)
		if err == nil && len(s.fresh) == 0 {
			return s, nil
		}
		n.naming.release()
		if err != nil {
			return nil, err
		}
		for _, own := range s.fresh {
			n.identify(ctx, own) // what it is, or that it fails, the next list knows
		}
	}
}

// takeStock lists the engine's images. Its caller holds naming.
func (n *Node) takeStock(ctx context.Context) (*stock, error) { return n.list(ctx, true) }

// list lists the engine's images. Those that nobody looked into yet it looks into
// itself, or it stops at saying which are fresh. Of those that the engine does not tell about now,
// it has what the cluster knows: their names are not lost for that.
func (n *Node) list(ctx context.Context, look bool) (*stock, error) {
	s := &stock{cluster: map[string]string{}, engine: map[string]string{}}
	var known []ledger.Holding
	n.cfg.Log.View(func(l *ledger.Ledger) {
		s.seen = l.Index()
		if m := l.Node(n.cfg.ID); m != nil {
			known = m.Observed.Images
		}
	})
	list, err := n.cfg.Engine.Images(ctx)
	if err != nil {
		return nil, err
	}
	var silent []engine.Image
	for _, i := range list {
		if _, known := n.identity(i.ID); !known && !look {
			s.fresh = append(s.fresh, i.ID)
			continue
		}
		id, failed := n.identify(ctx, i.ID)
		switch {
		case failed == nil:
			s.add(id, i)
		case !errors.Is(failed, image.ErrUnknown): // else it was removed since
			n.log.Debug("engine does not tell what an image is", "image", ledger.Short(i.ID), "err", failed)
			silent, err = append(silent, i), failed
		}
	}
	if len(s.fresh) > 0 {
		return s, ctx.Err()
	}
	s.recall(silent, known)
	if len(s.images) == 0 && err != nil {
		return nil, fmt.Errorf("find out what images there are: %w", err)
	}
	for i := range s.images {
		slices.Sort(s.images[i].Names)
		s.images[i].Names = slices.Compact(s.images[i].Names)
	}
	n.forgetIdentities(list)
	n.bound(s)
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

// recall takes into the stock what the cluster knows of images that the engine does
// not tell about: by a name that they have, and those without any all. Nothing is
// done with them: the engine's IDs of them are not known.
func (s *stock) recall(silent []engine.Image, known []ledger.Holding) {
	for _, i := range silent {
		for _, h := range known {
			same := slices.ContainsFunc(i.Refs, func(ref string) bool { return slices.Contains(h.Names, ref) })
			at, found := slices.BinarySearchFunc(s.images, h.ID, byID)
			if !found && (same || len(i.Refs) == 0 && len(h.Names) == 0) {
				s.images = slices.Insert(s.images, at, ledger.Holding{ID: h.ID, Names: slices.Clone(h.Names), Size: h.Size})
			}
		}
	}
}

func byID(h ledger.Holding, id string) int { return strings.Compare(h.ID, id) }
