package api

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	named "github.com/distribution/reference"

	"ddocker/consensus/ledger"
)

// imageExtra is what the cluster adds to an image in a list, under "Ddocker".
type imageExtra struct {
	// Hosts have it, Away had it and do not answer now.
	Hosts, Away []string
	// Owners are who gave it its names, by name, where that is known.
	Owners map[string]string
	// Replicas is on how many hosts it is to be; 0: nobody asked for any.
	Replicas int
}

// noTags is what older engines, and clients, have for an image without names.
const noTags = `["<none>:<none>"]`

// listedImage is an image while the hosts' lists of it are merged.
type listedImage struct {
	row
	id      string
	created int64
	tags    []string
	extra   imageExtra
}

// listImages merges the hosts' own lists: every image stands once, with the
// cluster's names. A name that means another image on some host is added as
// name@host; hosts that do not answer stand with what the ledger knows of them.
func (a *API) listImages(w http.ResponseWriter, c *call) {
	images, err := a.mergedImages(c, c.URL.Query())
	if err != nil {
		failWith(w, err)
		return
	}
	images = a.ownImages(c, images)
	rows := make([]row, len(images))
	for n, i := range images {
		if len(i.tags) > 0 || string(i.row["RepoTags"]) != noTags {
			i.row["RepoTags"] = raw(i.tags)
		}
		i.row["Ddocker"] = raw(i.extra)
		rows[n] = i.row
	}
	reply(w, http.StatusOK, rows)
}

// mergedImages returns the cluster's images, newest first.
func (a *API) mergedImages(c *call, query url.Values) ([]*listedImage, error) {
	f, err := parseFilters(query.Get("filters"))
	if err != nil {
		return nil, invalid("invalid filter: %s", err)
	}
	between, err := a.between(c, f)
	if err != nil {
		return nil, err
	}
	query.Set("filters", f.String())
	a.publishBuilt(c.Context(), patience)
	byID := map[string]*listedImage{}
	var away []host
	for _, one := range a.hosts.each(c.Context(), "/images/json", query) {
		var refused *statusError
		if errors.As(one.err, &refused) && refused.status < http.StatusInternalServerError {
			return nil, refused
		}
		var list []row
		if one.err != nil || json.Unmarshal(one.body, &list) != nil {
			away = append(away, one.host)
			continue
		}
		for _, r := range list {
			if !trialImage(r) {
				mergeImage(byID, r, one.host)
			}
		}
	}
	a.cfg.Log.View(func(l *ledger.Ledger) {
		for _, one := range away {
			addAway(l, byID, one, f)
		}
		maps.DeleteFunc(byID, func(_ string, i *listedImage) bool { return !complete(l, i, f) || !between(i.created) })
	})
	return slices.SortedFunc(maps.Values(byID), func(x, y *listedImage) int {
		return cmp.Or(cmp.Compare(y.created, x.created), strings.Compare(x.id, y.id))
	}), nil
}

// own notes who gave the image a name.
func (i *listedImage) own(name, owner string) {
	if owner == "" {
		return
	}
	if i.extra.Owners == nil {
		i.extra.Owners = map[string]string{}
	}
	i.extra.Owners[name] = owner
}

// between takes the filters out that compare with another image, which an engine
// can judge only if it has that image, and returns what they ask for.
func (a *API) between(c *call, f filters) (within func(created int64) bool, err error) {
	after, before := int64(math.MinInt64), int64(math.MaxInt64)
	for key, bound := range map[string]*int64{"since": &after, "before": &before} {
		for _, ref := range f[key] {
			found, err := a.findImage(c.Context(), ref)
			var at imageCopy
			if err == nil {
				at, err = a.copyOf(c.Context(), found, ref)
			}
			if err != nil {
				return nil, err
			}
			if *bound, err = a.created(c, at); err != nil {
				return nil, err
			}
		}
		delete(f, key)
	}
	return func(created int64) bool { return created > after && created < before }, nil
}

