package api

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/settings"
)

// imageRow is what of a list of images tests look at.
type imageRow struct {
	ID       string
	RepoTags []string
	Created  int64
	Size     int64
	Ddocker  imageExtra
}

func (h *agent) images(filters string) []imageRow {
	h.w.Helper()
	return read[[]imageRow](h.w, h.want(http.StatusOK, "", get, "/v1.41/images/json?filters="+url.QueryEscape(filters), ""))
}

// imageWords writes rows down as "names on hosts", sorted.
func imageWords(rows []imageRow) []string {
	words := []string{}
	for _, r := range rows {
		word := strings.Join(r.RepoTags, " ") + " on " + strings.Join(r.Ddocker.Hosts, ",")
		if len(r.Ddocker.Away) > 0 {
			word += " away " + strings.Join(r.Ddocker.Away, ",")
		}
		words = append(words, word)
	}
	slices.Sort(words)
	return words
}

func TestImagesOfAllHostsAreListedOnceByTheirNames(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].twin.AddLayered("app:1", []byte("first"))
		w.settle()
		w.hosts[1].twin.AddLayered("app:1", []byte("second"))
		w.hosts[1].twin.AddImage("mine:1")
		for range 2 { // before and after n2 has told of them
			for _, h := range w.hosts {
				wantList(t, "rows", imageWords(h.images("")), "app:1 on n1", "app:1@n2 on n2", "busybox:latest on n1,n2", "mine:1 on n2")
			}
			w.settle()
		}
	})
}

func TestListedImageSaysWhoseItIsAndOnHowManyHostsItShouldBe(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		h := w.hosts[0]
		h.create("web", on("n1"))
		h.want(http.StatusCreated, "", post, "/commit?container=web&repo=mine", "")
		s := settings.Default()
		s.ImageReplicas = 5
		w.configure(s)
		rows := h.images(`{"reference":["mine"]}`)
		if len(rows) != 1 || rows[0].Ddocker.Owners["mine:latest"] != "alice" || rows[0].Ddocker.Replicas != 3 || rows[0].Size == 0 {
			t.Errorf("got %+v", rows)
		}
	})
}

func TestImagesOfHostsThatAreAwayStayListed(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		id := w.hosts[2].twin.AddImage("mine:1")
		w.settle()
		w.hosts[2].fail()
		rows := w.hosts[0].images("")
		wantList(t, "rows", imageWords(rows), "busybox:latest on n1,n2 away n3", "mine:1 on  away n3")
		for _, r := range rows {
			if r.RepoTags[0] == "mine:1" && (r.ID != id || r.Size == 0 || r.Created == 0) {
				t.Errorf("got %+v", r)
			}
		}
		wantList(t, "by reference", imageWords(w.hosts[0].images(`{"reference":["min*"]}`)), "mine:1 on  away n3")
	})
}

func TestImagesAreFilteredAsOneHostsAre(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		h.create("web", on("n2"))
		time.Sleep(2 * time.Second)
		id := read[struct{ ID string }](w, h.want(http.StatusCreated, "", post, "/commit?container=web", "")).ID
		time.Sleep(2 * time.Second)
		h.want(http.StatusCreated, "", post, "/commit?container=web&repo=mine&tag=2", "")
		w.settle()
		for filter, want := range map[string][]string{
			`{"dangling":["true"]}`:                       {" on n2"},
			`{"since":{"` + ledger.Short(id) + `":true}}`: {"mine:2 on n2"},
			`{"before":["mine:2"]}`:                       {" on n2", "busybox:latest on n1,n2"},
			`{"before":["mine:2"],"since":["busybox"]}`:   {" on n2"},
			`{"reference":["mine:*"]}`:                    {"mine:2 on n2"},
			`{"reference":["none"]}`:                      {},
		} {
			wantList(t, filter, imageWords(h.images(filter)), want...)
		}
		h.want(http.StatusNotFound, "No such image: none", get, "/images/json?filters="+url.QueryEscape(`{"since":["none"]}`), "")
		h.want(http.StatusBadRequest, "invalid filter", get, "/images/json?filters=x", "")
	})
}

