package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	named "github.com/distribution/reference"

	"ddocker/consensus/ledger"
)

// findImage finds the image that a person means. One that the ledger does not
// know yet, or cannot know without a quorum, is asked of all hosts.
func (a *API) findImage(ctx context.Context, ref string) (ledger.FoundImage, error) {
	found, err := a.knownImage(ctx, ref)
	var refusal *ledger.Refusal
	if _, _, local := ledger.CutHost(ref); errors.As(err, &refusal) && refusal.Code == ledger.Unknown && !local {
		return a.askImage(ctx, ref, refusal)
	}
	return found, err
}

// knownImage finds an image in the ledger. Only the newest state may say that
// there is none.
func (a *API) knownImage(ctx context.Context, ref string) (ledger.FoundImage, error) {
	a.publishBuilt(ctx, patience)
	name, _, _ := ledger.CutHost(ref)
	if _, err := named.ParseAnyReference(name); err != nil {
		return ledger.FoundImage{}, invalid("%s", err)
	}
	found, refusal := a.imageInLedger(ref)
	if refusal != nil && refusal.Code == ledger.Unknown && a.cfg.Log.Read(ctx) == nil {
		found, refusal = a.imageInLedger(ref)
	}
	if refusal != nil {
		return found, refusal
	}
	return found, nil
}

func (a *API) imageInLedger(ref string) (found ledger.FoundImage, refusal *ledger.Refusal) {
	a.cfg.Log.View(func(l *ledger.Ledger) { found, refusal = l.FindImage(ref) })
	return found, refusal
}

// calls says whether the node was last seen to have the image by the name.
func calls(n *ledger.Node, id, name string) bool {
	h := n.Holding(id)
	return h != nil && slices.Contains(h.Names, name)
}

// askImage asks all hosts for an image that the ledger does not know.
func (a *API) askImage(ctx context.Context, ref string, refusal *ledger.Refusal) (found ledger.FoundImage, err error) {
	name, _ := ledger.ImageName(ref)
	for _, one := range a.hosts.each(ctx, "/images/"+ref+"/json", nil) {
		var image struct{ ID string }
		if one.err != nil || json.Unmarshal(one.body, &image) != nil || image.ID == "" {
			continue
		}
		removed := false
		a.cfg.Log.View(func(l *ledger.Ledger) { removed = l.Removing(one.id, name, image.ID) })
		if !removed {
			return ledger.FoundImage{ID: image.ID, Node: one.id}, nil
		}
	}
	return found, refusal
}

// settledImage finds an image as findImage does. One that a host has had by
// itself, and the cluster has no name for yet, is published first.
func (a *API) settledImage(ctx context.Context, ref string) (ledger.FoundImage, error) {
	found, err := a.findImage(ctx, ref)
	if _, _, local := ledger.CutHost(ref); err != nil || local || found.Name != "" {
		return found, err
	}
	node := a.publisher(found, ref)
	if node == "" {
		return found, nil
	}
	a.settle(ctx, []string{node}, 0)
	if err := a.cfg.Log.Read(ctx); err != nil {
		return found, err
	}
	if settled, refusal := a.imageInLedger(ref); refusal == nil {
		return settled, nil
	}
	return found, nil
}

// publisher returns the node that has the image by this name, or by an ID that
// the ledger does not know; empty: ref is an ID that it knows.
func (a *API) publisher(found ledger.FoundImage, ref string) (node string) {
	name, _ := ledger.ImageName(ref)
	a.cfg.Log.View(func(l *ledger.Ledger) {
		if n := l.Node(found.Node); n != nil && !n.HasImage(found.ID) {
			node = found.Node
		}
		for _, id := range l.ImageHolders(found.ID) {
			if calls(l.Node(id), found.ID, name) {
				node = id
			}
		}
	})
	return node
}

// imageCopy is an image on a host that answers, and what it is called there.
type imageCopy struct {
	host
	ref string
}

// copies returns where the image is, hosts that have it by its name first and of
// those this one. It says why there is none.
func (a *API) copies(found ledger.FoundImage, ref string) ([]imageCopy, error) {
	var list []imageCopy
	var away []host
	for _, one := range a.hosts.all() {
		c := imageCopy{host: one}
		a.cfg.Log.View(func(l *ledger.Ledger) { c.ref = calledOn(l.Node(one.id), one.id, found) })
		switch {
		case c.ref == "":
		case a.hosts.answers(one.id):
			list = append(list, c)
		default:
			away = append(away, one)
		}
	}
	slices.SortStableFunc(list, func(x, y imageCopy) int { return a.worse(found, x) - a.worse(found, y) })
	switch {
	case len(list) > 0:
		return list, nil
	case len(away) > 0:
		return nil, fmt.Errorf("image %s is on host %s, which does not answer: see \"ddocker nodes\"", ref, hostNames(away))
	}
	return nil, ledger.NoImage(ref)
}

// calledOn returns what the image is called on a node, which the ledger may not
// know; empty: the node does not have it.
func calledOn(n *ledger.Node, id string, found ledger.FoundImage) string {
	switch {
	case found.Node != "" && found.Node != id, found.Node == "" && (n == nil || !n.HasImage(found.ID)):
		return ""
	case found.Name != "" && n != nil && calls(n, found.ID, found.Name):
		return found.Name
	}
	return found.ID
}

// worse ranks copies: one by another name is worse, and one elsewhere.
func (a *API) worse(found ledger.FoundImage, c imageCopy) (rank int) {
	if c.ref != found.Name {
		rank += 2
	}
	if c.id != a.cfg.Self {
		rank++
	}
	return rank
}

// copyOf returns a copy of the image that is really there: what the ledger knows
// of a host is some seconds old.
func (a *API) copyOf(ctx context.Context, found ledger.FoundImage, ref string) (imageCopy, error) {
	list, err := a.copies(found, ref)
	if err != nil {
		return imageCopy{}, err
	}
	for _, c := range list {
		_, err := a.hosts.get(ctx, c.id, "/images/"+c.ref+"/json", nil)
		var refused *statusError
		switch {
		case err == nil:
			return c, nil
		case errors.As(err, &refused) && refused.status == http.StatusNotFound:
		case ctx.Err() == nil && !answered(err):
			a.hosts.miss(c.id)
		}
	}
	return imageCopy{}, fmt.Errorf("image %s was on host %s, which does not show it now: try again in a moment", ref, list[0].name)
}

func hostNames(list []host) string {
	names := make([]string, len(list))
	for i, h := range list {
		names[i] = h.name
	}
	return strings.Join(names, ", ")
}
