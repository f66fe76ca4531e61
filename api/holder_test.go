package api

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/engine/enginetest"
)

func TestContainerIsFoundByNameIDAndPrefixFromEveryHost(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		id := w.hosts[0].create("web", on("n2"))
		db := w.hosts[1].outside("db")
		for _, h := range w.hosts {
			for _, ref := range []string{"web", id, id[:12], "n2/web", "id-n2/web"} {
				if got := h.inspect(ref); got.ID != id {
					t.Errorf("%s is %s", ref, got.ID)
				}
			}
			if got := h.inspect("db"); got.ID != db {
				t.Errorf("db is %s", got.ID)
			}
			h.want(http.StatusNotFound, "No such container: nobody", get, "/containers/nobody/json", "")
			h.want(http.StatusNotFound, "No such", get, "/containers/n1/web/json", "")
		}
	})
}

func TestContainerThatTheLedgerDoesNotKnowYetIsAskedFor(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].replica.Cut(true)
		w.hosts[1].replica.Cut(true)
		if status, _, err := w.hosts[1].docker.Create(w.Context(), "db", "", []byte(busybox)); status != http.StatusCreated || err != nil {
			t.Fatal(status, err)
		}
		if got := w.hosts[0].inspect("db"); got.Name != "/db" {
			t.Errorf("got %+v", got)
		}
	})
}

func TestAmbiguousPrefixNamesThoseItCouldMean(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		first := map[byte]bool{}
		for i := 0; ; i++ { // 17 IDs begin with 16 digits
			id := w.hosts[0].create(fmt.Sprintf("c%d", i), busybox)
			if first[id[0]] {
				w.hosts[1].want(http.StatusBadRequest, "multiple IDs found with provided prefix: "+id[:1], get, "/containers/"+id[:1]+"/json", "")
				return
			}
			first[id[0]] = true
		}
	})
}

func TestStartStopAndRemoveGoToTheHolder(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		h.create("web", on("n2"))
		h.want(http.StatusNoContent, "", post, "/v1.41/containers/web/start", "")
		h.want(http.StatusNotModified, "", post, "/v1.41/containers/web/start", "")
		wantList(t, "those that run", rowWords(h.ps("")), "web on n2")
		h.want(http.StatusConflict, "You cannot remove a running container", del, "/containers/web", "")
		if w.placement("web") == nil {
			t.Error("a refused removal frees the placement")
		}
		h.want(http.StatusNoContent, "", post, "/containers/web/stop", "")
		h.want(http.StatusNotModified, "", post, "/containers/web/stop", "")
		h.want(http.StatusNoContent, "", del, "/containers/web", "")
		if w.placement("web") != nil {
			t.Error("the placement is still held when the client hears of the removal")
		}
		h.create("web", on("n1"))
	})
}

// spy notes which removals the node is told of before the client is.
type spy struct {
	Node
	told []string
}

func (s *spy) Removed(ctx context.Context, container string) error {
	s.told = append(s.told, container)
	return s.Node.Removed(ctx, container)
}

func TestNoneRunsBesideTheOneThatItReplaces(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		old := h.create("web", busybox)
		h.create(old[:12]+"_web", `{"Image":"busybox","Labels":{"`+labelReplace+`":"web"}}`)
		for _, verb := range []string{"start", "restart"} {
			h.want(409, "is to take over what container web holds on host n1", post, "/containers/"+old[:12]+"_web/"+verb, "")
		}
		h.want(404, "page not found", post, "/containers/web/restart", "") // it reaches the engine, whose twin has none
		h.replica.Lag()
		other := w.log.Replica()
		if r, _, err := other.Propose(w.Context(), ledger.Command{Release: &ledger.Release{Placement: w.placement("web").ID}}); err != nil || r.Refusal != nil {
			w.Fatal(r.Refusal, err)
		}
		h.want(404, "page not found", post, "/containers/"+old[:12]+"_web/restart", "")
	})
}

func TestRemovalIsToldToTheNodeOnceItHasHappened(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		s := &spy{Node: h.api.local.node}
		h.api.local.node = s
		id, gone := h.create("web", busybox), h.create("gone", busybox)
		h.want(http.StatusNoContent, "", post, "/containers/web/start", "")
		h.want(http.StatusConflict, "running container", del, "/containers/web", "")
		wantList(t, "told", s.told)
		h.want(http.StatusNoContent, "", del, "/v1.41/containers/web?force=1", "")
		wantList(t, "told", s.told, id)
		local := h.api.hosts.transport(h.id)
		for range 2 { // another node's view may be older
			req, err := http.NewRequestWithContext(w.Context(), del, "http://ddocker/containers/"+gone, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := local.RoundTrip(req); err != nil {
				t.Fatal(err)
			}
		}
		wantList(t, "told", s.told, id, gone, gone)
	})
}

func TestRemovalOfAContainerThatHasGoneFreesIt(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		id := w.hosts[0].create("web", on("n2"))
		w.hosts[0].replica.Lag()
		if err := w.hosts[1].docker.Remove(w.Context(), id, false, false); err != nil {
			t.Fatal(err)
		}
		w.hosts[0].want(http.StatusNotFound, "No such container", del, "/containers/web", "")
		w.hosts[0].create("web", on("n1"))
	})
}

func TestContainerThatRemovesItselfFreesItsNameAtOnce(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		for range 4 {
			w.hosts[0].create("web", `{"Image":"busybox","Cmd":["true"],"Labels":{"ddocker.node":"n2"},"HostConfig":{"AutoRemove":true}}`)
			w.hosts[0].want(http.StatusNoContent, "", post, "/containers/web/start", "")
			synctest.Wait()
		}
	})
}

