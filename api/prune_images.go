package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	timestamp "github.com/docker/docker/api/types/time"

	"ddocker/consensus/ledger"
	"ddocker/engine"
)

// pruned is what a prune did, on all hosts.
type pruned struct {
	ImagesDeleted  steps
	SpaceReclaimed uint64
	// Ddocker is what only the cluster tells: the hosts that did not answer.
	Ddocker struct{ Away []string } `json:",omitzero"`
}

// prunable is which images a client lets go.
type prunable struct {
	labels  filters
	until   int64           // in seconds since 1970: what was made before
	without map[string]bool // by ID: those with a label that it excepts
	named   bool            // those with names, too
}

// pruneImages removes images without a name from all hosts that answer, and, if
// the client asks for more than these, names whose image no container uses. Users lose
// names that they gave; images without one are nobody's, and stay for admins to prune.
func (a *API) pruneImages(w http.ResponseWriter, c *call) {
	which, err := a.prunable(c)
	done := pruned{ImagesDeleted: steps{}}
	if err == nil && which.named {
		err = a.pruneNames(c, which, &done)
	}
	if err == nil && a.who(c).admin() {
		err = a.pruneDangling(c.Context(), which, &done)
	}
	if err != nil {
		failWith(w, err)
		return
	}
	reply(w, http.StatusOK, done)
}

// prunable reads what the client asks for.
func (a *API) prunable(c *call) (which prunable, err error) {
	f, err := parseFilters(c.URL.Query().Get("filters"))
	if err != nil {
		return which, invalid("invalid filter: %s", err)
	}
	for key := range f {
		if !slices.Contains([]string{"dangling", "label", "label!", "until"}, key) {
			return which, invalid("invalid filter '%s'", key)
		}
	}
	which.named = slices.ContainsFunc(f["dangling"], func(v string) bool { return v == "0" || v == "false" })
	which.labels = filters{}
	if len(f["label"]) > 0 {
		which.labels["label"] = f["label"]
	}
	if which.until, err = pruneUntil(f["until"]); err == nil {
		which.without, err = a.labelled(c, f["label!"])
	}
	return which, err
}

func (p *prunable) has(id string, created int64) bool { return created < p.until && !p.without[id] }

// pruneNames takes their names from the images that no container uses.
func (a *API) pruneNames(c *call, which prunable, done *pruned) error {
	if err := a.cfg.Log.Read(c.Context()); err != nil { // as in unname
		return err
	}
	images, err := a.mergedImages(c, url.Values{"filters": {which.labels.String()}})
	if err != nil {
		return err
	}
	sizes := a.layerSizes()
	for _, i := range images {
		var names []string
		a.cfg.Log.View(func(l *ledger.Ledger) {
			if l.ImageUser(i.id) == "" {
				names = l.ImageNames(i.id)
			}
			names = slices.DeleteFunc(slices.Clone(names), func(name string) bool {
				is := l.Image(name)
				return !a.who(c).admin() && (is == nil || is.Owner != a.who(c).Name)
			})
		})
		if len(names) > 0 && which.has(i.id, i.created) {
			a.pruneImage(c.Context(), i.id, names, sizes, done)
		}
	}
	return nil
}

// pruneImage takes all names from an image. If somebody has begun to use it,
// it keeps the last.
func (a *API) pruneImage(ctx context.Context, id string, names []string, sizes map[string]int64, done *pruned) {
	on := a.holders(id)
	var index uint64
	for _, name := range names {
		at, err := a.decide(ctx, ledger.Command{Unname: &ledger.Unname{Name: name, ID: id}})
		if err != nil {
			a.log.Debug("name of an image is not pruned", "name", name, "err", err)
			continue
		}
		index = at
		done.ImagesDeleted.add(engine.RemovedImage{Untagged: name})
	}
	for _, removed := range a.settle(ctx, on, index) {
		for _, one := range removed {
			done.SpaceReclaimed += uint64(sizes[one.Deleted])
		}
		done.ImagesDeleted.add(removed...)
	}
}

// layerSizes returns the bytes of all layers of named images: an engine tells
// which layers it removed, not how large they were.
func (a *API) layerSizes() map[string]int64 {
	sizes := map[string]int64{}
	a.cfg.Log.View(func(l *ledger.Ledger) {
		for _, i := range l.Images() {
			for _, layer := range i.Layers {
				sizes[layer.Chain] = layer.Size
			}
		}
	})
	return sizes
}

// pruneUntil returns the second before which an image must have been made.
func pruneUntil(wanted []string) (int64, error) {
	until := time.Now().Unix() + 1
	for _, text := range wanted {
		at, err := timestamp.GetTimestamp(text, time.Now())
		if err != nil {
			return 0, invalid("invalid filter: until=%s: %s", text, err)
		}
		seconds, _, _ := strings.Cut(at, ".")
		if until, err = strconv.ParseInt(seconds, 10, 64); err != nil {
			return 0, invalid("invalid filter: until=%s: %s", text, err)
		}
	}
	return until, nil
}

// labelled returns the IDs of the images that have any of the labels.
func (a *API) labelled(c *call, labels []string) (map[string]bool, error) {
	ids := map[string]bool{}
	for _, label := range labels {
		images, err := a.mergedImages(c, url.Values{"filters": {filters{"label": {label}}.String()}})
		if err != nil {
			return nil, err
		}
		for _, i := range images {
			ids[i.id] = true
		}
	}
	return ids, nil
}
