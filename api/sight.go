package api

import (
	"encoding/json"
	"maps"
	"slices"

	"ddocker/consensus/ledger"
)

// sight returns whose things the caller sees.
func (a *API) sight(c *call) func(owner string) bool {
	if !a.onlyOwn(c) {
		return func(string) bool { return true }
	}
	name := a.who(c).Name
	return func(owner string) bool { return owner == name && owner != "" }
}

// ownerOf returns whose a container is, as far as the ledger knows it.
func (h *holdings) ownerOf(container string) string {
	if p := h.placed[container]; p != nil {
		return p.Owner
	}
	return ""
}

// ownerOfObject returns whose a network or a volume is.
func (a *API) ownerOfObject(kind ledger.Kind, name string) (owner string) {
	a.cfg.Log.View(func(l *ledger.Ledger) {
		if o := l.Object(kind, name); o != nil {
			owner = o.Owner
		}
	})
	return owner
}

// objectOf returns the network or volume of a row; nil: the cluster did not make it.
func (a *API) objectOf(kind ledger.Kind, r row) (o *ledger.Object) {
	var name string
	json.Unmarshal(r["Name"], &name) // an empty one is nobody's
	a.cfg.Log.View(func(l *ledger.Ledger) { o = l.Object(kind, name) })
	return o
}

// tellOwner adds whose a network or a volume is, and on which host, under "Ddocker".
func (a *API) tellOwner(r row, o *ledger.Object) {
	if o != nil {
		r["Ddocker"] = raw(struct{ Node, Owner string }{a.hosts.name(o.Home), o.Owner})
	}
}

// seesObject says whether the caller sees the network or volume of a row.
func (a *API) seesObject(c *call, kind ledger.Kind, r row) bool {
	var name string
	json.Unmarshal(r["Name"], &name) // an empty one is nobody's
	if kind == ledger.Network && slices.Contains(predefined, name) {
		return true
	}
	owner := a.ownerOfObject(kind, name)
	return a.sight(c)(owner)
}

// onNetwork leaves those out of a network's row whose containers the caller does not see.
func (a *API) onNetwork(c *call, r row) {
	if !a.onlyOwn(c) || r["Containers"] == nil {
		return
	}
	var all row
	json.Unmarshal(r["Containers"], &all) // what is no object shows nobody
	sees := a.sight(c)
	a.cfg.Log.View(func(l *ledger.Ledger) {
		maps.DeleteFunc(all, func(id string, _ json.RawMessage) bool {
			t, refusal := l.Resolve(id)
			return refusal != nil || t.Placement == nil || !sees(t.Placement.Owner)
		})
	})
	r["Containers"] = raw(all)
}

// ownImages leaves out the images, and of others the names, that the caller does not see.
func (a *API) ownImages(c *call, list []*listedImage) []*listedImage {
	if !a.onlyOwn(c) {
		return list
	}
	sees := a.sight(c)
	a.cfg.Log.View(func(l *ledger.Ledger) {
		list = slices.DeleteFunc(list, func(i *listedImage) bool {
			all := len(i.tags)
			i.tags = slices.DeleteFunc(i.tags, func(tag string) bool {
				name, _, _ := ledger.CutHost(tag)
				is := l.Image(name)
				return is != nil && !common(l, is.Owner) && !sees(is.Owner)
			})
			maps.DeleteFunc(i.extra.Owners, func(name, _ string) bool { return !slices.Contains(i.tags, name) })
			if len(i.tags) < all {
				i.row["RepoDigests"] = raw([]string{}) // names, too
			}
			return len(i.tags) == 0
		})
	})
	return list
}

// ownUsage leaves out of a host's disk usage what the caller does not see.
func (a *API) ownUsage(c *call, node string, usage row) {
	if !a.onlyOwn(c) {
		return
	}
	known, sees := a.holdings(node), a.sight(c)
	var list []row
	if json.Unmarshal(usage["Containers"], &list) == nil && list != nil {
		usage["Containers"] = raw(slices.DeleteFunc(list, func(r row) bool {
			var id string
			json.Unmarshal(r["Id"], &id) // one without is nobody's
			return !sees(known.ownerOf(id))
		}))
	}
	if json.Unmarshal(usage["Volumes"], &list) == nil && list != nil {
		usage["Volumes"] = raw(slices.DeleteFunc(list, func(r row) bool { return !a.seesObject(c, ledger.Volume, r) }))
	}
	if usage["BuildCache"] != nil {
		usage["BuildCache"] = raw([]string{}) // nobody can tell whose it is
	}
}

// ownCards leaves out who has cards, and what runs on them, where the caller does not
// see it.
func (a *API) ownCards(c *call, rows []cardRow) {
	if !a.onlyOwn(c) {
		return
	}
	sees := a.sight(c)
	for i := range rows {
		r := &rows[i]
		if r.Container != nil && !sees(r.Container.Owner) {
			r.Container = &cardUser{}
		}
		r.Processes = slices.DeleteFunc(r.Processes, func(p processRow) bool { return !sees(p.Owner) })
		if r.State == cardBusy {
			r.Reason = ""
		}
	}
}
