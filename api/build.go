package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/docker/docker/pkg/streamformatter"

	"ddocker/consensus/ledger"
)

const (
	// publishTimeout bounds how long a build waits for the names of what it built,
	// and namesTimeout how long it does for the engine's list: more than an engine
	// takes that builds.
	publishTimeout = 30 * time.Second
	namesTimeout   = 10 * time.Second
	// publishAgain is when it tries again.
	publishAgain = time.Second
)

// builds are the builds that this node's engine may be about. An engine tags what it
// built by itself, and what BuildKit is told on a connection of its own is not for
// others to read: so what names the engine has changed while builds are open is what
// was built. Those names are the cluster's before the client can ask for them.
type builds struct {
	mu     sync.Mutex // guards what follows
	owners []string   // of the open builds
	names  map[string]string
	// turn is held by whoever compares the engine's names; made by the first.
	turn chan struct{}
}

// open notes a build. Its names are those that the engine has when the first begins.
func (a *API) openBuild(ctx context.Context, owner string) error {
	b := &a.builds
	b.mu.Lock()
	if b.turn == nil {
		b.turn = make(chan struct{}, 1)
	}
	turn := b.turn
	b.mu.Unlock()
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-turn }()
	b.mu.Lock()
	first := len(b.owners) == 0
	b.mu.Unlock()
	var names map[string]string
	if first {
		ctx, cancel := context.WithTimeout(ctx, namesTimeout)
		defer cancel()
		var err error
		if names, err = a.namesHere(ctx); err != nil {
			return fmt.Errorf("the Docker Engine of %s does not answer: %w", a.cfg.Name, err)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.owners = append(b.owners, owner)
	if first {
		b.names = names
	}
	return nil
}

// closeBuild publishes what was built, again where it fails, and ends the build.
func (a *API) closeBuild(ctx context.Context, owner string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishTimeout)
	defer cancel()
	for err := a.publishBuilt(ctx, namesTimeout); err != nil; err = a.publishBuilt(ctx, namesTimeout) {
		select {
		case <-time.After(publishAgain):
			continue
		case <-ctx.Done():
			a.log.Warn("names of what was built stay this host's", "err", err)
		}
		break
	}
	a.builds.mu.Lock()
	defer a.builds.mu.Unlock()
	if at := slices.Index(a.builds.owners, owner); at >= 0 {
		a.builds.owners = slices.Delete(a.builds.owners, at, at+1)
	}
}

