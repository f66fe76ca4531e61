package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"

	"ddocker/consensus/ledger"
	"ddocker/engine/enginetest"
	"ddocker/node/nodetest"
)

func TestPullOfAKnownNameBringsItFromTheHostThatHasIt(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		id := w.hosts[1].twin.AddLayered("mine:1", []byte("below"), []byte("above"))
		w.settle()
		text := w.drain(h.cli(dockerCLI).ImagePull(w.Context(), "mine:1", image.PullOptions{}))
		for _, words := range []string{
			`{"status":"Pulling from library/mine","id":"1"}`, `"status":"Pull complete"`, `{"status":"Status: Downloaded newer image for mine:1"}`,
		} {
			if !strings.Contains(text, words) {
				t.Errorf("no %s in\n%s", words, text)
			}
		}
		if got := h.imageID("mine:1"); got != id {
			t.Errorf("the name is %q here, want %s", got, id)
		}
		text = w.drain(h.cli(dockerCLI).ImagePull(w.Context(), "mine:1", image.PullOptions{}))
		if !strings.Contains(text, "Status: Image is up to date for mine:1") {
			t.Errorf("got %s", text)
		}
	})
}

// large is a layer that somebody wants to see come.
func large(name string) []byte { return append([]byte(name), make([]byte, quick)...) }

func TestDockerRunIsToldToPullWhereTheContainerWillBe(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		id := w.hosts[1].twin.AddLayered("mine:1", large("mine"))
		w.settle()
		docker := w.hosts[0].cli(dockerCLI)
		made := func() (container.CreateResponse, error) {
			return docker.ContainerCreate(w.Context(), &container.Config{Image: "mine:1", Labels: map[string]string{labelNode: "n3"}}, nil, nil, nil, "web")
		}
		if _, err := made(); !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "No such image: mine:1") {
			t.Fatalf("the first create: %v", err)
		}
		if w.placement("web") != nil {
			t.Error("its placement is still held")
		}
		if text := w.drain(docker.ImagePull(w.Context(), "mine:1", image.PullOptions{})); !strings.Contains(text, "Downloaded newer image") {
			t.Errorf("the pull says %s", text)
		}
		if got := w.hosts[2].imageID("mine:1"); got != id {
			t.Errorf("the image is not where the container will be: %q", got)
		}
		if _, err := made(); err != nil {
			t.Fatal(err)
		}
		wantList(t, "containers of n3", w.hosts[2].has(), "web")
		w.drain(docker.ImagePull(w.Context(), "mine:1", image.PullOptions{}))
		wantList(t, "hosts that have it after somebody else's pull", w.with("mine:1"), "n1", "n2", "n3")
	})
}

func TestClientThatPullsBeforeItCreatesIsNotToldToPull(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].twin.AddLayered("mine:1", large("mine"))
		w.registry.Publish("alpine:3", large("alpine"))
		w.settle()
		docker := w.hosts[0].cli(dockerCLI)
		for i, name := range []string{"mine:1", "alpine:3"} {
			w.drain(docker.ImagePull(w.Context(), name, image.PullOptions{}))
			config := container.Config{Image: name, Labels: map[string]string{labelNode: "n2"}}
			if _, err := docker.ContainerCreate(w.Context(), &config, nil, nil, nil, fmt.Sprint("web", i)); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestCreateWaitsForTheFewBytesThatItsHostLacks(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].twin.AddLayered("mine:1", []byte("mine"))
		w.settle()
		config := container.Config{Image: "mine:1", Labels: map[string]string{labelNode: "n2"}}
		if _, err := w.hosts[0].cli(dockerCLI).ContainerCreate(w.Context(), &config, nil, nil, nil, "web"); err != nil {
			t.Error(err)
		}
	})
}

func TestImageOfUnknownLayersMayTakeAsLongAsAllOfIt(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		w.hosts[1].twin.AddLayered("mine:1", large("mine"))
		h.create("web", `{"Image":"mine:1","Labels":{"ddocker.node":"n2"}}`)
		id := read[struct{ ID string }](w, h.want(http.StatusCreated, "", post, "/commit?container=web", "")).ID
		w.settle()
		for node, want := range map[string]time.Duration{"id-n1": 16 * time.Second, "id-n2": 0} {
			if got := h.api.bringTime(&ledger.Placement{Node: node, ImageID: id}); got != want {
				t.Errorf("%s has %s for an image of %d bytes, want %s", node, got, quick, want)
			}
		}
	})
}

