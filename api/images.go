package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	named "github.com/distribution/reference"
	"github.com/docker/docker/pkg/streamformatter"

	"ddocker/consensus/ledger"
)

// imageHolder passes the request to an engine that has the image.
func (a *API) imageHolder(w http.ResponseWriter, c *call) {
	found, err := a.findImage(c.Context(), c.ref)
	var at imageCopy
	if err == nil {
		at, err = a.copyOf(c.Context(), found, c.ref)
	}
	if err != nil {
		failWith(w, err)
		return
	}
	a.send(w, c, at.id, at.ref)
}

// imageConfig is what an image says of the containers made from it.
type imageConfig struct {
	ExposedPorts map[string]struct{} // such as "80/tcp"
	Env          []string
}

// imageConfig returns what the image itself says; nothing where no host has it.
func (a *API) imageConfig(ctx context.Context, ref string) imageConfig {
	found, err := a.findImage(ctx, ref)
	if err != nil {
		return imageConfig{}
	}
	list, err := a.copies(found, ref)
	if err != nil {
		return imageConfig{}
	}
	for _, c := range list {
		var image struct{ Config imageConfig }
		body, err := a.hosts.get(ctx, c.id, "/images/"+c.ref+"/json", nil)
		if err == nil && json.Unmarshal(body, &image) == nil {
			return image.Config
		}
	}
	return imageConfig{}
}

// save passes the request to a host that has all the images that it names; where
// there is none, they are brought here first.
func (a *API) save(w http.ResponseWriter, c *call) {
	query := c.URL.Query()
	var found []ledger.FoundImage
	for _, ref := range query["names"] {
		f, err := a.settledImage(c.Context(), ref)
		if err == nil {
			_, err = a.copies(f, ref)
		}
		if err != nil {
			failWith(w, err)
			return
		}
		found = append(found, f)
	}
	node, err := a.together(c.Context(), found)
	if err != nil {
		failWith(w, err)
		return
	}
	for i, f := range found {
		query["names"][i] = f.ID
		if f.Name != "" {
			query["names"][i] = f.Name
		}
	}
	a.send(w, c.withQuery(query), node, "")
}

// together returns a node that has all the images by their names.
func (a *API) together(ctx context.Context, found []ledger.FoundImage) (string, error) {
	nodes := []string{a.cfg.Self}
	for _, one := range a.hosts.all() {
		nodes = append(nodes, one.id)
	}
	for _, node := range nodes {
		if !slices.ContainsFunc(found, func(f ledger.FoundImage) bool { return !a.hasCopy(f, node) }) {
			return node, nil
		}
	}
	for _, f := range found {
		if f.Node != "" && f.Node != a.cfg.Self {
			return "", &ledger.Refusal{Code: ledger.Unknown, Message: fmt.Sprintf(
				"no host has all of these images, and one of them is host %s's alone: save them one by one", a.hosts.name(f.Node))}
		}
		if err := a.BringImage(ctx, a.cfg.Self, f.ID, f.Name); err != nil {
			return "", err
		}
	}
	return a.cfg.Self, nil
}

func (a *API) hasCopy(found ledger.FoundImage, node string) bool {
	list, err := a.copies(found, found.Name)
	return err == nil && slices.ContainsFunc(list, func(c imageCopy) bool {
		return c.id == node && (found.Name == "" || c.ref == found.Name)
	})
}

// push passes the request to a host that has the image by that name, or, where
// all of a repository are to be pushed, all of its names.
func (a *API) push(w http.ResponseWriter, c *call) {
	repo, host, _ := ledger.CutHost(c.ref)
	ref, err := named.ParseNormalizedNamed(repo)
	if err != nil {
		fail(w, http.StatusBadRequest, "%s", err)
		return
	}
	var found []ledger.FoundImage
	if tag := c.URL.Query().Get("tag"); tag != "" {
		name, err := imageName(repo, tag)
		if err != nil {
			fail(w, http.StatusBadRequest, "%s", err)
			return
		}
		if host != "" {
			name += "@" + host
		}
		f, err := a.settledImage(c.Context(), name)
		if err == nil {
			_, err = a.copies(f, name)
		}
		if isUnknown(err) {
			nothingToPush(w, ref)
			return
		}
		if err != nil {
			failWith(w, err)
			return
		}
		found = append(found, f)
	} else if found = a.repository(named.FamiliarName(ref)); len(found) == 0 {
		nothingToPush(w, ref)
		return
	}
	node, err := a.together(c.Context(), found)
	if err != nil {
		failWith(w, err)
		return
	}
	a.send(&headed{ResponseWriter: w, line: streamformatter.FormatStatus("", "Pushing from host %s", a.hosts.name(node))}, c, node, named.FamiliarName(ref))
}

// nothingToPush says so as an engine does, after it has begun to answer.
func nothingToPush(w http.ResponseWriter, ref named.Named) {
	w.Header().Set("Content-Type", "application/json")
	w.Write(streamformatter.FormatStatus("", "The push refers to repository [%s]", ref.Name()))
	w.Write(streamformatter.FormatError(&statusError{http.StatusNotFound, "An image does not exist locally with the tag: " + named.FamiliarName(ref)}))
}

// headed begins the stream of a success with a line of the cluster's.
type headed struct {
	http.ResponseWriter
	line []byte
}

// WriteHeader writes the line after it.
func (h *headed) WriteHeader(status int) {
	if status != http.StatusOK {
		h.ResponseWriter.WriteHeader(status)
		return
	}
	h.Header().Del("Content-Length")
	h.ResponseWriter.WriteHeader(status)
	h.Write(h.line) // an error is a client that has gone
}

// Unwrap lets http.ResponseController through.
func (h *headed) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// repository returns all images of the cluster whose names are of the repository.
func (a *API) repository(repo string) (found []ledger.FoundImage) {
	a.cfg.Log.View(func(l *ledger.Ledger) {
		for _, i := range l.Images() {
			if i.ID != "" && strings.HasPrefix(i.Name, repo+":") && !strings.Contains(i.Name[len(repo)+1:], "/") {
				found = append(found, ledger.FoundImage{ID: i.ID, Name: i.Name})
			}
		}
	})
	return found
}

// tag gives an image one more name, on all hosts that have it.
func (a *API) tag(w http.ResponseWriter, c *call) {
	query := c.URL.Query()
	name, err := imageName(query.Get("repo"), query.Get("tag"))
	if err != nil {
		fail(w, http.StatusBadRequest, "%s", err)
		return
	}
	found, err := a.settledImage(c.Context(), c.ref)
	if err != nil {
		failWith(w, err)
		return
	}
	on := a.holders(found.ID)
	if len(on) == 0 {
		failWith(w, ledger.NoImage(c.ref))
		return
	}
	index, err := a.decide(c.Context(), ledger.Command{NameImage: &ledger.NameImage{
		Image: ledger.Image{Name: name, ID: found.ID, Owner: a.who(c).Name},
	}})
	if err != nil {
		failWith(w, a.taken(name, err))
		return
	}
	a.settle(c.Context(), on, index)
	w.WriteHeader(http.StatusCreated)
}
