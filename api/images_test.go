package api

import (
	"net/http"
	"testing"
)

func TestImageIsAskedOfAHostThatHasIt(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		id := w.hosts[2].twin.AddImage("reg:5000/team/app:1")
		h := w.hosts[0]
		for _, ref := range []string{"reg:5000/team/app:1", id} {
			if got := read[struct{ ID string }](w, h.want(http.StatusOK, "", get, "/v1.41/images/"+ref+"/json", "")); got.ID != id {
				t.Errorf("%s is %s", ref, got.ID)
			}
		}
		h.want(http.StatusNotFound, "No such image: none:1", get, "/images/none:1/json", "")
		h.want(http.StatusCreated, "", post, "/images/"+id+"/tag?repo=app&tag=2", "")
		if !h.api.HasImage(w.Context(), "id-n3", "app:2") || h.api.HasImage(w.Context(), "id-n1", "app:2") || h.api.HasImage(w.Context(), "id-n3", "../x") {
			t.Error("the tag is not where the image is")
		}
	})
}

func TestImageIsRemovedFromEveryHostUnlessSomebodyUsesIt(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		for _, h := range w.hosts[1:] {
			h.twin.AddImage("app:1")
		}
		w.settle()
		h := w.hosts[0]
		h.create("web", `{"Image":"app:1","Labels":{"ddocker.node":"n2"}}`)
		h.want(http.StatusConflict, "container web on host n2 is using it", del, "/images/app:1", "")
		h.want(http.StatusNoContent, "", del, "/containers/web", "")
		h.want(http.StatusOK, "Untagged", del, "/images/app:1", "")
		h.want(http.StatusNotFound, "No such image: app:1", del, "/images/app:1", "")
		for _, one := range w.hosts {
			if one.api.HasImage(w.Context(), one.id, "app:1") {
				t.Errorf("%s still has it", one.id)
			}
		}
	})
}

func TestRefusalToRemoveAnImageNamesTheHost(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[1].outside("db") // of the twin's own busybox, which the ledger knows nothing of
		w.hosts[0].want(http.StatusConflict, "host n2: conflict: unable to remove", del, "/images/busybox", "")
		w.hosts[0].want(http.StatusOK, "", del, "/images/busybox?force=1", "")
	})
}

func TestCommitMakesAnImageOnTheHolder(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		h.create("web", on("n2"))
		h.want(http.StatusCreated, "sha256:", post, "/v1.41/commit?container=web&repo=mine&tag=1", "")
		if !h.api.HasImage(w.Context(), "id-n2", "mine:1") || h.api.HasImage(w.Context(), "id-n1", "mine:1") {
			t.Error("the image is not on the holder alone")
		}
		w.settle()
		h.create("again", `{"Image":"mine:1"}`)
		wantList(t, "containers of n2", w.hosts[1].has(), "again", "web")
	})
}

func TestCommitOntoANameThatAnyHostHasIsRefused(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		h := w.hosts[0]
		h.create("web", on("n2"))
		w.hosts[2].twin.AddImage("mine:latest")
		h.want(http.StatusConflict, "image mine:latest already exists on host n3", post, "/commit?container=web&repo=mine", "")
		h.want(http.StatusConflict, "already exists on host n1, n2, n3", post, "/commit?container=web&repo=docker.io/library/busybox&tag=latest", "")
		h.want(http.StatusBadRequest, `invalid image name \"Mine\"`, post, "/commit?container=web&repo=Mine", "")
		h.want(http.StatusBadRequest, `invalid image name \"mine:a b\"`, post, "/commit?container=web&repo=mine&tag=a%20b", "")
		h.want(http.StatusNotFound, "No such container", post, "/commit?repo=mine", "")
		h.want(http.StatusCreated, "sha256:", post, "/commit?container=web", "")
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