func TestCreateAfterItsPullGoesWhereTheImageWasBrought(t *testing.T) {
	inWorld(t, 4, func(w *world) {
		for _, name := range []string{"one", "two", "three"} {
			w.hosts[1].twin.AddLayered(name, large(name))
		}
		w.settle()
		docker := w.hosts[0].cli(dockerCLI)
		create := func(name string) error {
			_, err := docker.ContainerCreate(w.Context(), &container.Config{Image: name}, &container.HostConfig{Resources: container.Resources{NanoCPUs: 4e9}}, nil, nil, name)
			return err
		}
		for i, name := range []string{"one", "two", "three"} {
			err := create(name)
			if err == nil {
				continue // by chance where the image is
			}
			if !errdefs.IsNotFound(err) {
				t.Fatalf("create %d: %v", i, err)
			}
			w.drain(docker.ImagePull(w.Context(), name, image.PullOptions{}))
			brought := w.with(name)
			if err := create(name); err != nil {
				t.Fatalf("create %d again: %v", i, err)
			}
			wantList(t, "hosts with the image", w.with(name), brought...)
		}
	})
}

func TestOtherClientsWaitForTheImageWithinTheCreate(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		id := w.hosts[0].twin.AddLayered("mine:1", []byte("mine"))
		w.settle()
		made, err := w.hosts[0].cli(dockerPy).ContainerCreate(w.Context(), &container.Config{Image: "mine:1", Labels: map[string]string{labelNode: "n2"}}, nil, nil, nil, "web")
		if err != nil {
			t.Fatal(err)
		}
		if got := w.hosts[1].imageID("mine:1"); got != id {
			t.Errorf("n2 has %q, container %s", got, made.ID)
		}
		wantList(t, "containers of n2", w.hosts[1].has(), "web")
	})
}

func TestPullOfANameThatNobodyHasAsksTheRegistryOnce(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.registry.Publish("alpine:3", []byte("alpine"))
		docker := w.hosts[0].cli(dockerCLI)
		create := func() error {
			_, err := docker.ContainerCreate(w.Context(), &container.Config{Image: "alpine:3", Labels: map[string]string{labelNode: "n2"}}, nil, nil, nil, "web")
			return err
		}
		if err := create(); !errdefs.IsNotFound(err) {
			t.Fatal(err)
		}
		w.drain(docker.ImagePull(w.Context(), "alpine:3", image.PullOptions{}))
		if i := w.named("alpine:3"); i == nil || i.ID != w.hosts[0].imageID("alpine:3") || i.Owner != "alice" || i.Claim != "" {
			t.Errorf("the ledger has %+v", i)
		}
		if err := create(); err != nil { // not told a second time, though n2 lacks it
			t.Fatal(err)
		}
		wantList(t, "hosts that have it", w.with("alpine:3"), "n1", "n2")
	})
}

func TestPullThatFailsGivesTheNameUp(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		got := h.ask(post, "/v1.41/images/create?fromImage=none&tag=1", "")
		if !strings.Contains(got.body, "none") || w.named("none:1") != nil {
			t.Errorf("got %+v, the ledger has %+v", got, w.named("none:1"))
		}
		for query, words := range map[string]string{
			"fromImage=None":           "invalid reference format",
			"fromImage=none&tag=a%20b": "invalid tag format",
			"fromImage=..":             "invalid reference format",
		} {
			h.want(http.StatusBadRequest, words, post, "/images/create?"+query, "")
		}
	})
}

func TestPullWaitsForWhoeverIsMakingTheName(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		claim := ledger.Claim{Claim: "c1", Name: "mine:1", Node: "id-n2"}
		w.hosts[1].replica.Propose(w.Context(), ledger.Command{Claim: &claim})
		said := make(chan said, 1)
		go func() { said <- w.hosts[0].ask(post, "/images/create?fromImage=mine&tag=1", "") }()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		id := w.hosts[1].twin.AddLayered("mine:1", []byte("mine"))
		if err := w.hosts[1].node.NameImage(w.Context(), "c1", id, "mine:1", "bob"); err != nil {
			t.Fatal(err)
		}
		got := <-said
		if !strings.Contains(got.body, "Waiting for host n2") || w.hosts[0].imageID("mine:1") != id {
			t.Errorf("got %+v", got)
		}
	})
}

func TestPullWaitsForNoCommitThatNeverBegan(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		other := nodetest.NewLog().Replica() // in which n2's node gives up no claim
		for _, c := range []ledger.Command{
			{Register: &ledger.Register{Node: h.id, Name: "n1"}},
			{Register: &ledger.Register{Node: "id-n2", Name: "n2"}},
			{Claim: &ledger.Claim{Claim: "c1", Name: "mine:1", Node: "id-n2", Owner: "bob", Commit: true}},
		} {
			if r, _, err := other.Propose(w.Context(), c); err != nil || r.Refusal != nil {
				t.Fatal(r, err)
			}
		}
		h.api.cfg.Log = other
		began := time.Now()
		h.want(http.StatusOK, "image mine:1 is still being made by bob on host n2 after 2m0s", post, "/images/create?fromImage=mine&tag=1", "")
		if took := time.Since(began); took < 2*time.Minute || took > 3*time.Minute {
			t.Errorf("it took %s", took)
		}
	})
}

