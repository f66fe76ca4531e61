package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/engine"
)

// settleTimeout bounds how long hosts take to have their engines' names agree
// with the ledger: the removal of a large image takes a while.
const settleTimeout = 2 * time.Minute

// decide carries out a command of the ledger, and returns when this node knows
// of it. A refusal is an error.
func (a *API) decide(ctx context.Context, command ledger.Command) (index uint64, err error) {
	result, index, err := a.cfg.Log.Propose(ctx, command)
	if err != nil {
		return 0, err
	}
	if result.Refusal != nil {
		return 0, result.Refusal
	}
	return index, a.cfg.Log.Wait(ctx, index)
}

// holders returns the nodes that were last seen to have the image.
func (a *API) holders(id string) (nodes []string) {
	a.cfg.Log.View(func(l *ledger.Ledger) { nodes = l.ImageHolders(id) })
	return nodes
}

// settle has the nodes' engines agree with the ledger as it was at the index, and
// returns what they removed for that. A node that does not do it now does it
// later by itself.
func (a *API) settle(ctx context.Context, nodes []string, index uint64) map[string][]engine.RemovedImage {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	query := url.Values{queryIndex: {strconv.FormatUint(index, 10)}}
	var mu sync.Mutex
	removed := map[string][]engine.RemovedImage{}
	var settling sync.WaitGroup
	for _, node := range nodes {
		if !a.hosts.answers(node) {
			continue
		}
		settling.Go(func() {
			if a.silent(ctx, node) {
				return
			}
			var steps []engine.RemovedImage
			body, err := a.hosts.do(ctx, http.MethodPost, node, pathSettle, query)
			if err == nil {
				err = json.Unmarshal(body, &steps)
			}
			if err != nil {
				a.log.Debug("names of images are settled later", "node", node, "err", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			removed[node] = steps
		})
	}
	settling.Wait()
	return removed
}

// steps is what was removed from all hosts, each thing once, in order.
type steps []engine.RemovedImage

func (s *steps) add(more ...engine.RemovedImage) {
	for _, one := range more {
		if !slices.Contains(*s, one) {
			*s = append(*s, one)
		}
	}
}
