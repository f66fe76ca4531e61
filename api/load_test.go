package api

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"

	"ddocker/consensus/ledger"
	"ddocker/engine/enginetest"
)

// archive is what docker save writes of these images, by name, on a machine that
// has nothing to do with the cluster.
func (w *world) archive(contents map[string]string) []byte {
	w.Helper()
	twin := enginetest.New(enginetest.Config{Name: "elsewhere"})
	for name, content := range contents {
		twin.AddLayered(name, []byte(content))
	}
	ctx, cancel := context.WithCancel(w.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	pipe := enginetest.Listen()
	running.Go(func() { twin.Serve(ctx, pipe) })
	way := &http.Transport{DialContext: dialer(pipe)}
	defer way.CloseIdleConnections()
	docker, err := client.NewClientWithOpts(client.WithHost("tcp://elsewhere:1"), client.WithHTTPClient(&http.Client{Transport: way}), client.WithVersion("1.41"))
	if err != nil {
		w.Fatal(err)
	}
	r, err := docker.ImageSave(ctx, slices.Sorted(maps.Keys(contents)))
	if err != nil {
		w.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		w.Fatal(err)
	}
	return data
}

func (h *agent) load(archive []byte) string {
	h.w.Helper()
	answer, err := h.cli(dockerCLI).ImageLoad(h.w.Context(), bytes.NewReader(archive))
	return h.w.drain(answer.Body, err)
}

func TestLoadNamesItsImagesInTheWholeCluster(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		text := w.hosts[0].load(w.archive(map[string]string{"mine:1": "one", "reg:5000/team/mine": "two"}))
		for _, words := range []string{`"stream":"Loaded image: mine:1\n"`, `"stream":"Loaded image: reg:5000/team/mine:latest\n"`} {
			if !strings.Contains(text, words) {
				t.Errorf("no %s in\n%s", words, text)
			}
		}
		if strings.Contains(text, "Loaded image ID") || strings.Contains(text, "error") {
			t.Errorf("got %s", text)
		}
		i := w.named("mine:1")
		if i == nil || i.Owner != "alice" || i.ID != w.hosts[0].imageID("mine:1") {
			t.Errorf("the ledger has %+v", i)
		}
		w.hosts[1].create("web", `{"Image":"mine:1","Labels":{"ddocker.node":"n2"}}`)
	})
}

func TestLoadTakesNoNameFromAnotherImage(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		taken := w.hosts[1].twin.AddLayered("mine:2", []byte("another"))
		w.settle()
		text := w.hosts[0].load(w.archive(map[string]string{"mine:1": "one", "mine:2": "two", "mine:3": "three"}))
		for _, words := range []string{`Loaded image: mine:1\n`, `Loaded image: mine:3\n`,
			`"error":"image mine:2 already exists on host n2, as ` + ledger.Short(taken), `"errorDetail":{"message":"image mine:2 already exists`} {
			if !strings.Contains(text, words) {
				t.Errorf("no %s in\n%s", words, text)
			}
		}
		if at := strings.Index(text, `"error"`); strings.Contains(text[max(0, at):], "Loaded image") {
			t.Errorf("the error is not the last: %s", text)
		}
		if i := w.named("mine:2"); i == nil || i.ID != taken {
			t.Errorf("the ledger has %+v", i)
		}
		wantList(t, "names on n1", w.hosts[0].tags(), "busybox:latest", "mine:1", "mine:3")
		list, err := w.hosts[0].docker.Images(w.Context())
		if err != nil || len(list) != 3 {
			t.Errorf("n1 has %d images, %v", len(list), err)
		}
	})
}

func TestLoadTakesNoImageThatWasThereBefore(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		w.hosts[1].twin.AddLayered("mine:1", []byte("another"))
		unnamed := h.twin.AddLayered("tmp:1", []byte("unnamed"))
		h.twin.AddLayered("tmp:1", []byte("new"))
		named := h.twin.AddLayered("other:1", []byte("named"))
		w.settle()
		for _, content := range []string{"unnamed", "named"} {
			h.want(http.StatusConflict, "image mine:1 already exists", post, "/images/load", string(w.archive(map[string]string{"mine:1": content})))
		}
		if h.imageID(unnamed) == "" || h.imageID(named) == "" {
			t.Error("a load that was refused removed an image")
		}
	})
}

func TestLoadOfAnImageThatTheClusterHasElsewhereLeavesItsCopy(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		id := w.hosts[1].twin.AddLayered("app:1", []byte("app"))
		w.hosts[1].twin.AddLayered("mine:1", []byte("another"))
		w.settle()
		h := w.hosts[0]
		h.want(http.StatusConflict, "image mine:1 already exists", post, "/images/load", string(w.archive(map[string]string{"mine:1": "app"})))
		if h.imageID(id) == "" {
			t.Error("an image that has a name in the cluster was removed")
		}
	})
}

func TestLoadOfWhatIsNoArchiveIsRefused(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		for _, body := range []string{"no archive", strings.Repeat("x", 1<<20)} {
			got := h.ask(post, "/images/load", body)
			if !strings.Contains(got.body, "archive") && !strings.Contains(got.body, "tar") {
				t.Errorf("got %+v", got)
			}
		}
		wantList(t, "names", h.tags(), "busybox:latest")
	})
}

func TestLoadAgainChangesNothing(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		archive := w.archive(map[string]string{"mine:1": "one"})
		w.hosts[0].load(archive)
		before := w.named("mine:1")
		if text := w.hosts[1].load(archive); !strings.Contains(text, "Loaded image: mine:1") {
			t.Errorf("got %s", text)
		}
		if after := w.named("mine:1"); after == nil || after.ID != before.ID || after.Created != before.Created {
			t.Errorf("the ledger has %+v", after)
		}
		wantList(t, "hosts that have it", w.with("mine:1"), "n1", "n2")
	})
}

func TestImportIsNamedInTheWholeCluster(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		var files bytes.Buffer
		tar.NewWriter(&files).Close()
		source := image.ImportSource{Source: &files, SourceName: "-"}
		text := w.drain(h.cli(dockerCLI).ImageImport(w.Context(), source, "mine", image.ImportOptions{Tag: "1"}))
		i := w.named("mine:1")
		if i == nil || !strings.Contains(text, `{"status":"`+i.ID+`"}`) {
			t.Errorf("got %s, the ledger has %+v", text, i)
		}
		w.hosts[1].want(http.StatusConflict, "image mine:1 already exists on host n1, as", post, "/images/create?fromSrc=-&repo=mine&tag=1", "another tar")
		w.hosts[1].want(http.StatusBadRequest, "invalid", post, "/images/create?fromSrc=-&repo=Mine", "another tar")
	})
}
