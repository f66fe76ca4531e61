package api

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"

	"ddocker/consensus/ledger"
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

func TestDockerRunIsToldToPullWhereTheContainerWillBe(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		id := w.hosts[1].twin.AddLayered("mine:1", []byte("mine"))
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
	})
}

func TestCreateAfterItsPullGoesWhereTheImageWasBrought(t *testing.T) {
	inWorld(t, 4, func(w *world) {
		w.hosts[1].twin.AddLayered("mine:1", []byte("mine"))
		w.settle()
		docker := w.hosts[0].cli(dockerCLI)
		create := func(name string) error {
			_, err := docker.ContainerCreate(w.Context(), &container.Config{Image: "mine:1"}, &container.HostConfig{Resources: container.Resources{NanoCPUs: 4e9}}, nil, nil, name)
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
			w.drain(docker.ImagePull(w.Context(), "mine:1", image.PullOptions{}))
			brought := w.with("mine:1")
			if err := create(name); err != nil {
				t.Fatalf("create %d again: %v", i, err)
			}
			wantList(t, "hosts with the image", w.with("mine:1"), brought...)
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

func TestInterruptedPullStopsTheTransfer(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		ended := make(chan error, 1)
		h.api.cfg.Images = slowImages{nodeImages{h.node}, ended}
		ctx, cancel := context.WithTimeout(w.Context(), 2*time.Second)
		defer cancel()
		r, err := h.cli(dockerCLI).ImagePull(ctx, "busybox:latest", image.PullOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if err := <-ended; err == nil {
			t.Error("the transfer goes on")
		}
	})
}