// mergeImage adds one host's row. Names are kept as "name@host" until complete
// judges them.
func mergeImage(byID map[string]*listedImage, r row, on host) {
	id := ""
	json.Unmarshal(r["Id"], &id)
	i := byID[id]
	if i == nil {
		i = &listedImage{row: r, id: id, extra: imageExtra{Hosts: []string{}, Away: []string{}}}
		json.Unmarshal(r["Created"], &i.created)
		byID[id] = i
	}
	i.extra.Hosts = append(i.extra.Hosts, on.name)
	var tags []string
	json.Unmarshal(r["RepoTags"], &tags)
	for _, t := range tags {
		if t != "<none>:<none>" {
			i.tags = append(i.tags, t+"@"+on.name)
		}
	}
}

// addAway adds what a host that does not answer had. What the ledger cannot judge
// by a filter is left out, unless another host shows it.
func addAway(l *ledger.Ledger, byID map[string]*listedImage, on host, f filters) {
	n := l.Node(on.id)
	if n == nil {
		return
	}
	for _, h := range n.Observed.Images {
		i := byID[h.ID]
		if i == nil {
			names := l.ImageNames(h.ID)
			if !onlyNames(f) || len(names) == 0 {
				continue
			}
			created := l.Image(names[0]).Created.Unix()
			i = &listedImage{id: h.ID, created: created, extra: imageExtra{Hosts: []string{}, Away: []string{}}, row: row{
				"Id": raw(h.ID), "ParentId": raw(""), "RepoDigests": raw([]string{}), "Created": raw(created), "Size": raw(h.Size),
				"SharedSize": raw(-1), "Containers": raw(-1), "Labels": raw(nil),
			}}
			byID[h.ID] = i
		}
		i.extra.Away = append(i.extra.Away, on.name)
		for _, name := range h.Names {
			if other := l.Image(name); other != nil && other.ID != h.ID {
				i.tags = append(i.tags, name+"@"+on.name)
			}
		}
	}
}

// onlyNames says whether the filters look at nothing but names.
func onlyNames(f filters) bool {
	for key := range f {
		if key != "reference" && key != "dangling" {
			return false
		}
	}
	return true
}

// complete puts the cluster's names in the place of the hosts', and says whether
// the image is still one that the filters ask for.
func complete(l *ledger.Ledger, i *listedImage, f filters) bool {
	var tags []string
	for _, name := range l.ImageNames(i.id) {
		tags = append(tags, name)
		i.own(name, l.Image(name).Owner)
		i.extra.Replicas = min(max(1, l.Settings().ImageReplicas), len(l.NodeIDs()))
	}
	for _, tag := range i.tags {
		name, on, _ := ledger.CutHost(tag)
		switch n, other := l.NodeNamed(on), l.Image(name); {
		case slices.Contains(tags, name):
		case n != nil && l.Removing(n.Node, name, i.id):
		case other != nil && other.ID != "":
			tags = append(tags, tag)
		default:
			tags = append(tags, name) // its host is about to publish it
		}
	}
	if wanted := f["reference"]; len(wanted) > 0 {
		tags = slices.DeleteFunc(tags, func(t string) bool { return !matches(t, wanted) })
		if len(tags) == 0 && len(i.tags) == 0 {
			return false
		}
	}
	slices.Sort(tags)
	i.tags = slices.Compact(append([]string{}, tags...))
	dangling := slices.ContainsFunc(f["dangling"], func(v string) bool { return v == "1" || v == "true" })
	return !dangling || len(i.tags) == 0
}

// matches says whether a name is one of those that a reference filter asks for.
func matches(tag string, patterns []string) bool {
	name, _, _ := ledger.CutHost(tag)
	ref, err := named.ParseNormalizedNamed(name)
	return err == nil && slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := named.FamiliarMatch(p, ref)
		return err == nil && ok
	})
}

// created returns when an image was made, in seconds since 1970.
func (a *API) created(c *call, at imageCopy) (int64, error) {
	body, err := a.hosts.get(c.Context(), at.id, "/images/"+at.ref+"/json", nil)
	if err != nil {
		return 0, err
	}
	var image struct{ Created time.Time }
	if err := json.Unmarshal(body, &image); err != nil {
		return 0, err
	}
	return image.Created.Unix(), nil
}
