package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/engine"
)

// removeTimeout bounds the removal of an image on one host.
const removeTimeout = 2 * time.Minute

// removeImage takes a name from an image on all hosts, or removes an image with
// all its names. Hosts that are away do so when they come back.
func (a *API) removeImage(w http.ResponseWriter, c *call) {
	query := c.URL.Query()
	force := query.Get("force") == "1" || query.Get("force") == "true"
	if freed, err := a.freeClaim(c.Context(), c.ref, force); freed != "" || err != nil {
		answerSteps(w, steps{{Untagged: freed}}, err)
		return
	}
	found, err := a.settledImage(c.Context(), c.ref)
	if err != nil {
		failWith(w, err)
		return
	}
	var done steps
	name, _, local := ledger.CutHost(c.ref)
	switch {
	case found.Name != "" && found.Node == "":
		err = a.unname(c.Context(), found.ID, []string{found.Name}, force, &done)
	case local:
		err = a.removeLocal(c, found, name, &done)
	case strings.Contains(c.ref, "@"): // a digest is no name of the cluster's
		err = a.removeCopies(c, found, c.ref, &done)
	default:
		err = a.removeByID(c, found, force, &done)
	}
	answerSteps(w, done, err)
}

func answerSteps(w http.ResponseWriter, done steps, err error) {
	if err != nil {
		failWith(w, err)
		return
	}
	reply(w, http.StatusOK, done)
}

// unname takes names from an image, and has the hosts that answer do so too. Without
// a quorum nothing is proposed: a leader that is cut off would keep it in its log, and
// it might be carried out after it was refused.
func (a *API) unname(ctx context.Context, id string, names []string, force bool, done *steps) error {
	if err := a.cfg.Log.Read(ctx); err != nil {
		return err
	}
	on := a.holders(id)
	var index uint64
	for _, name := range names {
		var err error
		if index, err = a.decide(ctx, ledger.Command{Unname: &ledger.Unname{Name: name, ID: id, Force: force}}); err != nil {
			return err
		}
		done.add(engine.RemovedImage{Untagged: name})
	}
	removed := a.settle(ctx, on, index)
	for _, node := range on {
		done.add(removed[node]...)
	}
	return nil
}

// removeByID removes an image with all its names, as docker does: by force only
// if it has more than one, or somebody uses it.
func (a *API) removeByID(c *call, found ledger.FoundImage, force bool, done *steps) error {
	var names []string
	var user string
	a.cfg.Log.View(func(l *ledger.Ledger) { names, user = l.ImageNames(found.ID), l.ImageUser(found.ID) })
	conflict := func(why string) error {
		return &ledger.Refusal{Code: ledger.Conflict, Message: fmt.Sprintf("conflict: unable to delete %s (must be forced) - %s", ledger.Short(found.ID), why)}
	}
	switch {
	case user != "" && !force:
		return conflict("image is being used by container " + user)
	case len(names) > 1 && !force:
		return conflict("image is referenced in multiple repositories")
	}
	if len(names) > 0 {
		if err := a.unname(c.Context(), found.ID, names, force, done); err != nil || user != "" {
			return err // an image that is used stays, without names
		}
	}
	err := a.removeCopies(c, found, found.ID, done)
	if len(names) > 0 && !answered(err) {
		return nil // the image went with its names, or does when its hosts come back
	}
	return err
}

// removeCopies has every host that has the image and answers remove what it
// calls so.
func (a *API) removeCopies(c *call, found ledger.FoundImage, ref string, done *steps) error {
	list, err := a.copies(found, c.ref)
	if err != nil {
		return err
	}
	err = ledger.NoImage(c.ref) // until one host still had it
	for _, one := range list {
		removed := a.removeFrom(c.Context(), one.host, ref, c.URL.Query(), done)
		var refused *statusError
		switch {
		case removed == nil:
			err = nil
		case errors.As(removed, &refused) && refused.status == http.StatusNotFound:
		default:
			return removed
		}
	}
	return err
}

// removeLocal removes what has the name on one host alone. Where that is the
// cluster's own image it is one copy of it that goes, and never the last.
func (a *API) removeLocal(c *call, found ledger.FoundImage, name string, done *steps) error {
	on := host{found.Node, a.hosts.name(found.Node)}
	var holders []string
	a.cfg.Log.View(func(l *ledger.Ledger) {
		if i := l.Image(found.Name); i != nil && i.ID == found.ID {
			holders = l.ImageHolders(found.ID)
		}
	})
	if holders == nil {
		return a.removeFrom(c.Context(), on, name, c.URL.Query(), done)
	}
	if !slices.ContainsFunc(holders, func(id string) bool {
		return id != on.id && a.hosts.answers(id) && a.HasImage(c.Context(), id, found.ID)
	}) {
		return &ledger.Refusal{Code: ledger.Conflict, Message: fmt.Sprintf(
			"conflict: host %s has the only copy of image %s that can be reached: to remove it from the cluster, use \"ddocker rmi %s\"", on.name, found.Name, found.Name)}
	}
	return a.removeFrom(c.Context(), on, found.ID, c.URL.Query(), done)
}

// removeFrom removes the image from one host alone.
func (a *API) removeFrom(ctx context.Context, on host, ref string, query url.Values, done *steps) error {
	if !a.hosts.answers(on.id) {
		return fmt.Errorf("image %s is on host %s, which does not answer: see \"ddocker nodes\"", ref, a.hosts.name(on.id))
	}
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	body, err := a.hosts.do(ctx, http.MethodDelete, on.id, "/images/"+ref, query)
	var refused *statusError
	switch {
	case errors.As(err, &refused):
		return &statusError{refused.status, fmt.Sprintf("host %s: %s", a.hosts.name(on.id), refused.message)}
	case err != nil:
		return fmt.Errorf("host %s does not answer: %w", a.hosts.name(on.id), err)
	}
	var removed []engine.RemovedImage
	if err := json.Unmarshal(body, &removed); err != nil {
		return fmt.Errorf("host %s: read what was removed: %w", a.hosts.name(on.id), err)
	}
	done.add(removed...)
	a.settle(ctx, []string{on.id}, 0) // so that the ledger knows at once
	return nil
}
