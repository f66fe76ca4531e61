package api

import (
	"context"
	"encoding/json"
	"slices"
	"sync"

	"ddocker/consensus/ledger"
	"ddocker/engine"
)

// maxMine bounds what a stream of events remembers to be its reader's.
const maxMine = 4096

// audience says which events a reader is told of that sees nothing but what is its own.
type audience struct {
	api  *API
	call *call

	mu   sync.Mutex          // guards mine
	mine map[string]struct{} // what is known to have been the reader's, by type and ID or name
}

// about is what an event tells of.
type about struct {
	Type, Action string
	Actor        struct {
		ID         string
		Attributes map[string]string
	}
}

func newAudience(a *API, c *call) *audience {
	of := &audience{api: a, call: c, mine: map[string]struct{}{}}
	a.cfg.Log.View(func(l *ledger.Ledger) {
		for _, o := range slices.Concat(l.Objects(ledger.Network), l.Objects(ledger.Volume)) {
			if o.Owner == a.who(c).Name {
				of.remember(string(o.Kind), o.Name)
			}
		}
	})
	return of
}

// hears says whether the reader is told of the event. It may ask the leader, about what
// was just made.
func (o *audience) hears(ctx context.Context, event []byte) bool {
	if !o.api.onlyOwn(o.call) {
		return true
	}
	var e about
	if json.Unmarshal(event, &e) != nil {
		return false
	}
	if box := e.Actor.Attributes["container"]; box != "" && e.Type != "container" {
		return o.ofContainer(box, "") // it was connected to a network, or has mounted a volume
	}
	switch e.Type {
	case "container":
		return o.ofContainer(e.Actor.ID, e.Actor.Attributes[engine.LabelOwner])
	case "network":
		return o.ofObject(ctx, ledger.Network, e.Actor.Attributes["name"], e.Action)
	case "volume":
		return o.ofObject(ctx, ledger.Volume, e.Actor.ID, e.Action)
	case "image":
		return o.ofImage(&e)
	}
	return false // nobody can tell whose that is
}

// ofContainer says whether the container is the reader's, or was when it was there:
// the engine's label tells whose it was.
func (o *audience) ofContainer(id, label string) bool {
	owner, known := label, false
	o.api.cfg.Log.View(func(l *ledger.Ledger) {
		if t, refusal := l.Resolve(id); refusal == nil && t.Container == id && t.Placement != nil {
			owner, known = t.Placement.Owner, true
		}
	})
	if !known && label == "" {
		return o.remembers("container", id)
	}
	return o.is(owner, "container", id)
}

func (o *audience) ofObject(ctx context.Context, kind ledger.Kind, name, action string) bool {
	owner := o.api.ownerOfObject(kind, name)
	if owner == "" && action == "create" && o.api.cfg.Log.Read(ctx) == nil {
		owner = o.api.ownerOfObject(kind, name) // it was made through another node, a moment ago
	}
	if owner == "" {
		return o.remembers(string(kind), name)
	}
	return o.is(owner, string(kind), name)
}

// ofImage goes by the name that the event tells, or else by all that the image has.
func (o *audience) ofImage(e *about) bool {
	var names, owners []string
	all, what := false, e.Actor.ID
	for _, ref := range []string{e.Actor.ID, e.Actor.Attributes["name"]} {
		if name, ok := ledger.ImageName(ref); ok {
			names, what = []string{name}, name
		}
	}
	o.api.cfg.Log.View(func(l *ledger.Ledger) {
		if len(names) == 0 {
			names = l.ImageNames(e.Actor.ID)
		}
		for _, name := range names {
			if i := l.Image(name); i != nil {
				owners, all = append(owners, i.Owner), all || common(l, i.Owner)
			}
		}
	})
	me := o.api.who(o.call).Name
	switch {
	case all:
		return true
	case len(owners) == 0: // it has lost the name, or the last of them
		return o.remembers("image", what)
	case !slices.Contains(owners, me):
		return false
	}
	return o.is(me, "image", e.Actor.ID) && o.is(me, "image", what)
}

// is says whether that owner is the reader, and remembers it of the thing if so.
func (o *audience) is(owner, kind, name string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if owner == "" || owner != o.api.who(o.call).Name {
		delete(o.mine, kind+" "+name)
		return false
	}
	o.remember(kind, name)
	return true
}

// remember needs the lock, or nobody else to know of the audience.
func (o *audience) remember(kind, name string) {
	if len(o.mine) >= maxMine {
		clear(o.mine) // at worst an end is not told of
	}
	o.mine[kind+" "+name] = struct{}{}
}

func (o *audience) remembers(kind, name string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ok := o.mine[kind+" "+name]
	return ok
}