func TestImageWithoutADateIsBeforeAll(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		local := w.hosts[0].api.local
		local.proxy = forward(only{"/images/json", `[{"Id":"sha256:01","Created":0},{"Id":"sha256:02","Created":-62135596800}]`, local.proxy.Transport}, "the Docker Engine", w.hosts[0].api.log, new(buffers))
		for filter, want := range map[string]int{"": 2, `{"before":["busybox"]}`: 2, `{"since":["busybox"]}`: 0} {
			if rows := w.hosts[0].images(filter); len(rows) != want {
				t.Errorf("%s: got %+v", filter, rows)
			}
		}
	})
}

func TestNameThatIsBeingRemovedIsNotListed(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[1].twin.AddImage("mine:1")
		w.settle()
		w.hosts[1].twin.Hang()
		w.unnamed("mine:1")
		wantList(t, "rows", imageWords(w.hosts[0].images("")), "busybox:latest on n1 away n2")
	})
}

func TestPruneRemovesImagesWithoutANameFromAllHosts(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		h.create("web", on("n2"))
		id := read[struct{ ID string }](w, h.want(http.StatusCreated, "", post, "/commit?container=web", "")).ID
		w.hosts[1].twin.AddImage("mine:1")
		w.settle()
		done := read[pruned](w, h.want(http.StatusOK, id, post, "/images/prune", ""))
		if done.SpaceReclaimed == 0 {
			t.Errorf("got %+v", done)
		}
		wantList(t, "rows", imageWords(h.images("")), "busybox:latest on n1,n2", "mine:1 on n2")
		done = read[pruned](w, h.want(http.StatusOK, "", post, "/images/prune", ""))
		if len(done.ImagesDeleted) > 0 {
			t.Errorf("got %+v", done)
		}
	})
}

func TestPruneLeavesWhatHasANameInTheClusterAlone(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h, other := w.hosts[0], w.hosts[1]
		id := h.twin.AddLayered("app:1", []byte("first"))
		w.settle()
		other.twin.AddLayered("app:1", []byte("first"))
		other.twin.AddLayered("app:1", []byte("second")) // the first has no name there now
		h.create("web", on("n2"))
		gone := read[struct{ ID string }](w, h.want(http.StatusCreated, "", post, "/commit?container=web", "")).ID
		w.settle()
		done := read[pruned](w, h.want(http.StatusOK, gone, post, "/images/prune", ""))
		if other.imageID(id) == "" || other.imageID(gone) != "" || done.SpaceReclaimed == 0 {
			t.Errorf("got %+v", done)
		}
	})
}

func TestPruneLeavesWhatIsAboutToGetTheNameOfAClaim(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.create("web", busybox)
		before := read[struct{ ID string }](w, h.want(http.StatusCreated, "", post, "/commit?container=web", "")).ID
		time.Sleep(2 * claimSlack)
		h.replica.Propose(w.Context(), ledger.Command{Claim: &ledger.Claim{Claim: "c1", Name: "mine:1", Node: h.id}})
		after := read[struct{ ID string }](w, h.want(http.StatusCreated, "", post, "/commit?container=web&comment=2", "")).ID
		h.want(http.StatusOK, before, post, "/images/prune", "")
		if h.imageID(after) == "" || h.imageID(before) != "" {
			t.Errorf("it leaves %q and %q", h.imageID(after), h.imageID(before))
		}
	})
}

func TestPruneOfAllTakesTheNamesThatNoContainerUses(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		h := w.hosts[0]
		h.create("web", on("n2"))
		w.hosts[1].twin.AddLayered("mine:1", []byte("mine"))
		w.hosts[2].twin.AddLayered("mine:2", []byte("other"))
		w.settle()
		all := url.QueryEscape(`{"dangling":{"false":true}}`)
		early := url.QueryEscape(`{"dangling":["false"],"until":["10h"]}`)
		if done := read[pruned](w, h.want(http.StatusOK, "", post, "/images/prune?filters="+early, "")); len(done.ImagesDeleted) > 0 {
			t.Errorf("images of the last ten hours are pruned: %+v", done)
		}
		done := read[pruned](w, h.want(http.StatusOK, `"Untagged":"mine:1"`, post, "/images/prune?filters="+all, ""))
		wantList(t, "rows", imageWords(h.images("")), "busybox:latest on n1,n2,n3")
		if done.SpaceReclaimed == 0 {
			t.Errorf("got %s", fmt.Sprintf("%+v", done))
		}
		h.want(http.StatusBadRequest, "invalid filter: until=x", post, "/images/prune?filters="+url.QueryEscape(`{"dangling":["false"],"until":["x"]}`), "")
	})
}
