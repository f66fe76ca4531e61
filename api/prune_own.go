package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/docker/docker/api/types/versions"

	"ddocker/consensus/ledger"
)

// labelAnonymous is the engine's, of volumes that nobody gave a name.
const labelAnonymous = "com.docker.volume.anonymous"

// ownPrune is a prune that touches what is the caller's alone. An engine's own prune
// asks nobody whose a thing is, so this goes from one to the next.
type ownPrune struct {
	deleted string   // Docker's key for what is gone
	filters []string // those that engines know here
	// list returns the things of the caller's that nothing seems to use.
	list func(c *call) []ownThing
	// remove fails where something uses it by now. It returns the bytes that this freed.
	remove func(ctx context.Context, one *ownThing) (freed int64, err error)
}

// ownThing is a container, a network or a volume of the caller's, on its host.
type ownThing struct {
	host
	ref     string // what its engine knows it by
	labels  map[string]string
	created time.Time
}

// pruneOwn carries out the prune.
func (a *API) pruneOwn(w http.ResponseWriter, c *call, p ownPrune) {
	f, err := parseFilters(c.URL.Query().Get("filters"))
	if err != nil {
		fail(w, http.StatusBadRequest, "invalid filter: %s", err)
		return
	}
	nodes := f.takeLabel(labelNode)
	for key := range f {
		if !slices.Contains(p.filters, key) {
			fail(w, http.StatusBadRequest, "invalid filter '%s'", key)
			return
		}
	}
	until, err := pruneUntil(f["until"])
	if err != nil {
		failWith(w, err)
		return
	}
	gone, freed := []string{}, int64(0)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), takeTimeout)
	defer cancel()
	for _, one := range p.list(c) {
		switch {
		case len(nodes) > 0 && !slices.Contains(nodes, one.name), one.created.Unix() >= until, !f.prunes(one.labels):
			continue
		}
		n, err := p.remove(ctx, &one)
		if err != nil {
			a.log.Debug("a user's own is not pruned", "what", one.ref, "host", one.name, "err", err)
			continue
		}
		gone, freed = append(gone, one.ref), freed+n
	}
	slices.Sort(gone)
	answer := map[string]any{p.deleted: gone, "SpaceReclaimed": freed}
	if p.deleted == networksDeleted {
		delete(answer, "SpaceReclaimed") // as in pruneEach
	}
	if len(gone) == 0 {
		answer[p.deleted] = nil
	}
	reply(w, http.StatusOK, answer)
}

// prunes judges the labels of a thing as an engine's prune does: it must have all that
// are asked for, and not all that are excepted.
func (f filters) prunes(labels map[string]string) bool {
	has := func(wanted []string) bool {
		return !slices.ContainsFunc(wanted, func(w string) bool { return !hasLabel(labels, w) })
	}
	return has(f["label"]) && (len(f["label!"]) == 0 || !has(f["label!"]))
}

// prunesContainers prunes the stopped containers of the caller's.
func (a *API) prunesContainers() ownPrune {
	return ownPrune{
		deleted: containersDeleted, filters: []string{"label", "label!", "until"},
		list: func(c *call) (own []ownThing) {
			for _, one := range a.hosts.each(c.Context(), pathContainers, url.Values{"all": {"1"}}) {
				var list []struct {
					ID, State string
					Created   int64
					Labels    map[string]string
				}
				if one.err != nil || json.Unmarshal(one.body, &list) != nil {
					continue
				}
				known := a.holdings(one.id)
				for _, r := range list {
					if stopped := slices.Contains([]string{"created", "exited", "dead"}, r.State); stopped && known.ownerOf(r.ID) == a.who(c).Name {
						own = append(own, ownThing{one.host, r.ID, r.Labels, time.Unix(r.Created, 0)})
					}
				}
			}
			return own
		},
		remove: func(ctx context.Context, one *ownThing) (int64, error) {
			query := url.Values{"all": {"1"}, "size": {"1"}, "filters": {filters{"id": {one.ref}}.String()}}
			var now []struct{ SizeRw int64 }
			if body, err := a.hosts.do(ctx, get, one.id, pathContainers, query); err == nil {
				json.Unmarshal(body, &now) // what is not known is not told
			}
			_, err := a.hosts.do(ctx, del, one.id, "/containers/"+one.ref, nil)
			if err != nil || len(now) == 0 {
				return 0, err
			}
			return now[0].SizeRw, nil
		},
	}
}

