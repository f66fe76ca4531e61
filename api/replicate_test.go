package api

import (
	"net/http"
	"strings"
	"testing"

	"ddocker/settings"
)

func TestImageIsReplicatedWhereItIsAskedFor(t *testing.T) {
	for _, c := range []struct {
		query string
		done  int
		says  string
		want  []string
	}{
		{"?all=1", 3, "Bringing image mine:1 to 3 more hosts", []string{"n1", "n2", "n3", "n4"}},
		{"?hosts=n3,,id-n4,n3,n2,", 3, "", []string{"n2", "n3", "n4"}},
		{"?n=2", 1, "Bringing image mine:1 to 1 more host\"", []string{"n1", "n2"}},
		{"?n=1", 0, "Image mine:1 is on 1 host already", []string{"n2"}},
		{"", 0, "", []string{"n2"}},
	} {
		t.Run(c.query, func(t *testing.T) {
			inWorld(t, 4, func(w *world) {
				w.hosts[1].twin.AddLayered("mine:1", []byte("mine"))
				w.settle()
				got := w.hosts[0].want(http.StatusOK, c.says, post, "/ddocker/images/mine:1/replicate"+c.query, "")
				if strings.Contains(got.body, "error") || strings.Count(got.body, `"done":true`) != c.done {
					t.Errorf("got %s", got.body)
				}
				wantList(t, "hosts that have it", w.with("mine:1"), c.want...)
			})
		})
	}
}

func TestHostThatIsNamedIsAskedWhateverTheLedgerBelieves(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[1]
		if _, err := h.docker.RemoveImage(w.Context(), "busybox", false); err != nil {
			t.Fatal(err)
		}
		w.hosts[0].want(http.StatusOK, `{"host":"n2","done":true}`, post, "/ddocker/images/busybox/replicate?hosts=n2", "")
		if h.imageID("busybox") == "" {
			t.Error("n2 does not have it again")
		}
	})
}

func TestReplicationTellsOfEachHostAndItsLayers(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		w.hosts[1].twin.AddLayered("mine:1", []byte("below"), []byte("above"))
		w.settle()
		w.hosts[2].fail()
		got := w.hosts[0].want(http.StatusOK, "", post, "/ddocker/images/mine:1/replicate?all=1", "")
		for _, words := range []string{`{"host":"n1","status":"Pulling fs layer"`, `{"host":"n1","status":"Pull complete"`, `"id":"n1 `, `{"host":"n1","done":true}`,
			`{"host":"n3","error":"it does not answer`} {
			if !strings.Contains(got.body, words) {
				t.Errorf("no %s in\n%s", words, got.body)
			}
		}
	})
}

func TestReplicationIsRefusedInOneSentence(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		h.want(http.StatusBadRequest, "cannot be on 3 hosts: only 2 answer", post, "/ddocker/images/busybox/replicate?n=3", "")
		h.want(http.StatusBadRequest, `\"x\" is no number of hosts`, post, "/ddocker/images/busybox/replicate?n=x", "")
		h.want(http.StatusNotFound, "No such node: n9", post, "/ddocker/images/busybox/replicate?hosts=n1,n9", "")
		h.want(http.StatusBadRequest, "no host is named", post, "/ddocker/images/busybox/replicate?hosts=,", "")
		h.want(http.StatusNotFound, "No such image: none", post, "/ddocker/images/none/replicate?all=1", "")
	})
}

func TestReplicasAreMadeUnasked(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		w.hosts[1].twin.AddLayered("mine:1", []byte("mine"))
		w.configure(settings.Default())
		for range 6 {
			w.settle()
		}
		if on := w.with("mine:1"); len(on) != 2 {
			t.Errorf("it is on %v", on)
		}
	})
}
