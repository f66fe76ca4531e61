package api

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/docker/docker/api/types/image"

	"ddocker/consensus/ledger"
)

func TestImageIsAskedOfAHostThatHasIt(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		id := w.hosts[2].twin.AddImage("reg:5000/team/app:1")
		h := w.hosts[0]
		for _, ref := range []string{"reg:5000/team/app:1", id, id[:20], ledger.Short(id)} {
			if got := read[struct{ ID string }](w, h.want(http.StatusOK, "", get, "/v1.41/images/"+ref+"/json", "")); got.ID != id {
				t.Errorf("%s is %s", ref, got.ID)
			}
			h.want(http.StatusOK, "", get, "/images/"+ref+"/history", "")
		}
		h.want(http.StatusNotFound, "No such image: none:1", get, "/images/none:1/json", "")
		h.want(http.StatusBadRequest, "invalid reference format", get, "/images/None/json", "")
		h.want(http.StatusNotFound, "No such node: n9", get, "/images/busybox@n9/json", "")
		h.want(http.StatusNotFound, "No such image on host n1: none", get, "/images/none@n1/json", "")
	})
}

func TestTagIsTheClustersAndOnEveryHostThatHasTheImage(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		for _, h := range w.hosts[1:] {
			h.twin.AddImage("reg:5000/team/app:1")
		}
		w.settle()
		h := w.hosts[0]
		h.want(http.StatusCreated, "", post, "/images/reg:5000/team/app:1/tag?repo=app&tag=2", "")
		wantList(t, "hosts with the tag", w.with("app:2"), "n2", "n3")
		h.want(http.StatusCreated, "", post, "/images/app:2/tag?repo=app&tag=2", "")
		h.want(http.StatusConflict, "image busybox:latest already exists on host n1, n2, n3", post, "/images/app:2/tag?repo=docker.io/library/busybox", "")
		h.want(http.StatusBadRequest, `invalid image name \"App\"`, post, "/images/app:2/tag?repo=App", "")
		h.want(http.StatusNotFound, "No such image: none", post, "/images/none/tag?repo=app", "")
		if i := w.named("app:2"); i == nil || i.Owner != "alice" {
			t.Errorf("the ledger has %+v", i)
		}
	})
}

func TestNamesakeIsReachedByItsHost(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		first := w.hosts[0].twin.AddLayered("app:1", []byte("first"))
		w.settle()
		second := w.hosts[1].twin.AddLayered("app:1", []byte("second"))
		w.settle()
		for ref, want := range map[string]string{"app:1": first, "app:1@n2": second, "app:1@id-n2": second, "app:1@n1": first} {
			for _, h := range w.hosts {
				if got := read[struct{ ID string }](w, h.want(http.StatusOK, "", get, "/images/"+ref+"/json", "")); got.ID != want {
					t.Errorf("%s is %s, want %s", ref, got.ID, want)
				}
			}
		}
		w.hosts[0].want(http.StatusOK, "Deleted", del, "/images/app:1@n2", "")
		if w.hosts[1].imageID(second) != "" || w.hosts[0].imageID("app:1") != first {
			t.Error("the namesake alone should be gone")
		}
	})
}

func TestCommitIsThereForEveryHost(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		h.create("web", on("n2"))
		made := read[struct{ ID string }](w, h.want(http.StatusCreated, "sha256:", post, "/v1.41/commit?container=web&repo=mine&tag=1&comment=well", ""))
		if i := w.named("mine:1"); i == nil || i.ID != made.ID || i.Owner != "alice" || i.Claim != "" {
			t.Errorf("the ledger has %+v", i)
		}
		h.create("again", `{"Image":"mine:1","Labels":{"ddocker.node":"n1"}}`)
		wantList(t, "containers of n1", h.has(), "again")
		wantList(t, "hosts that have it", w.with("mine:1"), "n1", "n2")
	})
}

func TestCommitOntoATakenNameSaysWhoseItIs(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		h := w.hosts[0]
		h.create("web", on("n2"))
		id := w.hosts[2].twin.AddLayered("mine:latest", []byte("mine"))
		w.settle()
		h.want(http.StatusConflict, "image mine:latest already exists on host n3, as "+ledger.Short(id), post, "/commit?container=web&repo=mine", "")
		h.want(http.StatusConflict, "already exists on host n1, n2, n3", post, "/commit?container=web&repo=docker.io/library/busybox&tag=latest", "")
		h.want(http.StatusBadRequest, `invalid image name \"Mine\"`, post, "/commit?container=web&repo=Mine", "")
		h.want(http.StatusBadRequest, `invalid image name \"mine:a b\"`, post, "/commit?container=web&repo=mine&tag=a%20b", "")
		h.want(http.StatusNotFound, "No such container", post, "/commit?repo=mine", "")
		h.want(http.StatusCreated, "sha256:", post, "/commit?container=web", "")
	})
}

