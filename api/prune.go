package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"ddocker/consensus/ledger"
)

// takeTimeout bounds what takes its time on one host: much may be deleted, or counted.
const takeTimeout = 2 * time.Minute

// pruneBuilds empties the build caches of all hosts that answer. Nobody can tell whose a
// piece of them is: to users, none of it is theirs.
func (a *API) pruneBuilds(w http.ResponseWriter, c *call) {
	if !a.who(c).admin() {
		reply(w, http.StatusOK, map[string]any{"CachesDeleted": nil, "SpaceReclaimed": 0})
		return
	}
	a.pruneEach(w, c, "CachesDeleted", func(string, string) bool { return true })
}

// Docker's keys for what a prune removed.
const (
	containersDeleted = "ContainersDeleted"
	networksDeleted   = "NetworksDeleted"
	volumesDeleted    = "VolumesDeleted"
)

// pruneContainers removes the stopped containers of all hosts that answer; users'
// prunes remove their own.
func (a *API) pruneContainers(w http.ResponseWriter, c *call) {
	if !a.who(c).admin() {
		a.pruneOwn(w, c, a.prunesContainers())
		return
	}
	// Their hosts tell the ledger.
	a.pruneEach(w, c, containersDeleted, func(string, string) bool { return true })
}

// pruneNetworks removes the networks that no container is on from all hosts that
// answer.
func (a *API) pruneNetworks(w http.ResponseWriter, c *call) {
	if !a.who(c).admin() {
		a.pruneOwn(w, c, a.prunesNetworks(c))
		return
	}
	a.pruneObjects(w, c, ledger.Network, networksDeleted)
}

// pruneVolumes removes the volumes that no container uses from all hosts that answer.
func (a *API) pruneVolumes(w http.ResponseWriter, c *call) {
	if !a.who(c).admin() {
		a.pruneOwn(w, c, a.prunesVolumes(c))
		return
	}
	a.pruneObjects(w, c, ledger.Volume, volumesDeleted)
}

func (a *API) pruneObjects(w http.ResponseWriter, c *call, kind ledger.Kind, deleted string) {
	ctx := context.WithoutCancel(c.Context())
	a.pruneEach(w, c, deleted, func(node, name string) bool {
		if a.hidden(kind, name, node) { // an instance of no use, of what is elsewhere
			return false
		}
		a.forgetPruned(ctx, kind, name, node)
		return true
	})
}

// pruneEach has every host that answers prune, and merges what they deleted, of each
// of which it asks whether it is told of.
func (a *API) pruneEach(w http.ResponseWriter, c *call, deleted string, told func(node, what string) bool) {
	query := c.URL.Query()
	f, err := parseFilters(query.Get("filters"))
	if err != nil {
		fail(w, http.StatusBadRequest, "invalid filter: %s", err)
		return
	}
	nodes := f.takeLabel(labelNode)
	query.Set("filters", f.String())
	total, gone := uint64(0), []json.RawMessage{}
	for _, one := range a.hosts.take(c, query, nodes) {
		if answered(one.err) {
			failWith(w, one.err) // all engines judge the filters alike
			return
		}
		if one.err != nil {
			a.log.Warn("host is not pruned", "host", one.name, "err", one.err)
			continue
		}
		var done map[string]json.RawMessage
		var list []json.RawMessage
		var space uint64
		json.Unmarshal(one.body, &done)
		json.Unmarshal(done[deleted], &list)
		json.Unmarshal(done["SpaceReclaimed"], &space)
		for _, what := range list {
			var name string
			if json.Unmarshal(what, &name) != nil || told(one.id, name) {
				gone = append(gone, what)
			}
		}
		total += space
	}
	slices.SortFunc(gone, slices.Compare[json.RawMessage])
	gone = slices.CompactFunc(gone, slices.Equal[json.RawMessage]) // of a network on several hosts
	answer := map[string]any{deleted: gone, "SpaceReclaimed": total}
	if deleted == networksDeleted {
		delete(answer, "SpaceReclaimed") // networks take none
	}
	if len(gone) == 0 {
		answer[deleted] = nil // as an engine says it
	}
	reply(w, http.StatusOK, answer)
}

// take has every host that answers, or those with the names, carry out the call at
// once, which takes its time there, and returns one answer a host, by name.
func (h *hosts) take(c *call, query url.Values, named []string) []answer {
	list := slices.DeleteFunc(h.all(), func(one host) bool { return len(named) > 0 && !slices.Contains(named, one.name) })
	answers := make([]answer, len(list))
	var asking sync.WaitGroup
	for i, one := range list {
		answers[i] = answer{host: one, err: errSilent}
		asking.Go(func() {
			if !h.answers(one.id) {
				return
			}
			if _, err := h.get(c.Context(), one.id, "/_ping", nil); err != nil {
				if c.Context().Err() == nil && !answered(err) {
					h.miss(one.id)
				}
				return
			}
			ctx, cancel := context.WithTimeout(c.Context(), takeTimeout)
			defer cancel()
			answers[i].body, answers[i].err = h.do(ctx, c.Method, one.id, c.to(""), query)
		})
	}
	asking.Wait()
	return answers
}

// pruned passes a prune of containers to this engine, and frees what they held.
func (l *Local) pruned(w http.ResponseWriter, r *http.Request, version string) {
	answer := &record{header: http.Header{}, status: http.StatusOK}
	l.pass(answer, r, version, "/containers/prune")
	var done struct{ ContainersDeleted []string }
	if answer.status == http.StatusOK {
		json.Unmarshal(answer.body.Bytes(), &done)
	}
	for _, id := range done.ContainersDeleted {
		// What fails here the node does when it looks again.
		if err := l.node.Removed(r.Context(), id); err != nil {
			w.Header().Add("Warning", fmt.Sprintf("199 ddocker %q", err.Error()))
		}
	}
	for key, values := range answer.header {
		w.Header()[key] = values
	}
	w.WriteHeader(answer.status)
	w.Write(answer.body.Bytes())
}
