package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	timestamp "github.com/docker/docker/api/types/time"

	"ddocker/consensus/ledger"
	"ddocker/engine"
)

// pruned is what a prune did, on all hosts.
type pruned struct {
	ImagesDeleted  steps
	SpaceReclaimed uint64
}

// pruneImages removes images without a name from all hosts that answer, and, if
// the client asks for more than these, names whose image no container uses.
func (a *API) pruneImages(w http.ResponseWriter, c *call) {
	f, err := parseFilters(c.URL.Query().Get("filters"))
	if err != nil {
		fail(w, http.StatusBadRequest, "invalid filter: %s", err)
		return
	}
	done := pruned{ImagesDeleted: steps{}}
	if named := slices.ContainsFunc(f["dangling"], func(v string) bool { return v == "0" || v == "false" }); named {
		if err := a.pruneNames(c, f, &done); err != nil {
			failWith(w, err)
			return
		}
	}
	f["dangling"] = []string{"true"}
	if err := a.pruneDangling(c.Context(), f, &done); err != nil {
		failWith(w, err)
		return
	}
	reply(w, http.StatusOK, done)
}

// pruneNames takes their names from the images that no container uses.
func (a *API) pruneNames(c *call, f filters, done *pruned) error {
	until, err := pruneUntil(f["until"])
	if err != nil {
		return err
	}
	labels := filters{}
	if len(f["label"]) > 0 {
		labels["label"] = f["label"]
	}
	images, err := a.mergedImages(c, url.Values{"filters": {labels.String()}})
	if err != nil {
		return err
	}
	without, err := a.labelled(c, f["label!"])
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
		})
		if len(names) == 0 || i.created >= until || without[i.id] {
			continue
		}
		a.pruneImage(c.Context(), i.id, names, sizes, done)
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

// pruneDangling has every host that answers remove its images without a name.
func (a *API) pruneDangling(ctx context.Context, f filters, done *pruned) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	var mu sync.Mutex
	var refused error
	var pruning sync.WaitGroup
	for _, one := range a.hosts.all() {
		if !a.hosts.answers(one.id) {
			continue
		}
		pruning.Go(func() {
			body, err := a.hosts.do(ctx, http.MethodPost, one.id, "/images/prune", url.Values{"filters": {f.String()}})
			var there pruned
			if err == nil {
				err = json.Unmarshal(body, &there)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				refused = err
				return
			}
			done.ImagesDeleted.add(there.ImagesDeleted...)
			done.SpaceReclaimed += there.SpaceReclaimed
		})
	}
	pruning.Wait()
	if answered(refused) {
		return refused
	}
	return nil
}