func TestOfTwoCommitsOntoOneNameOneIsMade(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].create("one", on("n1"))
		w.hosts[0].create("two", on("n2"))
		var mu sync.Mutex
		made := map[int]int{}
		var clients sync.WaitGroup
		for i, container := range []string{"one", "two"} {
			clients.Go(func() {
				got := w.hosts[i].ask(post, "/commit?container="+container+"&repo=mine", "")
				mu.Lock()
				defer mu.Unlock()
				if made[got.status]++; got.status == http.StatusConflict && !strings.Contains(got.body, "image mine:latest") {
					t.Errorf("got %+v", got)
				}
			})
		}
		clients.Wait()
		if made[http.StatusCreated] != 1 || made[http.StatusConflict] != 1 {
			t.Errorf("answers are %v", made)
		}
		if len(w.with("mine:latest")) != 1 {
			t.Errorf("it is on %v", w.with("mine:latest"))
		}
	})
}

func TestCommitThatItsHostWasNotAskedForGivesTheNameUp(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		h.create("web", on("n2"))
		h.api.cfg.Peer = func(string) http.RoundTripper { return unplugged{} }
		w.forgetHeard()
		h.want(http.StatusServiceUnavailable, "n2", post, "/commit?container=web&repo=mine", "")
		if i := w.named("mine:latest"); i != nil {
			t.Errorf("the ledger has %+v", i)
		}
	})
}

func TestSaveOfImagesOfSeveralHostsBringsThemTogether(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		w.hosts[1].twin.AddLayered("one:1", []byte("one"))
		w.hosts[2].twin.AddLayered("two:1", []byte("two"))
		w.settle()
		got := w.hosts[0].want(http.StatusOK, "manifest.json", get, "/images/get?names=one:1&names=two:1", "")
		for _, name := range []string{"one:1", "two:1"} {
			if !strings.Contains(got.body, name) {
				t.Errorf("%s is not in the archive", name)
			}
		}
		w.hosts[0].want(http.StatusNotFound, "No such image: none:1", get, "/images/get?names=one:1&names=none:1", "")
	})
}

func TestPushGoesToAHostThatHasTheNames(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		docker := w.hosts[0].cli(dockerCLI)
		w.hosts[1].twin.AddLayered("reg:5000/app:1", []byte("one"))
		w.hosts[1].twin.AddLayered("reg:5000/app", []byte("two"))
		w.settle()
		for _, o := range []struct {
			name string
			all  bool
		}{{"reg:5000/app:1", false}, {"reg:5000/app", true}} {
			text := w.drain(docker.ImagePush(w.Context(), o.name, image.PushOptions{RegistryAuth: "e30=", All: o.all}))
			if strings.Contains(text, "error") || !strings.Contains(text, "reg:5000/app") {
				t.Errorf("push %s says %s", o.name, text)
			}
		}
		for name, words := range map[string]string{"reg:5000/app:3": "does not exist locally with the tag: reg:5000/app", "none": "does not exist locally with the tag: none"} {
			if text := w.drain(docker.ImagePush(w.Context(), name, image.PushOptions{RegistryAuth: "e30="})); !strings.Contains(text, words) {
				t.Errorf("push %s says %s", name, text)
			}
		}
		w.hosts[0].want(http.StatusOK, "An image does not exist locally with the tag: none", post, "/images/none/push", "")
	})
}

func TestHostsTellTheirStore(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		rows := read[[]nodeRow](w, w.hosts[0].want(http.StatusOK, "", get, "/ddocker/nodes", ""))
		if len(rows) != 1 || !strings.HasPrefix(rows[0].Store, "engine API") {
			t.Errorf("got %+v", rows)
		}
	})
}

// The labels of the placement are in the image, and so in what plain docker
// makes of it.
func TestContainerOfACommittedImageOutsideTheClusterIsAnOutsider(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		h.create("web", on("n1"))
		body := `{"Image":"busybox","Labels":{"ddocker.placement":"` + w.placement("web").ID + `"}}`
		if status, _, err := h.docker.Create(w.Context(), "copy", "", []byte(body)); status != http.StatusCreated || err != nil {
			t.Fatal(status, err)
		}
		w.settle()
		h.want(http.StatusNoContent, "", del, "/containers/copy", "")
		if w.placement("web") == nil {
			t.Error("the removal of the copy frees the original's placement")
		}
		wantList(t, "rows", rowWords(w.hosts[1].ps("all=1")), "web on n1")
	})
}

// forgetHeard has all hosts doubt what they last heard of the others.
func (w *world) forgetHeard() {
	for _, h := range w.hosts {
		h.api.hosts.mu.Lock()
		clear(h.api.hosts.heard)
		h.api.hosts.mu.Unlock()
	}
}

// unnamed proposes that a name is taken from its image, and nothing else.
func (w *world) unnamed(name string) {
	w.Helper()
	id := w.named(name).ID
	if _, _, err := w.hosts[0].replica.Propose(w.Context(), ledger.Command{Unname: &ledger.Unname{Name: name, ID: id}}); err != nil {
		w.Fatal(err)
	}
}
