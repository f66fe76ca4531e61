package api

import (
	"cmp"
	"context"
	"encoding/json"
	"sync"

	"github.com/docker/docker/api/types/versions"
)

// apiRange is which versions of the API an engine speaks; empty: it has not told.
type apiRange struct{ oldest, newest string }

// upgraded forgets what a host's engine speaks if a reply shows another newest
// version.
func (h *hosts) upgraded(id, newest string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if newest != "" && h.speak[id].newest != newest {
		delete(h.speak, id)
	}
}

// common returns what all engines of the cluster speak that ever told: up to the
// lowest of their newest versions. A newer client then asks for nothing that only
// some of them know. Each is asked once, and again after an upgrade; who does not
// answer is waited for once.
func (h *hosts) common(ctx context.Context) (all apiRange) {
	list := h.all()
	var asking sync.WaitGroup
	for _, one := range list {
		h.mu.Lock()
		known := h.speak[one.id].newest != ""
		h.mu.Unlock()
		if !known && h.answers(one.id) {
			asking.Go(func() { h.askRange(ctx, one.id) })
		}
	}
	asking.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, one := range list {
		r := h.speak[one.id]
		if r.newest == "" {
			continue
		}
		if all.newest == "" || versions.LessThan(r.newest, all.newest) {
			all.newest = r.newest
		}
		if all.oldest == "" || versions.GreaterThan(r.oldest, all.oldest) {
			all.oldest = r.oldest
		}
	}
	if all.newest != "" && versions.GreaterThan(all.oldest, all.newest) {
		all.oldest = all.newest // no version is common: each request is put into its engine's
	}
	return all
}

func (h *hosts) askRange(ctx context.Context, id string) {
	body, err := h.get(ctx, id, "/version", nil)
	if err != nil {
		if ctx.Err() == nil && !answered(err) {
			h.miss(id)
		}
		return
	}
	var v struct{ APIVersion, MinAPIVersion string }
	if json.Unmarshal(body, &v) != nil || v.APIVersion == "" {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.speak[id] = apiRange{cmp.Or(v.MinAPIVersion, v.APIVersion), v.APIVersion}
}

// inComponent writes the range into what /version tells of the engine itself.
func (r apiRange) inComponent(component json.RawMessage) json.RawMessage {
	var c, details map[string]json.RawMessage
	if r.newest == "" || json.Unmarshal(component, &c) != nil || json.Unmarshal(c["Details"], &details) != nil || details["ApiVersion"] == nil {
		return component
	}
	details["ApiVersion"], details["MinAPIVersion"] = raw(r.newest), raw(r.oldest)
	c["Details"] = raw(details)
	return raw(c)
}
