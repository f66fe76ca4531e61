package api

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"ddocker/consensus/ledger"
)

// diskUsage merges what the hosts' engines tell of their disks. An image that
// several hosts have stands once, and its layers count once: the copies are the
// cluster's business, and nothing that a prune would free.
func (a *API) diskUsage(w http.ResponseWriter, c *call) {
	total := row{}
	images := map[string]*listedImage{}
	users := map[string]int64{} // containers, by image
	counted := false
	for _, one := range a.hosts.take(c, c.URL.Query(), nil) {
		var refused *statusError
		if errors.As(one.err, &refused) && refused.status < http.StatusInternalServerError {
			failWith(w, refused)
			return
		}
		var usage row
		if one.err != nil || json.Unmarshal(one.body, &usage) != nil {
			a.log.Warn("disk usage is without that of a host", "host", one.name, "err", one.err)
			continue
		}
		a.ownUsage(c, one.id, usage)
		var list []row
		json.Unmarshal(usage["Images"], &list)
		counted = counted || usage["Images"] != nil
		for _, r := range list {
			mergeImage(images, r, one.host)
			id, n := "", int64(0)
			json.Unmarshal(r["Id"], &id)
			json.Unmarshal(r["Containers"], &n)
			users[id] += max(0, n)
		}
		for key, value := range usage {
			total[key] = addUsage(total[key], value)
		}
	}
	if counted {
		rows, size := a.usedImages(c, images, users)
		total["Images"], total["LayersSize"] = raw(rows), raw(size)
	}
	reply(w, http.StatusOK, total)
}

// addUsage adds one host's field to another's: numbers are summed up, lists joined,
// and so on with the fields of objects.
func addUsage(sum, more json.RawMessage) json.RawMessage {
	var n, m int64
	var list, others []json.RawMessage
	var object, other row
	switch {
	case sum == nil || string(sum) == "null":
		return more
	case json.Unmarshal(sum, &n) == nil && json.Unmarshal(more, &m) == nil:
		return raw(n + m)
	case json.Unmarshal(sum, &list) == nil && json.Unmarshal(more, &others) == nil:
		return raw(append(list, others...))
	case json.Unmarshal(sum, &object) == nil && json.Unmarshal(more, &other) == nil:
		for key, value := range other {
			object[key] = addUsage(object[key], value)
		}
		return raw(object)
	}
	return sum
}

// usedImages returns the images, each once with its names in the cluster, and the
// bytes of all their layers, each once as far as the cluster knows them.
func (a *API) usedImages(c *call, images map[string]*listedImage, users map[string]int64) (rows []row, size int64) {
	layers := map[string]int64{}
	a.cfg.Log.View(func(l *ledger.Ledger) {
		known := map[string][]ledger.Layer{}
		for _, i := range l.Images() {
			known[i.ID] = i.Layers
		}
		for id, i := range images {
			complete(l, i, filters{})
			for _, layer := range known[id] {
				layers[layer.Chain] = layer.Size
			}
			if len(known[id]) == 0 {
				var all, shared int64
				json.Unmarshal(i.row["Size"], &all)
				json.Unmarshal(i.row["SharedSize"], &shared)
				layers[id] = all - max(0, shared)
			}
		}
	})
	list := slices.SortedFunc(maps.Values(images), func(x, y *listedImage) int { return strings.Compare(x.id, y.id) })
	for _, i := range a.ownImages(c, list) {
		if len(i.tags) > 0 || string(i.row["RepoTags"]) != noTags {
			i.row["RepoTags"] = raw(i.tags)
		}
		i.row["Containers"], i.row["Ddocker"] = raw(users[i.id]), raw(i.extra)
		rows = append(rows, i.row)
	}
	for _, n := range layers {
		size += n
	}
	return rows, size
}
