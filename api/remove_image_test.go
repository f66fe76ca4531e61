package api

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"ddocker/consensus/ledger"
	"ddocker/engine"
)

func TestNameIsTakenFromTheImageOnEveryHostUnlessSomebodyUsesIt(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		for _, h := range w.hosts[1:] {
			h.twin.AddImage("app:1")
		}
		w.settle()
		h := w.hosts[0]
		h.create("web", `{"Image":"app:1","Labels":{"ddocker.node":"n2"}}`)
		h.want(http.StatusConflict, `unable to remove repository reference \"app:1\" (must force) - container web on host n2 is using its referenced image`, del, "/images/app:1", "")
		h.want(http.StatusNoContent, "", del, "/containers/web", "")
		removed := read[[]engine.RemovedImage](w, h.want(http.StatusOK, "", del, "/images/app:1", ""))
		if removed[0].Untagged != "app:1" || removed[len(removed)-1].Deleted == "" {
			t.Errorf("removed %+v", removed)
		}
		h.want(http.StatusNotFound, "No such image: app:1", del, "/images/app:1", "")
		wantList(t, "hosts that have it", w.with("app:1"))
	})
}

func TestContainerOutsideTheClusterUsesItsImageToo(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[1].outside("db")
		w.hosts[0].want(http.StatusConflict, "container db on host n2 is using", del, "/images/busybox", "")
		w.hosts[0].want(http.StatusOK, "Untagged", del, "/images/busybox?force=1", "")
		wantList(t, "hosts with the name", w.with("busybox"))
	})
}

func TestOneOfTwoNamesIsTakenThoughTheImageIsUsed(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		h.create("web", on("n2"))
		h.want(http.StatusCreated, "", post, "/images/busybox/tag?repo=app&tag=1", "")
		h.want(http.StatusOK, `"Untagged":"app:1"`, del, "/images/app:1", "")
		wantList(t, "names on n2", w.hosts[1].tags(), "busybox:latest")
	})
}

func TestImageIsRemovedByItsIDAsDockerDoes(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		id := w.hosts[1].twin.AddLayered("app:1", []byte("app"))
		h.want(http.StatusCreated, "", post, "/images/app:1/tag?repo=app&tag=2", "")
		h.want(http.StatusConflict, "conflict: unable to delete "+ledger.Short(id)+" (must be forced) - image is referenced in multiple repositories", del, "/images/"+ledger.Short(id), "")
		h.want(http.StatusOK, `"Untagged":"app:1"},{"Untagged":"app:2"`, del, "/images/"+id+"?force=1", "")
		wantList(t, "names on n2", w.hosts[1].tags(), "busybox:latest")
		if w.hosts[1].imageID(id) != "" {
			t.Error("the image is still there")
		}
		h.create("web", on("n2"))
		busybox := w.hosts[1].imageID("busybox")
		h.want(http.StatusConflict, "(must be forced) - image is being used by container web on host n2", del, "/images/"+ledger.Short(busybox), "")
	})
}

func TestOneCopyIsRemovedByItsHostUnlessItIsTheLast(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		h := w.hosts[0]
		for _, on := range w.hosts[1:] {
			on.twin.AddImage("app:1")
		}
		w.hosts[2].twin.AddLayered("busybox", []byte("another"))
		w.settle()
		h.want(http.StatusOK, `"Deleted":"sha256:`, del, "/images/app:1@n2", "")
		wantList(t, "hosts that have it", w.with("app:1"), "n3")
		h.want(http.StatusConflict, `host n3 has the only copy of image app:1 that can be reached: to remove it from the cluster, use \"ddocker rmi app:1\"`, del, "/images/app:1@n3", "")
		wantList(t, "hosts that have it", w.with("app:1"), "n3")
		h.want(http.StatusOK, `"Untagged":"busybox:latest"`, del, "/images/busybox@n3", "") // a namesake is its host's alone
		if w.named("app:1") == nil {
			t.Error("the cluster has lost the name")
		}
	})
}

func TestCopyOnAHostThatIsAwayDoesNotCount(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		for _, on := range w.hosts[1:] {
			on.twin.AddImage("app:1")
		}
		w.settle()
		w.hosts[2].fail()
		w.hosts[0].want(http.StatusConflict, "host n2 has the only copy", del, "/images/app:1@n2", "")
	})
}

func TestImageWithoutANameIsRemovedFromItsHosts(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		h.create("web", on("n2"))
		id := read[struct{ ID string }](w, h.want(http.StatusCreated, "", post, "/commit?container=web", "")).ID
		h.want(http.StatusOK, id, del, "/images/"+ledger.Short(id), "")
		if w.hosts[1].imageID(id) != "" {
			t.Error("the image is still there")
		}
		h.want(http.StatusNotFound, "No such image", del, "/images/"+ledger.Short(id), "")
	})
}

func TestRefusedRemovalIsInNoLog(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.replica.Before(func(c ledger.Command) {
			if c.Unname != nil {
				t.Errorf("%+v is proposed", c.Unname)
			}
		})
		h.replica.Cut(true)
		h.want(http.StatusServiceUnavailable, "", del, "/images/busybox?force=1", "")
		h.want(http.StatusServiceUnavailable, "", post, "/images/prune?filters="+url.QueryEscape(`{"dangling":["false"]}`), "")
	})
}

func TestClaimOfADeadHostIsGivenUpByForce(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h, dead := w.hosts[0], w.hosts[1]
		h.create("web", on("n1"))
		dead.replica.Cut(true) // it settles nothing
		h.replica.Propose(w.Context(), ledger.Command{Claim: &ledger.Claim{Claim: "c1", Name: "kd:1", Node: dead.id}})
		h.want(http.StatusConflict, "image kd:1 is being made on host n2: wait", del, "/images/kd:1?force=1", "")
		dead.fail()
		const remedy = `on host n2, which does not answer: see \"ddocker nodes\", choose another name, or free this one with \"ddocker rmi -f kd:1\"`
		for _, request := range [][2]string{
			{post, "/commit?container=web&repo=kd&tag=1"}, {post, "/images/busybox/tag?repo=kd&tag=1"},
			{post, "/images/create?fromImage=kd&tag=1"}, {del, "/images/kd:1"},
		} {
			h.want(http.StatusConflict, remedy, request[0], request[1], "")
		}
		h.want(http.StatusOK, `[{"Untagged":"kd:1"}]`, del, "/images/kd:1?force=1", "")
		h.want(http.StatusNotFound, "No such image: kd:1", del, "/images/kd:1?force=1", "")
		h.want(http.StatusCreated, "", post, "/images/busybox/tag?repo=kd&tag=1", "")
	})
}

func TestHostThatIsAwayTakesTheNameLater(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		for _, h := range w.hosts[1:] {
			h.twin.AddImage("app:1")
		}
		w.settle()
		w.hosts[2].fail()
		h := w.hosts[0]
		h.want(http.StatusOK, `"Untagged":"app:1"`, del, "/images/app:1", "")
		h.want(http.StatusNotFound, "No such image: app:1", get, "/images/app:1/json", "")
		for _, i := range h.images("") {
			if strings.Contains(strings.Join(i.RepoTags, " "), "app") {
				t.Errorf("it is still listed: %+v", i)
			}
		}
	})
}