func TestDeadHolderIsNamed(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].create("web", on("n2"))
		w.hosts[1].fail()
		for _, request := range [][2]string{{get, "json"}, {post, "start"}, {post, "exec"}, {post, "rename?name=www"}, {get, "logs"}} {
			w.hosts[0].want(http.StatusServiceUnavailable, "container web is on host n2, which does not answer", request[0], "/containers/web/"+request[1], "")
		}
		w.hosts[0].want(http.StatusServiceUnavailable, "host n2, which does not answer", del, "/containers/web", "")
		w.hosts[0].want(http.StatusServiceUnavailable, "host n2, which does not answer", post, "/commit?container=web&repo=x", "")
	})
}

func TestContainerThatIsBeingMadeSaysSo(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[1].twin.SetLatency(enginetest.Create, time.Minute)
		made := make(chan said, 1)
		go func() { made <- w.hosts[0].ask(post, "/containers/create?name=web", on("n2")) }()
		synctest.Wait()
		w.hosts[0].want(http.StatusConflict, "container web is still being created on host n2", get, "/containers/web/json", "")
		if got := <-made; got.status != http.StatusCreated {
			t.Errorf("got %+v", got)
		}
	})
}

// A node that lacks what the cluster has decided lately may know a container only from its
// engine.
func TestRenameWaitsForWhatThisReplicaLacks(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		h.replica.Lag()
		id := w.hosts[1].create("web", on("n2"))
		h.replica.Cut(true)
		if got := h.ask(post, "/containers/"+id+"/rename?name=www", ""); got.status < 500 {
			t.Errorf("without a leader: %+v", got)
		}
		wantList(t, "containers of n2", w.hosts[1].has(), "web")
		h.replica.Cut(false)
		h.want(http.StatusNoContent, "", post, "/containers/"+id+"/rename?name=www", "")
		wantList(t, "containers of n2", w.hosts[1].has(), "www")
		w.hosts[1].want(http.StatusOK, `"/www"`, get, "/containers/www/json", "")
	})
}

func TestRenameIsTheLedgersAndTheEngines(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		h.create("web", on("n2"))
		h.create("db", on("n1"))
		w.hosts[1].outside("old")
		h.replica.Lag()
		var names []string
		h.replica.Before(func(c ledger.Command) {
			if c.Rename != nil {
				names = append(names, c.Rename.Name)
			}
		})
		w.hosts[1].create("mine", on("n2"))
		h.want(http.StatusNoContent, "", post, "/containers/mine/rename?name=yours", "")
		wantList(t, "names that the ledger was asked for", names, "yours")
		h.want(http.StatusNoContent, "", del, "/containers/yours", "")
		h.want(http.StatusNoContent, "", post, "/containers/web/rename?name=%2Fwww", "")
		wantList(t, "containers of n2", w.hosts[1].has(), "old", "www")
		wantList(t, "names that the ledger was asked for", names, "yours", "www")
		h.want(http.StatusConflict, "already in use", post, "/containers/www/rename?name=db", "")
		h.want(http.StatusConflict, "already in use", post, "/containers/old/rename?name=db", "")
		h.want(http.StatusBadRequest, "Invalid container name", post, "/containers/www/rename?name=-", "")
		h.want(http.StatusBadRequest, "same name", post, "/containers/www/rename?name=www", "")
		h.want(http.StatusNoContent, "", post, "/containers/old/rename?name=new", "")
		wantList(t, "containers of n2", w.hosts[1].has(), "new", "www")
		h.create("web", busybox)
	})
}

func TestRenameThatTheEngineRefusesIsTakenBack(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		h.create("web", on("n2"))
		w.hosts[1].replica.Cut(true)
		if status, _, err := w.hosts[1].docker.Create(w.Context(), "www", "", []byte(busybox)); status != http.StatusCreated || err != nil {
			t.Fatal(status, err)
		}
		h.want(http.StatusConflict, "Error when allocating new name", post, "/containers/web/rename?name=www", "")
		if p := w.placement("web"); p == nil || p.Name != "web" {
			t.Errorf("the ledger has %+v", p)
		}
	})
}

func TestExecSessionIsFoundFromEveryHost(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		w.hosts[0].create("web", on("n3"))
		w.hosts[0].want(http.StatusNoContent, "", post, "/containers/web/start", "")
		made := w.hosts[0].want(http.StatusCreated, "", post, "/containers/web/exec", `{"Cmd":["true"]}`)
		id := read[struct{ ID string }](w, made).ID
		for _, h := range w.hosts { // the second has never heard of it
			h.want(http.StatusOK, id, get, "/exec/"+id+"/json", "")
		}
		w.hosts[1].want(http.StatusOK, "", post, "/exec/"+id+"/start", `{"Detach":true}`)
		w.hosts[1].want(http.StatusNotFound, "No such exec instance: x1", get, "/exec/x1/json", "")
		w.hosts[0].want(http.StatusConflict, "is not running", post, "/containers/"+w.stopped()+"/exec", `{"Cmd":["true"]}`)
	})
}

// stopped returns a container that does not run.
func (w *world) stopped() string { return w.hosts[0].create("idle", busybox) }

func TestOldExecSessionsAreForgotten(t *testing.T) {
	var e execs
	for i := range maxExecs + 1 {
		e.put(fmt.Sprint(i), session{"n1", "web"})
	}
	if e.get("0").node != "" || e.get("1").node != "n1" || len(e.at) != maxExecs || len(e.order) != maxExecs {
		t.Errorf("%d sessions of %d", len(e.at), len(e.order))
	}
}
