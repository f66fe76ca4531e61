package api

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// imageExtra is what the cluster adds to an image in a list, under "Ddocker".
type imageExtra struct{ Hosts []string }

// listImages merges the hosts' own lists: an image that many have stands once.
func (a *API) listImages(w http.ResponseWriter, c *call) {
	type image struct {
		row
		created int64
		tags    []string
		hosts   []string
	}
	byID := map[string]*image{}
	for _, one := range a.hosts.each(c.Context(), c.to(""), c.URL.Query()) {
		var refused *statusError
		if errors.As(one.err, &refused) && refused.status < http.StatusInternalServerError {
			fail(w, refused.status, "%s", refused.message)
			return
		}
		var list []row
		if one.err != nil || json.Unmarshal(one.body, &list) != nil {
			continue
		}
		for _, r := range list {
			id := string(r["Id"])
			if byID[id] == nil {
				byID[id] = &image{row: r}
				json.Unmarshal(r["Created"], &byID[id].created)
			}
			var tags []string
			json.Unmarshal(r["RepoTags"], &tags)
			i := byID[id]
			i.tags, i.hosts = append(i.tags, tags...), append(i.hosts, one.name)
		}
	}
	images := slices.SortedFunc(maps.Values(byID), func(x, y *image) int {
		return cmp.Or(cmp.Compare(y.created, x.created), strings.Compare(string(x.row["Id"]), string(y.row["Id"])))
	})
	merged := make([]row, len(images))
	for n, i := range images {
		slices.Sort(i.tags)
		if tags := slices.Compact(i.tags); len(tags) > 0 {
			i.row["RepoTags"] = raw(slices.DeleteFunc(tags, func(t string) bool { return t == "<none>:<none>" && len(tags) > 1 }))
		}
		i.row["Ddocker"] = raw(imageExtra{i.hosts})
		merged[n] = i.row
	}
	reply(w, http.StatusOK, merged)
}
