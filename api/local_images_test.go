package api

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// An engine with containerd's store has IDs of its own.
func TestEnginesOwnIDsOfImagesStayOnTheirHost(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		id := w.hosts[0].imageID("busybox")
		other := "sha256:" + strings.Repeat("c", 64) // what the cluster calls n2's
		l := w.hosts[1].api.local
		l.engineImage = func(_ context.Context, ref string) string {
			if ref == other {
				return id
			}
			return ref
		}
		w.hosts[1].want(http.StatusOK, id, get, "/images/"+other+"/json", "")
		got := l.toEngine(w.Context(), &url.URL{}, "/images/"+other+"/json")
		if got != "/images/"+id+"/json" || l.toEngine(w.Context(), &url.URL{}, "/images/busybox/json") != "/images/busybox/json" {
			t.Errorf("%s becomes %s", other, got)
		}
		u := &url.URL{RawQuery: url.Values{"names": {other, "busybox"}}.Encode()}
		l.toEngine(w.Context(), u, "/images/get")
		wantList(t, "names to save", u.Query()["names"], id, "busybox")
		ids := func(own string) string { return map[string]string{id: other, "x": "x"}[own] }
		if got := string(fromEngine([]byte(`[{"Id":"`+id+`"},{"Id":"x"}]`), ids)); got != `[{"Id":"`+other+`"},{"Id":"x"}]` {
			t.Errorf("the list is %s", got)
		}
		if got := string(fromEngine([]byte(`{"Id":"`+id+`","Os":"linux"}`), ids)); got != `{"Id":"`+other+`","Os":"linux"}` {
			t.Errorf("the image is %s", got)
		}
		if got := string(fromEngine([]byte(`no JSON`), ids)); got != `no JSON` {
			t.Errorf("the answer is %s", got)
		}
	})
}

func TestListSpeaksOfImagesByTheClustersIDs(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		id := w.hosts[0].imageID("busybox")
		own := "sha256:" + strings.Repeat("e", 64) // what n2's engine is made to call it
		local := w.hosts[1].api.local
		local.engineImage = func(context.Context, string) string {
			t.Error("the engine is asked for an image of the ledger's")
			return ""
		}
		local.clusterImage = func(_ context.Context, ref string) string {
			if ref != own {
				t.Errorf("the engine is asked what %s is", ref)
			}
			return id
		}
		local.proxy = forward(only{"/images/json", `[{"Id":"` + own + `","RepoTags":["busybox:latest"],"Created":1}]`, local.proxy.Transport}, "the Docker Engine", w.hosts[1].api.log, new(buffers))
		wantList(t, "rows", imageWords(w.hosts[0].images("")), "busybox:latest on n1,n2")
	})
}
