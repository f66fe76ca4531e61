package node

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"ddocker/engine"
	"ddocker/engine/enginetest"
	"ddocker/sched"
)

// post asks the engine for something that package engine has no verb for.
func post(ctx context.Context, e *engine.Engine, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://docker"+path, nil)
	if err != nil {
		return err
	}
	resp, err := e.RoundTripper().RoundTrip(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	return nil
}

// cores returns the cores of the engine's containers by name, as "0,1-3".
func (h *host) cores() map[string]string {
	h.w.Helper()
	list, err := h.docker.Containers(h.w.Context())
	if err != nil {
		h.w.Fatal(err)
	}
	cores := map[string]string{}
	for _, c := range list {
		cores[c.Name] = sched.CPUs(c.Cores...).String()
	}
	return cores
}

func wantCores(t *testing.T, h *host, want map[string]string) {
	t.Helper()
	if got := h.cores(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("cores are %v, want %v", got, want)
	}
}

func TestContainersWithoutCoresKeepOffThoseOfOthersAndComeBack(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.create("early", sched.Request{})
		_, id := h.create("pinned", sched.Request{MilliCPU: 2 * sched.Core})
		h.create("late", sched.Request{MilliCPU: 500})
		wantCores(t, h, map[string]string{"early": "2-3", "pinned": "0-1", "late": "2-3"})
		if err := h.docker.Remove(w.Context(), id, false, false); err != nil {
			t.Fatal(err)
		}
		if err := h.Removed(w.Context(), id); err != nil {
			t.Fatal(err)
		}
		h.look()
		wantCores(t, h, map[string]string{"early": "0-3", "late": "0-3"})
	})
}

func TestContainersAreNotTouchedWhileNothingIsPinned(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.create("web", sched.Request{})
		h.look()
		wantCores(t, h, map[string]string{"web": ""})
	})
}

func TestContainersOutsideTheClusterAreNeverMoved(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.outside("db", plain)
		h.look()
		h.create("pinned", sched.Request{MilliCPU: sched.Core})
		h.look()
		wantCores(t, h, map[string]string{"db": "", "pinned": "0"})
	})
}

// Cores are pinned while a container is being made that shares them.
func TestContainerThatIsMadeMeanwhileKeepsOffPinnedCoresToo(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.twin.SetLatency(enginetest.Create, time.Second)
		p, index := h.place("slow", sched.Request{})
		done := make(chan error, 1)
		go func() {
			_, _, err := h.Realize(w.Context(), p.ID, index, "", []byte(plain))
			done <- err
		}()
		synctest.Wait()
		h.twin.SetLatency(enginetest.Create, 0)
		h.create("pinned", sched.Request{MilliCPU: 2 * sched.Core})
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		wantCores(t, h, map[string]string{"slow": "2-3", "pinned": "0-1"})
	})
}

// The log may not have come as far here as the host that confirmed it.
func TestContainerThatIsNotConfirmedHereKeepsOffPinnedCoresToo(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		p, _ := h.place("web", sched.Request{})
		h.outside("web", `{"Image":"busybox","Labels":{"ddocker.placement":"`+p.ID+`"}}`)
		h.create("pinned", sched.Request{MilliCPU: 2 * sched.Core})
		wantCores(t, h, map[string]string{"web": "2-3", "pinned": "0-1"})
	})
}
