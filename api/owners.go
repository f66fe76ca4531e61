package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	named "github.com/distribution/reference"

	"ddocker/consensus/ledger"
)

// meant returns what the request is about.
func (a *API) meant(c *call, what right) ([]thing, error) {
	switch what {
	case ofContainer:
		ref := c.ref
		if c.row.path == pathCommit {
			ref = c.URL.Query().Get("container")
		}
		t, err := a.containerMeant(c, ref)
		return []thing{t}, err
	case ofSession:
		t, err := a.sessionMeant(c)
		return []thing{t}, err
	case ofNetwork, ofVolume:
		kind := ledger.Network
		if what == ofVolume {
			kind = ledger.Volume
		}
		t, err := a.objectMeant(c.Context(), kind, c.ref)
		return []thing{t}, err
	}
	return a.imagesMeant(c)
}

// containerMeant finds a container, which the verb then finds by the same reference
// even if that means another one by then.
func (a *API) containerMeant(c *call, ref string) (thing, error) {
	unknown := &ledger.Refusal{Code: ledger.Unknown, Message: "No such container: " + ref}
	t, refusal := a.resolve(c.Context(), ref)
	lost := a.lostNamed(ref)
	switch {
	case refusal != nil && refusal.Code == ledger.Unknown && lost != nil && c.row.method == del:
		c.lost = lost.Placement.ID // which is forgotten, whatever has the name by then
		return thing{name: "container " + lost.Placement.Name, owners: []string{lost.Placement.Owner}, unknown: unknown}, nil
	case refusal != nil && refusal.Code == ledger.Unknown && lost != nil && a.seesOf(c, lost.Placement.Owner):
		return thing{}, cannotKill(c, ref, a.explain(refusal, ref))
	case refusal != nil && refusal.Code == ledger.Invalid && a.onlyOwn(c):
		return thing{}, unknown // what it is the begin of is not for everybody
	case refusal != nil:
		return thing{}, cannotKill(c, ref, refusal)
	}
	c.targets = append(c.targets, target{ref, t})
	is := thing{name: "container " + strings.TrimPrefix(t.Name, "/"), unknown: cannotKill(c, ref, unknown)}
	if t.Placement != nil {
		is.owners = []string{t.Placement.Owner}
	}
	return is, nil
}

// target is a container that was found for a request.
type target struct {
	ref string
	is  ledger.Target
}

// cannotKill has a refusal of a kill in an engine's words.
func cannotKill(c *call, ref string, refusal *ledger.Refusal) *ledger.Refusal {
	if c.row.path != pathKill {
		return refusal
	}
	return &ledger.Refusal{Code: refusal.Code, Message: "Cannot kill container: " + ref + ": " + refusal.Message}
}

// sessionMeant finds the container in which an exec session is.
func (a *API) sessionMeant(c *call) (thing, error) {
	s, err := a.findExec(c.Context(), c.ref)
	if err != nil {
		return thing{}, err
	}
	t, err := a.containerMeant(c, s.container)
	t.unknown = noExec(c.ref)
	if isUnknown(err) {
		err = t.unknown
	}
	return t, err
}

func (a *API) objectMeant(ctx context.Context, kind ledger.Kind, ref string) (thing, error) {
	f, err := a.findObject(ctx, kind, ref)
	if err != nil {
		return thing{}, err
	}
	t := thing{name: string(kind) + " " + ref, unknown: &ledger.Refusal{Code: ledger.Unknown, Message: noSuch(kind, ref)}}
	t.free = kind == ledger.Network && f.obj == nil && slices.Contains(predefined, ref)
	if f.obj != nil {
		t.name, t.owners = string(kind)+" "+f.obj.Name, []string{f.obj.Owner}
	}
	return t, nil
}

// imagesMeant finds the images that a request names: one in its path, or several.
func (a *API) imagesMeant(c *call) (things []thing, err error) {
	refs := []string{c.ref}
	switch query := c.URL.Query(); c.row.path {
	case pathSave:
		refs = query["names"]
	case pathPush:
		if refs, err = a.pushed(c.ref, query.Get("tag")); err != nil {
			return nil, err
		}
	}
	for _, ref := range refs {
		t, err := a.imageMeant(c.Context(), ref)
		if err != nil {
			return nil, err
		}
		things = append(things, t)
	}
	return things, nil
}

// pushed are the names that a push is about: one, or all of a repository.
func (a *API) pushed(repo, tag string) (names []string, err error) {
	if tag != "" {
		return []string{repo + ":" + tag}, nil
	}
	repo, _, _ = ledger.CutHost(repo)
	ref, err := named.ParseNormalizedNamed(repo)
	if err != nil {
		return nil, invalid("%s", err)
	}
	for _, f := range a.repository(named.FamiliarName(ref)) {
		names = append(names, f.Name)
	}
	return names, nil
}

