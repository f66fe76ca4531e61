package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/engine"
	"ddocker/image"
)

// claimSlack is how far the clocks of a host and of the leader may be apart for an
// image to count as made since a claim.
const claimSlack = time.Minute

// pruneDangling removes from every host that answers its images without a name.
// The error is an engine's own.
func (a *API) pruneDangling(ctx context.Context, which prunable, done *pruned) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	sizes := a.layerSizes()
	var mu sync.Mutex
	var failed error
	var pruning sync.WaitGroup
	for _, one := range a.hosts.each(ctx, "/_ping", nil) {
		if one.err != nil {
			mu.Lock()
			done.Ddocker.Away = append(done.Ddocker.Away, one.name)
			mu.Unlock()
			continue
		}
		pruning.Go(func() {
			there, err := a.pruneHost(ctx, one.host, which, sizes)
			mu.Lock()
			defer mu.Unlock()
			done.ImagesDeleted.add(there.ImagesDeleted...)
			done.SpaceReclaimed += there.SpaceReclaimed
			switch {
			case answered(err):
				failed = err
			case err != nil:
				done.Ddocker.Away = append(done.Ddocker.Away, one.name)
			}
		})
	}
	pruning.Wait()
	return failed
}

// pruneHost removes one host's images without a name, one by one: its engine's own
// prune would also take those that have a name in the cluster alone.
func (a *API) pruneHost(ctx context.Context, on host, which prunable, sizes map[string]int64) (done pruned, err error) {
	body, err := a.hosts.do(ctx, http.MethodGet, on.id, "/images/json", url.Values{"filters": {which.labels.String()}})
	var list []danglingImage
	if err == nil {
		err = json.Unmarshal(body, &list)
	}
	if err != nil {
		return done, err
	}
	for _, i := range a.dangling(on, list) {
		if !which.has(i.ID, i.Created) {
			continue
		}
		space, err := a.pruneCopy(ctx, on, i, sizes, &done.ImagesDeleted)
		var refused *statusError
		switch {
		case errors.As(err, &refused) && refused.status < http.StatusInternalServerError: // it is used, or went since
		case err != nil:
			return done, err
		}
		done.SpaceReclaimed += space
	}
	return done, nil
}

// danglingImage is what of a host's list matters here.
type danglingImage struct {
	ID            string
	RepoTags      []string
	Created, Size int64
}

func tagged(names []string) bool {
	return slices.ContainsFunc(names, func(t string) bool { return t != "<none>:<none>" })
}

// dangling returns the images of a host's list that have no name, neither there,
// by another ID of the engine's perhaps, nor in the cluster. One that a placement
// waits for is not among them, nor one that may be about to get the name of a claim.
func (a *API) dangling(on host, list []danglingImage) []danglingImage {
	keep := map[string]bool{}
	for _, i := range list {
		keep[i.ID] = keep[i.ID] || tagged(i.RepoTags) || a.wanted(i.ID)
	}
	claimed := int64(1<<63 - 1) // the oldest claim there
	a.cfg.Log.View(func(l *ledger.Ledger) {
		for _, c := range l.Claims(on.id) {
			claimed = min(claimed, c.Created.Add(-claimSlack).Unix())
		}
	})
	return slices.DeleteFunc(list, func(i danglingImage) bool { return keep[i.ID] || i.Created >= claimed })
}

// pruneCopy removes an image by its ID from one host, unless it got a name since the
// list. It returns the bytes that this freed, as far as is known of its layers: those that stay are named elsewhere.
func (a *API) pruneCopy(ctx context.Context, on host, i danglingImage, sizes map[string]int64, done *steps) (space uint64, err error) {
	var now struct {
		RepoTags []string
		RootFS   struct{ Layers []string }
	}
	body, err := a.hosts.do(ctx, http.MethodGet, on.id, "/images/"+i.ID+"/json", nil)
	if err == nil {
		err = json.Unmarshal(body, &now)
	}
	if err != nil || tagged(now.RepoTags) || a.wanted(i.ID) {
		return 0, err
	}
	if body, err = a.hosts.do(ctx, http.MethodDelete, on.id, "/images/"+i.ID, nil); err != nil {
		return 0, err
	}
	var removed []engine.RemovedImage
	if err := json.Unmarshal(body, &removed); err != nil {
		return 0, err
	}
	done.add(removed...)
	left, chain := i.Size, ""
	for _, diffID := range now.RootFS.Layers {
		chain = image.Chain(chain, diffID)
		if !slices.Contains(removed, engine.RemovedImage{Deleted: chain}) {
			left -= sizes[chain]
		}
	}
	return uint64(max(0, left)), nil
}
