package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestHolderThatCannotBeReachedFreesThePlacement(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		h.api.cfg.Peer = func(string) http.RoundTripper { return unplugged{} }
		h.want(http.StatusServiceUnavailable, "host n2 cannot be reached", post, "/containers/create?name=web", on("n2"))
		if w.placement("web") != nil {
			t.Error("the placement is still held")
		}
	})
}

func TestHolderThatBreaksOffMayHaveBegun(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		h.api.cfg.Peer = func(string) http.RoundTripper { return brokenOff{w.hosts[1].peers} }
		h.want(http.StatusServiceUnavailable, "host n2 broke off, see", post, "/containers/create?name=web", on("n2"))
		if w.placement("web") == nil {
			t.Error("the placement is released though its container is there")
		}
		wantList(t, "containers of n2", w.hosts[1].has(), "web")
	})
}

// brokenOff carries a change and loses the answer.
type brokenOff struct{ to http.RoundTripper }

func (b brokenOff) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.to.RoundTrip(r)
	if r.Method != post {
		return resp, err
	}
	if err == nil {
		resp.Body.Close()
	}
	return nil, fmt.Errorf("connection reset: %w", context.Canceled)
}

func TestContainerIsMadeThoughItsClientHasGone(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].api.cfg.Peer = func(string) http.RoundTripper { return slow{w.hosts[1].peers} }
		ctx, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, post, "http://ddocker/containers/create?name=web", strings.NewReader(on("n2")))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if resp, err := w.hosts[0].client.RoundTrip(req); err == nil {
			t.Fatal(resp.Status)
		}
		time.Sleep(time.Minute)
		if p := w.placement("web"); p == nil || p.Container == "" {
			t.Errorf("the ledger has %+v", p)
		}
	})
}

// slow carries a change after two seconds.
type slow struct{ to http.RoundTripper }

func (s slow) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != post {
		return s.to.RoundTrip(r)
	}
	select {
	case <-time.After(2 * time.Second):
		return s.to.RoundTrip(r)
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

func TestCreateIsNotSentIntoADeadConnection(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		h.api.cfg.Peer = func(string) http.RoundTripper { return deaf{} }
		asked := time.Now()
		h.want(http.StatusServiceUnavailable, "host n2 cannot be reached", post, "/containers/create?name=web", on("n2"))
		if waited := time.Since(asked); waited > 3*time.Second {
			t.Errorf("it took %v", waited)
		}
		if w.placement("web") != nil {
			t.Error("the placement is still held")
		}
	})
}

// deaf is a connection to a machine that was unplugged: nothing comes back.
type deaf struct{}

func (deaf) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}