// prunesNetworks prunes the networks of the caller's that no container is on.
func (a *API) prunesNetworks(c *call) ownPrune {
	return ownPrune{
		deleted: networksDeleted, filters: []string{"label", "label!", "until"},
		list: func(c *call) []ownThing { return a.ownObjects(c, ledger.Network) },
		remove: func(ctx context.Context, one *ownThing) (int64, error) {
			return 0, a.pruneObject(ctx, c, ledger.Network, one)
		},
	}
}

// prunesVolumes prunes the volumes of the caller's that no container uses: those without a
// name, unless all are asked for, or by a client of a time when that was the same.
func (a *API) prunesVolumes(c *call) ownPrune {
	f, _ := parseFilters(c.URL.Query().Get("filters")) // what cannot be read is refused
	all := c.version != "" && versions.LessThan(c.version, "1.42") || slices.ContainsFunc(f["all"], yes)
	sizes := map[string]map[string]int64{}
	return ownPrune{
		deleted: volumesDeleted, filters: []string{"label", "label!", "all"},
		list: func(c *call) []ownThing {
			return slices.DeleteFunc(a.ownObjects(c, ledger.Volume), func(one ownThing) bool {
				_, nameless := one.labels[labelAnonymous]
				return !all && !nameless
			})
		},
		remove: func(ctx context.Context, one *ownThing) (int64, error) {
			if sizes[one.id] == nil {
				sizes[one.id] = a.volumeSizes(ctx, one.id)
			}
			return sizes[one.id][one.ref], a.pruneObject(ctx, c, ledger.Volume, one)
		},
	}
}

// ownObjects lists the networks or volumes of the caller's, each as its home has it.
func (a *API) ownObjects(c *call, kind ledger.Kind) (own []ownThing) {
	for _, one := range a.hosts.each(c.Context(), "/"+string(kind)+"s", nil) {
		type object struct {
			Name    string
			Created time.Time
			Labels  map[string]string
		}
		var list []object
		var volumes struct{ Volumes []object }
		if one.err != nil || json.Unmarshal(one.body, &list) != nil && json.Unmarshal(one.body, &volumes) != nil {
			continue
		}
		for _, o := range append(list, volumes.Volumes...) {
			if !a.hidden(kind, o.Name, one.id) && a.ownerOfObject(kind, o.Name) == a.who(c).Name {
				own = append(own, ownThing{one.host, o.Name, o.Labels, o.Created})
			}
		}
	}
	return own
}

// pruneObject removes a network or a volume that is still the caller's, unless something
// uses it.
func (a *API) pruneObject(ctx context.Context, c *call, kind ledger.Kind, one *ownThing) error {
	f, err := a.lookUp(kind, one.ref)
	if err == nil && (f.obj == nil || f.obj.Owner != a.who(c).Name || f.obj.Name != one.ref) {
		err = &ledger.Refusal{Code: ledger.Unknown, Message: noSuch(kind, one.ref)}
	}
	if err == nil {
		err = a.usedApart(f)
	}
	if err != nil {
		return err
	}
	answer, err := a.dropObject(ctx, c, kind, f, nil)
	if err == nil && answer.status/100 != 2 {
		err = &statusError{answer.status, answer.body.String()}
	}
	return err
}

// volumeSizes returns the bytes of a host's volumes, as far as they are known.
func (a *API) volumeSizes(ctx context.Context, node string) map[string]int64 {
	sizes := map[string]int64{}
	var usage struct {
		Volumes []struct {
			Name      string
			UsageData struct{ Size int64 }
		}
	}
	if body, err := a.hosts.do(ctx, get, node, "/system/df", url.Values{"type": {"volume"}}); err == nil {
		json.Unmarshal(body, &usage) // what is not known is not told
	}
	for _, v := range usage.Volumes {
		sizes[v.Name] = max(0, v.UsageData.Size)
	}
	return sizes
}
