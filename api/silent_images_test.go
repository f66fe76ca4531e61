package api

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	dockerimage "github.com/docker/docker/api/types/image"

	"ddocker/consensus/ledger"
	"ddocker/image"
	"ddocker/settings"
)

func TestNothingIsAskedOfAnEngineThatIsKnownNotToAnswer(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		w.hosts[1].twin.AddImage("mine:1")
		w.settle()
		h.twin.Hang()
		time.Sleep(time.Minute) // until the cluster knows
		for _, path := range []string{
			"/images/create?fromImage=mine&tag=1", "/images/create?fromImage=none&tag=1", "/images/create?fromImage=none",
			"/images/create?fromSrc=-&repo=x", "/images/create?fromSrc=-", "/images/load",
		} {
			asked := time.Now()
			h.want(http.StatusServiceUnavailable, `the Docker Engine of host n1 does not answer: see \"ddocker nodes\"`, post, path, "")
			if waited := time.Since(asked); waited > time.Second {
				t.Errorf("%s took %v", path, waited)
			}
		}
		asked := time.Now()
		if err := w.hosts[1].api.BringImage(w.Context(), h.id, w.named("mine:1").ID, "mine:1"); err == nil || !strings.Contains(err.Error(), "the Docker Engine of host n1 does not answer") {
			t.Errorf("bring: %v", err)
		}
		if waited := time.Since(asked); waited > time.Second {
			t.Errorf("a bring took %v", waited)
		}
	})
}

func TestPruneLeavesAHungHostOut(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		w.hosts[1].create("web", on("n2"))
		id := read[struct{ ID string }](w, w.hosts[1].want(http.StatusCreated, "", post, "/commit?container=web", "")).ID
		w.hosts[2].twin.Hang()
		asked := time.Now()
		done := read[pruned](w, w.hosts[0].want(http.StatusOK, id, post, "/images/prune", ""))
		wantList(t, "hosts left out", done.Ddocker.Away, "n3")
		if waited := time.Since(asked); waited > 2*time.Second {
			t.Errorf("it took %v", waited)
		}
	})
}

func TestBringEndsWhenTheEngineOfItsHostFallsSilent(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		for i, h := range w.hosts { // to the host itself, and to another
			other := w.hosts[1-i]
			other.twin.AddImage("mine:1")
			w.settle()
			w.hosts[1].api.local.images = slowImages{nodeImages{w.hosts[1].node}, make(chan error, 1)}
			w.hosts[1].api.cfg.Images = w.hosts[1].api.local.images
			ended := make(chan error, 1)
			go func() { ended <- h.api.BringImage(w.Context(), w.hosts[1].id, w.named("mine:1").ID, "mine:1") }()
			time.Sleep(time.Second)
			w.hosts[1].twin.Hang()
			if err := <-ended; err == nil || !strings.Contains(err.Error(), "the Docker Engine of host n2 does not answer") {
				t.Errorf("bring: %v", err)
			}
			w.hosts[1].twin.Unhang()
			time.Sleep(time.Minute)
		}
	})
}

func TestHostThatBringsKnowsWhatItsAskerKnows(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h, late := w.hosts[0], w.hosts[1]
		seen := &seenImages{Images: late.api.local.images, on: late}
		late.api.local.images = seen
		late.replica.Lag()
		w.configure(settings.Default())
		if err := h.api.BringImage(w.Context(), late.id, "sha256:01", "mine:1"); err != nil || seen.index != uint64(w.log.Len()) {
			t.Errorf("n2 knows the first %d of %d entries: %v", seen.index, w.log.Len(), err)
		}
	})
}

// seenImages notes what its host knows when it is to bring an image.
type seenImages struct {
	Images
	on    *agent
	index uint64
}

func (s *seenImages) Bring(context.Context, string, string, func(image.Progress)) error {
	s.on.replica.View(func(l *ledger.Ledger) { s.index = l.Index() })
	return nil
}

func TestPushNamesItsHost(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[1].twin.AddImage("mine:1")
		w.settle()
		for agent, h := range map[string]*agent{dockerCLI: w.hosts[0], dockerPy: w.hosts[1]} {
			text := w.drain(h.cli(agent).ImagePush(w.Context(), "mine:1", dockerimage.PushOptions{RegistryAuth: "e30="}))
			if !strings.HasPrefix(text, `{"status":"Pushing from host n2"}`+"\n"+`{"status":"The push refers to`) {
				t.Errorf("got %s", text)
			}
		}
	})
}
