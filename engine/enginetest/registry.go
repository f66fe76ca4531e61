package enginetest

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/registry"
)

// Registry is all the registries of the world, for the twins that share it. The
// zero value is empty and open to everybody.
type Registry struct {
	mu     sync.Mutex // guards what follows; taken under a Twin's, never the other way
	auth   string
	images map[string]parts // by familiar reference, tags and digests
}

// Publish puts an image there, as AddLayered makes it, or without layers as
// AddImage does, and returns the ID that it has after a pull.
func (r *Registry) Publish(ref string, layers ...[]byte) (id string) {
	if len(layers) == 0 {
		layers = [][]byte{[]byte(familiar(ref))}
	}
	p := build(layers)
	r.put(familiar(ref), p)
	return digest(p.config)
}

// RequireAuth makes the registry deny all whose X-Registry-Auth header is not
// exactly this. Empty lets everybody in.
func (r *Registry) RequireAuth(header string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.auth = header
}

func (r *Registry) put(name string, p parts) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.images == nil {
		r.images = map[string]parts{}
	}
	r.images[name], r.images[published(name, p)] = p, p
}

// published is the name by digest that an image gets from a registry.
func published(name string, p parts) string {
	return repository(name) + "@" + digest(append([]byte("manifest of "), p.config...))
}

// offers returns the names that a pull of name means: itself, or all tags of a
// repository.
func (r *Registry) offers(name, auth string, all bool) map[string]parts {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := map[string]parts{}
	if r.auth != "" && auth != r.auth {
		return found
	}
	for offered, p := range r.images {
		if offered == name || all && repository(offered) == name && !isDigest(offered) {
			found[offered] = p
		}
	}
	return found
}

func (r *Registry) denies(auth string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.auth != "" && auth != r.auth
}

// Publish puts an image into the twin's registry. See Registry.Publish.
func (t *Twin) Publish(ref string, layers ...[]byte) (id string) {
	return t.cfg.Registry.Publish(ref, layers...)
}

// pull is POST /images/create?fromImage=…, of one image or, without tag and
// digest, of all tags of its repository.
func (t *Twin) pull(c call) reply {
	from, tag := strings.TrimSuffix(c.FormValue("fromImage"), ":"), c.FormValue("tag")
	switch {
	case strings.HasPrefix(tag, "sha256:"):
		from += "@" + tag
	case tag != "":
		from += ":" + tag
	}
	named, err := reference.ParseNormalizedNamed(from)
	if err != nil {
		return refuse(http.StatusBadRequest, "%v", err)
	}
	all := reference.IsNameOnly(named)
	name := familiar(from)
	if all {
		name = repository(from)
	}
	offers := t.cfg.Registry.offers(name, c.Header.Get(registry.AuthHeader), all)
	if len(offers) == 0 {
		return refuse(http.StatusNotFound, "pull access denied for %s, repository does not exist or may require 'docker login': denied: requested access to the resource is denied", repository(from))
	}
	names := make([]string, 0, len(offers))
	for offered := range offers {
		names = append(names, offered)
	}
	slices.Sort(names)
	var out stream
	newer := false
	for _, offered := range names {
		newer = t.receive(offered, offers[offered], &out) || newer
	}
	status := "Status: Image is up to date for "
	if newer {
		status = "Status: Downloaded newer image for "
	}
	return reply{http.StatusOK, append(out, message{Status: status + name})}
}

// receive takes one image from a registry, and returns whether it is new here.
func (t *Twin) receive(name string, p parts, out *stream) (newer bool) {
	digested := published(name, p)
	_, after, _ := strings.Cut(digested, "@")
	tag := after
	if !isDigest(name) {
		tag = name[strings.LastIndex(name, ":")+1:]
	}
	*out = append(*out, message{Status: "Pulling from " + reference.Path(parsed(name)), ID: tag})
	before, held := t.refs[name], t.holds(p)
	img := t.install(p)
	for i, l := range img.layers {
		if i < held {
			out.step(l, "Already exists", 0)
			continue
		}
		out.step(l, "Pulling fs layer", 0)
		out.step(l, "Downloading", int64(len(l.tar)))
		out.step(l, "Download complete", 0)
		out.step(l, "Extracting", int64(len(l.tar)))
		out.step(l, "Pull complete", 0)
	}
	*out = append(*out, message{Status: "Digest: " + after})
	t.refs[name], t.refs[digested] = img, img
	t.tellImage(img, "pull", name)
	return before == nil || before.id != img.id
}

// holds returns how many of an image's layers the engine has, from the bottom.
func (t *Twin) holds(p parts) (held int) {
	var below []*layer
	for _, tar := range p.tars {
		l := t.layers[chainOf(below, digest(tar))]
		if l == nil {
			break
		}
		below = append(below, l)
	}
	return len(below)
}

// push is POST /images/{ref}/push?tag=….
func (t *Twin) push(c call, ref string) reply {
	if c.Header.Get(registry.AuthHeader) == "" && len(c.body) == 0 {
		return refuse(http.StatusBadRequest, "Bad parameters and missing X-Registry-Auth: EOF")
	}
	name := familiar(ref + ":" + cmp.Or(c.FormValue("tag"), "latest"))
	img := t.refs[name]
	if img == nil {
		return refuse(http.StatusNotFound, "An image does not exist locally with the tag: %s", repository(ref))
	}
	out := stream{{Status: "The push refers to repository [" + parsed(name).Name() + "]"}}
	if t.cfg.Registry.denies(c.Header.Get(registry.AuthHeader)) {
		return out.complain("denied: requested access to the resource is denied")
	}
	for _, l := range img.layers {
		out.step(l, "Preparing", 0)
		out.step(l, "Pushed", 0)
	}
	t.cfg.Registry.put(name, img.parts)
	digested := published(name, img.parts)
	t.refs[digested] = img
	_, after, _ := strings.Cut(digested, "@")
	return reply{http.StatusOK, append(out, message{Status: name[strings.LastIndex(name, ":")+1:] + ": digest: " + after})}
}

// parsed is a familiar reference in its full form.
func parsed(name string) reference.Named {
	named, _ := reference.ParseNormalizedNamed(name) // familiar names are
	return named
}