// imageMeant finds an image. By a name it is who gave it that; by its ID of all who
// gave it names. What has none is seen by those who know its whole ID.
func (a *API) imageMeant(ctx context.Context, ref string) (thing, error) {
	t := thing{name: "image " + ref, unknown: ledger.NoImage(ref)}
	if name, ok := ledger.ImageName(ref); ok {
		if i := a.claimed(name); i != nil {
			t.owners = []string{i.Owner}
			return t, nil
		}
	}
	found, err := a.findImage(ctx, ref)
	if err != nil {
		return t, err
	}
	a.cfg.Log.View(func(l *ledger.Ledger) {
		names := l.ImageNames(found.ID)
		if found.Name != "" && found.Node == "" {
			names = []string{found.Name}
		}
		t.shared = len(names) == 0 && strings.TrimPrefix(ref, "sha256:") == strings.TrimPrefix(found.ID, "sha256:")
		for _, name := range names {
			if i := l.Image(name); i != nil {
				t.owners = append(t.owners, i.Owner)
				t.shared = t.shared || common(l, i.Owner)
			}
		}
	})
	return t, nil
}

// seesImage says whether the caller sees what has the name.
func (a *API) seesImage(c *call, name string) bool {
	owner, all := "", true
	a.cfg.Log.View(func(l *ledger.Ledger) {
		if i := l.Image(name); i != nil {
			owner, all = i.Owner, common(l, i.Owner)
		}
	})
	return all || a.seesOf(c, owner)
}

// common says whether images of that owner are for everybody to use: those of admins,
// and those that hosts had by themselves.
func common(l *ledger.Ledger, owner string) bool {
	return owner == "" || l.RoleOf(owner) == ledger.Admin
}

// usable refuses a container that uses others' containers, networks, volumes or images.
func (a *API) usable(c *call, body map[string]json.RawMessage) error {
	if a.who(c).admin() {
		return nil
	}
	var w wish
	if err := json.Unmarshal(raw(body), &w); err != nil {
		return invalid("read the request: %s", err)
	}
	image, err := a.imageMeant(c.Context(), w.Image)
	if err == nil {
		err = a.may(c, sees, &image)
	} else if isUnknown(err) || w.Image == "" { // hosts are asked for it, and say so
		err = nil
	}
	if err != nil {
		return err
	}
	for _, ref := range w.companions() {
		if err := a.uses(c, ref); err != nil {
			return err
		}
	}
	for kind, refs := range map[ledger.Kind][]string{ledger.Network: w.networks(), ledger.Volume: w.volumes()} {
		for _, ref := range refs {
			if err := a.usesObject(c, kind, ref); err != nil {
				return err
			}
		}
	}
	return nil
}

// uses refuses others' containers. One that there is not the engine refuses.
func (a *API) uses(c *call, container string) error {
	t, err := a.containerMeant(c, container)
	if err == nil {
		err = a.may(c, owns, &t)
	}
	return err
}

func (a *API) usesObject(c *call, kind ledger.Kind, ref string) error {
	t, err := a.objectMeant(c.Context(), kind, ref)
	if isUnknown(err) {
		return nil // a volume is made, and of a network the engine says so
	}
	if err != nil {
		return err
	}
	if err := a.may(c, owns, &t); !isUnknown(err) || kind == ledger.Network {
		return err
	}
	return &statusError{http.StatusConflict, "the name of " + t.name + " is taken: choose another"}
}

// companions name the containers that this one is to share something with.
func (w *wish) companions() (refs []string) {
	h := &w.HostConfig
	for _, mode := range []string{h.NetworkMode, h.IpcMode, h.PidMode} {
		if ref, ok := strings.CutPrefix(mode, "container:"); ok {
			refs = append(refs, ref)
		}
	}
	for _, from := range slices.Concat(h.VolumesFrom, h.Links) {
		ref, _, _ := strings.Cut(from, ":")
		refs = append(refs, ref)
	}
	return refs
}

// nameFree refuses to give away a name that others have given to an image. Those that
// hosts brought along are the admins'.
func (a *API) nameFree(c *call, name string) error {
	var old *ledger.Image
	a.cfg.Log.View(func(l *ledger.Ledger) { old = l.Image(name) })
	if old == nil || a.who(c).admin() || old.Owner == a.who(c).Name {
		return nil
	}
	whose := "admins only may give it away"
	if old.Owner != "" {
		whose = "it is " + old.Owner + "'s"
	}
	return &ledger.Refusal{Code: ledger.Conflict, Message: "the name of image " + name + " is taken, " + whose + ": choose another"}
}
