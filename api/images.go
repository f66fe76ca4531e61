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

	named "github.com/distribution/reference"

	"ddocker/consensus/ledger"
)

// imageHosts returns the hosts that have the image and answer, this one first.
// Away names those that had it when last seen and do not answer.
func (a *API) imageHosts(ctx context.Context, ref string) (have, away []host) {
	for _, one := range a.hosts.each(ctx, "/images/"+ref+"/json", nil) {
		var refused *statusError
		switch {
		case errors.As(one.err, &refused) && refused.status == http.StatusNotFound:
		case one.err != nil:
			a.cfg.Log.View(func(l *ledger.Ledger) {
				if n := l.Node(one.id); n != nil && (n.HasImage(familiar(ref)) || n.HasImage(ref)) {
					away = append(away, one.host)
				}
			})
		case one.id == a.cfg.Self:
			have = slices.Insert(have, 0, one.host)
		default:
			have = append(have, one.host)
		}
	}
	return have, away
}

// imageHolders returns the hosts that have the image and answer, or says why
// there is none.
func (a *API) imageHolders(ctx context.Context, ref string) ([]host, error) {
	have, away := a.imageHosts(ctx, ref)
	switch {
	case len(have) > 0:
		return have, nil
	case len(away) > 0:
		return nil, fmt.Errorf("image %s is on host %s, which does not answer: see \"ddocker nodes\"", ref, hostNames(away))
	}
	return nil, &ledger.Refusal{Code: ledger.Unknown, Message: "No such image: " + ref}
}

// imageExposes returns the ports that the image itself exposes, as "80/tcp"; none
// where no host has it.
func (a *API) imageExposes(ctx context.Context, ref string) map[string]struct{} {
	if !reference.MatchString(ref) {
		return nil
	}
	for _, one := range a.hosts.each(ctx, "/images/"+ref+"/json", nil) {
		var image struct {
			Config struct{ ExposedPorts map[string]struct{} }
		}
		if one.err == nil && json.Unmarshal(one.body, &image) == nil {
			return image.Config.ExposedPorts
		}
	}
	return nil
}

// imageHolder passes the request to an engine that has the image.
func (a *API) imageHolder(w http.ResponseWriter, c *call) {
	have, err := a.imageHolders(c.Context(), c.ref)
	if err != nil {
		failWith(w, err)
		return
	}
	a.send(w, c, have[0].id, c.ref)
}

// removeTimeout bounds the removal of an image on one host.
const removeTimeout = 2 * time.Minute

// save passes the request to an engine that has all the images that it names.
func (a *API) save(w http.ResponseWriter, c *call) {
	names := c.URL.Query()["names"]
	var have []host
	for i, name := range names {
		if !reference.MatchString(name) {
			fail(w, http.StatusBadRequest, "invalid reference format: %q", name)
			return
		}
		with, err := a.imageHolders(c.Context(), name)
		if err != nil {
			failWith(w, err)
			return
		}
		if i == 0 {
			have = with
		}
		have = slices.DeleteFunc(have, func(h host) bool { return !slices.Contains(with, h) })
	}
	if len(have) == 0 {
		fail(w, http.StatusNotFound, "no host has all of these images: %s: save them one by one", strings.Join(names, ", "))
		return
	}
	a.send(w, c, have[0].id, "")
}

// removeImage removes the image from every host that has it, unless a container
// of the cluster was made from it.
func (a *API) removeImage(w http.ResponseWriter, c *call) {
	force := c.URL.Query().Get("force")
	if user := a.imageUser(c.ref); user != "" && force != "1" && force != "true" {
		fail(w, http.StatusConflict, "conflict: unable to remove repository reference %q (must force) - container %s is using it", c.ref, user)
		return
	}
	have, err := a.imageHolders(c.Context(), c.ref)
	if err != nil {
		failWith(w, err)
		return
	}
	var done []json.RawMessage
	for _, one := range have {
		ctx, cancel := context.WithTimeout(c.Context(), removeTimeout)
		body, err := a.hosts.do(ctx, http.MethodDelete, one.id, c.to(c.ref), c.URL.Query())
		cancel()
		var refused *statusError
		switch {
		case errors.As(err, &refused):
			fail(w, refused.status, "host %s: %s", one.name, refused.message)
			return
		case err != nil:
			fail(w, http.StatusBadGateway, "host %s does not answer: %s", one.name, err)
			return
		}
		var steps []json.RawMessage
		if err := json.Unmarshal(body, &steps); err != nil {
			fail(w, http.StatusBadGateway, "host %s: read what was removed: %s", one.name, err)
			return
		}
		for _, s := range steps {
			if !slices.ContainsFunc(done, func(d json.RawMessage) bool { return string(d) == string(s) }) {
				done = append(done, s)
			}
		}
	}
	reply(w, http.StatusOK, done)
}

// imageUser names a container of the cluster that was made from the image.
func (a *API) imageUser(ref string) (user string) {
	want := familiar(ref)
	a.cfg.Log.View(func(l *ledger.Ledger) {
		for _, n := range l.Nodes() {
			for _, p := range l.Placed(n.Node) {
				if familiar(p.Image) == want {
					user = fmt.Sprintf("%s on host %s", p.Name, n.Name)
					return
				}
			}
		}
	})
	return user
}

// familiar returns the image's name as docker shows it, with its tag.
func familiar(ref string) string {
	if full, err := named.ParseDockerRef(ref); err == nil {
		return named.FamiliarString(full)
	}
	return ref
}

// commit makes an image of a container on its holder. A name that any host
// already has is refused: the engine would take it from the other image.
func (a *API) commit(w http.ResponseWriter, c *call) {
	query := c.URL.Query()
	t, ok := a.located(w, c, query.Get("container"))
	if !ok {
		return
	}
	if repo := query.Get("repo"); repo != "" {
		name, err := commitName(repo, query.Get("tag"))
		if err != nil {
			fail(w, http.StatusBadRequest, "%s", err)
			return
		}
		have, away := a.imageHosts(c.Context(), name)
		if owners := append(have, away...); len(owners) > 0 {
			fail(w, http.StatusConflict, "image %s already exists on host %s: choose another name, or remove it with \"ddocker rmi %s\"", name, hostNames(owners), name)
			return
		}
	}
	query.Set("container", t.Container)
	out := *c
	out.Request = c.Request.Clone(c.Context())
	out.URL = &url.URL{RawQuery: query.Encode()}
	a.send(w, &out, t.Node, "")
}

func commitName(repo, tag string) (string, error) {
	n, err := named.ParseNormalizedNamed(repo)
	if err == nil && tag != "" {
		n, err = named.WithTag(n, tag)
	}
	if err != nil {
		return "", fmt.Errorf("invalid image name %q: %w", strings.TrimSuffix(repo+":"+tag, ":"), err)
	}
	return named.FamiliarString(named.TagNameOnly(n)), nil
}

func hostNames(list []host) string {
	var names []string
	for _, h := range list {
		names = append(names, h.name)
	}
	return strings.Join(names, ", ")
}