func TestClaimOfACommitSaysSo(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		h.create("web", on("n2"))
		w.hosts[1].twin.SetLatency(enginetest.Commit, time.Minute)
		done := make(chan said, 1)
		go func() { done <- h.ask(post, "/commit?container=web&repo=mine", "") }()
		time.Sleep(time.Second)
		if i := w.named("mine:latest"); i == nil || !i.Commit {
			t.Errorf("the ledger has %+v", i)
		}
		if got := <-done; got.status != http.StatusCreated {
			t.Errorf("got %+v", got)
		}
	})
}

// To an engine, a form in the body of a POST counts more than its query.
func TestNoFormGetsToTheEngine(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		seen := &forms{to: h.api.local.engine}
		h.api.local.engine = seen
		h.api.local.proxy = forward(seen, "the Docker Engine", h.api.log, new(buffers))
		digest := "sha256:" + strings.Repeat("a", 64)
		for query, kind := range map[string]string{
			"create?fromImage=alpine&tag=3":         "",
			"create?fromImage=alpine&tag=" + digest: "",
			"create?fromImage=alpine":               "",
			"create?fromSrc=http://x/&repo=b:1":     "",
			"create?fromSrc=http://x/":              "",
			"create?fromSrc=-&repo=a:1":             "application/x-tar",
			"create?fromSrc=-":                      "application/x-tar",
			"load":                                  "application/x-tar",
		} {
			seen.posted = nil
			req, err := http.NewRequestWithContext(w.Context(), post, "http://ddocker/images/"+query, strings.NewReader("fromImage=busybox&repo=busybox"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			resp, err := h.client.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			wantList(t, query, seen.posted, fmt.Sprintf("%q %t", kind, kind != ""))
		}
	})
}

// forms notes which bodies an engine is sent: of what type, and whether there is any.
type forms struct {
	to     http.RoundTripper
	posted []string
}

func (f *forms) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == post {
		f.posted = append(f.posted, fmt.Sprintf("%q %t", r.Header.Get("Content-Type"), r.Body != nil && r.Body != http.NoBody))
	}
	return f.to.RoundTrip(r)
}

func TestPullOfAnImageWhoseHostsAreAwayNamesThem(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[1].twin.AddLayered("mine:1", []byte("mine"))
		w.settle()
		w.hosts[1].fail()
		w.hosts[0].want(http.StatusServiceUnavailable, "image mine:1 is on host n2, which does not answer", post, "/images/create?fromImage=mine&tag=1", "")
		w.hosts[0].want(http.StatusServiceUnavailable, "image mine:1 is on host n2, which does not answer", get, "/images/mine:1/json", "")
	})
}

func TestPullForAnotherPlatformIsRefused(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.want(http.StatusConflict, "busybox:latest already exists, for linux/amd64, and linux/arm64 is asked for", post, "/images/create?fromImage=busybox&tag=latest&platform=linux/arm64", "")
		h.want(http.StatusOK, "up to date", post, "/images/create?fromImage=busybox&tag=latest&platform=linux/amd64", "")
	})
}

func TestPullOfWhatIsThereNeedsNoLeader(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		h.replica.Cut(true)
		h.want(http.StatusOK, "Status: Image is up to date for busybox:latest", post, "/images/create?fromImage=busybox&tag=latest", "")
	})
}

func TestPullThatOnlyBringsTheNameIsNotUpToDate(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[1].twin.AddLayered("mine:1", []byte("mine"))
		w.hosts[0].twin.AddLayered("other:1", []byte("mine"), []byte("other")) // with the same layer
		w.settle()
		w.hosts[0].want(http.StatusOK, "Status: Downloaded newer image for mine:1", post, "/images/create?fromImage=mine&tag=1", "")
	})
}

func TestInterruptedPullStopsTheTransfer(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		w.hosts[1].twin.AddImage("mine:1")
		w.settle()
		ended := make(chan error, 1)
		h.api.cfg.Images = slowImages{nodeImages{h.node}, ended}
		ctx, cancel := context.WithTimeout(w.Context(), 2*time.Second)
		defer cancel()
		r, err := h.cli(dockerCLI).ImagePull(ctx, "mine:1", image.PullOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if err := <-ended; err == nil {
			t.Error("the transfer goes on")
		}
	})
}
