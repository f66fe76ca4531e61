package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/docker/docker/pkg/jsonmessage"

	"ddocker/consensus/ledger"
	"ddocker/image"
)

// importImage makes an image of a tar of files. Its name is the ledger's first.
func (a *API) importImage(w http.ResponseWriter, c *call) {
	query := c.URL.Query()
	name, err := imageName(query.Get("repo"), query.Get("tag"))
	if err != nil {
		fail(w, http.StatusBadRequest, "%s", err)
		return
	}
	if err := a.awake(c.Context(), a.cfg.Self); err != nil {
		failWith(w, err)
		return
	}
	claim, _, err := a.claim(c, ledger.Claim{Name: name, Node: a.cfg.Self})
	if err != nil {
		failWith(w, err)
		return
	}
	out := &messages{w: duplex(w)}
	query.Del("repo")
	query.Del("tag")
	id := ""
	err = a.relay(c, query, c.Body, out, func(m jsonmessage.JSONMessage) bool {
		if imageID.MatchString(m.Status) {
			id = m.Status
		}
		return id != "" // it is told when it has its name
	})
	if err == nil && id == "" {
		err = errors.New("the engine does not tell what it imported")
	}
	if err = a.fulfil(c.Context(), claim, id, err); err != nil {
		a.dropUnnamed(c.Context(), id)
		out.fail(err)
		return
	}
	out.status("", "%s", id)
}

var imageID = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// dropUnnamed removes an image of this engine that no name is left for, here or in
// the cluster.
func (a *API) dropUnnamed(ctx context.Context, id string) {
	if id == "" || a.wanted(id) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	var has struct{ RepoTags, RepoDigests []string }
	body, err := a.hosts.do(ctx, http.MethodGet, a.cfg.Self, "/images/"+id+"/json", nil)
	if err == nil {
		err = json.Unmarshal(body, &has)
	}
	if err == nil && len(has.RepoTags)+len(has.RepoDigests) == 0 {
		_, err = a.hosts.do(ctx, http.MethodDelete, a.cfg.Self, "/images/"+id, nil)
	}
	if err != nil {
		a.log.Warn("an image without a name is left over", "image", id, "err", err)
	}
}

// wanted says whether the image with the ID has a name of the cluster's, or a
// container. An engine that has it without the name may be about to get that.
func (a *API) wanted(id string) (wanted bool) {
	a.cfg.Log.View(func(l *ledger.Ledger) { wanted = len(l.ImageNames(id)) > 0 || l.ImageUser(id) != "" })
	return wanted
}

// idsHere returns the IDs of the images that this engine has.
func (a *API) idsHere(ctx context.Context) (map[string]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, settleClaim)
	defer cancel()
	body, err := a.hosts.do(ctx, http.MethodGet, a.cfg.Self, "/images/json", nil)
	var list []struct{ ID string }
	if err == nil {
		err = json.Unmarshal(body, &list)
	}
	ids := map[string]bool{}
	for _, i := range list {
		ids[i.ID] = true
	}
	return ids, err
}

// load has this engine take an archive, which is stripped of its names on the
// way: the engine would take them from other images. Those that are free, or
// stand for the same image, are given after it.
func (a *API) load(w http.ResponseWriter, c *call) {
	out := &messages{w: duplex(w)}
	err := a.awake(c.Context(), a.cfg.Self)
	var before map[string]bool
	if err == nil {
		before, err = a.idsHere(c.Context())
	}
	if err != nil {
		out.fail(err)
		return
	}
	archive, stripped := io.Pipe()
	type outcome struct {
		names []image.Named
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		names, err := image.StripNames(stripped, c.Body)
		stripped.CloseWithError(err)
		done <- outcome{names, err}
	}()
	var loaded []string
	err = a.relay(c, c.URL.Query(), io.NopCloser(archive), out, func(m jsonmessage.JSONMessage) bool {
		if !strings.HasPrefix(m.Stream, "Loaded image") {
			return false
		}
		loaded = slices.AppendSeq(loaded, strings.Lines(m.Stream))
		return true
	})
	if err == nil {
		io.Copy(io.Discard, archive) // what follows the last image
	}
	archive.CloseWithError(errors.New("the engine has stopped reading")) // ends StripNames if it has
	strip := <-done
	if strip.err != nil && (err == nil || !isEngines(err)) {
		err = invalid("%s", strip.err)
	}
	if err != nil {
		out.fail(err)
		return
	}
	if err := a.nameLoaded(c, strip.names, loaded, before, out); err != nil {
		out.fail(err)
	}
}

// duplex allows to answer a client while it still sends. The connection ends with
// the answer: what is left of the request might be gigabytes.
func duplex(w http.ResponseWriter) http.ResponseWriter {
	http.NewResponseController(w).EnableFullDuplex() // every HTTP/1 server can
	w.Header().Set("Connection", "close")
	return w
}

// isEngines says whether the engine itself told of the error.
func isEngines(err error) bool {
	var told *jsonmessage.JSONError
	return errors.As(err, &told) || answered(err)
}

// nameLoaded gives the archive's names to its images, and tells of them and of
// images without a name as the engine does. Those that got no name, and were not
// there before, go again. Errors come last: a client reads no further.
func (a *API) nameLoaded(c *call, names []image.Named, loaded []string, before map[string]bool, out *messages) error {
	owner := a.who(c).Name
	given := map[string]bool{} // by ID of an image: it has a name now
	var failed []error
	for _, n := range names {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), settleClaim)
		err := a.cfg.Images.NameImage(ctx, "", n.ID, n.Name, owner)
		cancel()
		given[n.ID] = given[n.ID] || err == nil
		if err != nil {
			failed = append(failed, a.taken(n.Name, err))
			continue
		}
		out.stream("Loaded image: " + n.Name + "\n")
	}
	for _, text := range loaded {
		_, id, _ := strings.Cut(strings.TrimSpace(text), ": ") // the engine's own
		if !slices.ContainsFunc(names, func(n image.Named) bool { return id == n.ID || id == a.cfg.EngineImage(c.Context(), n.ID) }) {
			out.stream(text)
		}
	}
	for id, ok := range given {
		if !ok && !before[id] {
			a.dropUnnamed(c.Context(), id)
		}
	}
	return errors.Join(failed...)
}