// namesHere returns the cluster's IDs of this engine's images by their names.
func (a *API) namesHere(ctx context.Context) (map[string]string, error) {
	body, err := a.hosts.do(ctx, http.MethodGet, a.cfg.Self, "/images/json", nil)
	if err != nil {
		return nil, err
	}
	var list []struct {
		ID       string
		RepoTags []string
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, i := range list {
		for _, name := range i.RepoTags {
			if exact, ok := ledger.ImageName(name); ok {
				names[exact] = i.ID
			}
		}
	}
	return names, nil
}

// publishBuilt has the cluster call what was built here by the names that the builds
// gave it. Where none is open it costs nothing. It waits for the engine's list no
// longer than most. What fails is tried again the next time; the error says what.
func (a *API) publishBuilt(ctx context.Context, most time.Duration) error {
	b := &a.builds
	b.mu.Lock()
	turn, open := b.turn, len(b.owners) > 0
	b.mu.Unlock()
	if !open {
		return nil
	}
	looking, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	select {
	case turn <- struct{}{}:
	case <-looking.Done():
		return looking.Err()
	}
	defer func() { <-turn }()
	now, err := a.namesHere(looking)
	if err != nil {
		return fmt.Errorf("list the images of %s: %w", a.cfg.Name, err)
	}
	b.mu.Lock()
	before, owners := b.names, slices.Compact(slices.Sorted(slices.Values(b.owners)))
	b.mu.Unlock()
	var failed []error
	for _, name := range slices.Sorted(maps.Keys(now)) {
		id := now[name]
		if id == before[name] {
			continue
		}
		var refused *ledger.Refusal
		switch err := a.publishName(ctx, name, id, before[name], owners); {
		case errors.As(err, &refused):
			a.log.Warn("name of what was built stays this host's", "name", name, "image", ledger.Short(id), "err", err)
		case err != nil:
			failed = append(failed, fmt.Errorf("publish %s: %w", name, err))
			now[name] = before[name]
		}
	}
	b.mu.Lock()
	b.names = now
	b.mu.Unlock()
	return errors.Join(failed...)
}

// publishName gives one name to the cluster, for one of the owners of builds. Was is the
// image that had it here before. Nobody's name, unless it is from here and new, is an
// admin's to take.
func (a *API) publishName(ctx context.Context, name, id, was string, owners []string) error {
	var old *ledger.Image
	a.cfg.Log.View(func(l *ledger.Ledger) { old = l.Image(name) })
	if old != nil && old.ID == id && old.Owner != "" {
		return nil
	}
	owner := ""
	switch {
	case len(owners) == 1:
		owner = owners[0]
	case old != nil && slices.Contains(owners, old.Owner):
		owner = old.Owner
	}
	role := ledger.Member
	a.cfg.Log.View(func(l *ledger.Ledger) { role = l.RoleOf(owner) })
	if old != nil && old.Owner == "" && (was != "" || old.Node != a.cfg.Self) && role != ledger.Admin {
		return &ledger.Refusal{Code: ledger.Conflict, Message: fmt.Sprintf("image %s is nobody's of the cluster: only admins may give its name away", name)}
	}
	return a.cfg.MoveName(ctx, id, name, owner)
}

// build has this node's engine build an image. Its names are refused beforehand
// where they are somebody else's, and are the cluster's before the client hears that
// it is done.
func (a *API) build(w http.ResponseWriter, c *call) {
	owner := a.who(c).Name
	names, err := a.buildNames(c, owner)
	if err == nil {
		err = a.admitBuild(c)
	}
	if err == nil {
		err = a.awake(c.Context(), a.cfg.Self)
	}
	if err == nil {
		err = a.openBuild(c.Context(), owner)
	}
	if err != nil {
		failWith(w, err)
		return
	}
	defer a.closeBuild(c.Context(), owner)
	seen := &seenStatus{ResponseWriter: duplex(w)}
	a.here(seen, a.withBases(c))
	if seen.status != http.StatusOK {
		return
	}
	if err := a.publishTags(c.Context(), names, owner); err != nil {
		w.Write(streamformatter.FormatError(err)) // the answer is a stream of messages
	}
}

// buildNames returns the names in the form of the ledger's.
func (a *API) buildNames(c *call, owner string) (names []string, err error) {
	for _, tag := range c.URL.Query()["t"] {
		if tag == "" {
			continue
		}
		name, err := imageName(tag, "")
		if err != nil {
			return nil, invalid("%s", err)
		}
		var old *ledger.Image
		a.cfg.Log.View(func(l *ledger.Ledger) { old = l.Image(name) })
		switch {
		case old != nil && old.ID == "":
			return nil, a.taken(name, &ledger.Refusal{Code: ledger.Conflict, Message: fmt.Sprintf(
				"image %s is being made on host %s: wait until it is done, or choose another name", name, a.hosts.name(old.Node))})
		case old != nil && old.Owner != "" && old.Owner != owner:
			return nil, &ledger.Refusal{Code: ledger.Conflict, Message: fmt.Sprintf(
				"image %s belongs to %s: choose another name, or have it removed by \"docker rmi %s\"", name, old.Owner, name)}
		}
		if err := a.nameFree(c, name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// publishTags gives the cluster the names that a build was asked for, even those that
// this host had for the same image before and the cluster for another.
func (a *API) publishTags(ctx context.Context, names []string, owner string) error {
	if len(names) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishTimeout)
	defer cancel()
	now, err := a.namesHere(ctx)
	if err != nil {
		return err
	}
	var failed []error
	for _, name := range names {
		if id := now[name]; id != "" {
			failed = append(failed, a.publishName(ctx, name, id, "", []string{owner}))
		}
	}
	return errors.Join(failed...)
}

// session is a connection of its own between a client and this node's BuildKit.
func (a *API) session(w http.ResponseWriter, c *call) {
	owner := a.who(c).Name
	err := a.admitBuild(c)
	if err == nil {
		err = a.openBuild(c.Context(), owner)
	}
	if err != nil {
		failWith(w, err)
		return
	}
	defer a.closeBuild(c.Context(), owner)
	a.here(w, c)
}

// seenStatus notes the status of an answer.
type seenStatus struct {
	http.ResponseWriter
	status int
}

// WriteHeader notes the status. More may follow than the engine sends, but for its
// refusals: docker-py knows them by their length.
func (s *seenStatus) WriteHeader(status int) {
	s.status = status
	if status == http.StatusOK {
		s.Header().Del("Content-Length")
	}
	s.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController through.
func (s *seenStatus) Unwrap() http.ResponseWriter { return s.ResponseWriter }
