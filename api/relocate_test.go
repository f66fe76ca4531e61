package api

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"ddocker/consensus/ledger"
)

// service is a create as compose sends it.
func service(project string, host string) string {
	return fmt.Sprintf(`{"Image":"busybox","Labels":{"com.docker.compose.project":"%s"},"HostConfig":{"NetworkMode":"%s_default"%s}}`, project, project, host)
}

const twoCores = `,"NanoCpus":2000000000`

// busy is a container that has so many cores of a host to itself.
func (w *world) busy(name, host string, cores int) {
	w.Helper()
	w.hosts[0].create(name, fmt.Sprintf(`{"Image":"busybox","Labels":{"ddocker.node":"%s"},"HostConfig":{"NanoCpus":%d000000000}}`, host, cores))
}

// inShop is a project with a network on n1, in a cluster of three hosts of four cores.
func inShop(t *testing.T, play func(w *world)) {
	inWorld(t, 3, func(w *world) {
		w.busy("busy2", "n2", 1)
		w.busy("busy3", "n3", 2)
		w.hosts[0].want(http.StatusCreated, "", post, "/networks/create", `{"Name":"shop_default","Labels":{"com.docker.compose.project":"shop"}}`)
		play(w)
	})
}

func TestAProjectMovesToTheHostThatHasRoomForAllOfIt(t *testing.T) {
	inShop(t, func(w *world) {
		first := w.hosts[0].create("db", service("shop", ``))
		if got := w.placement("db").Node; got != "id-n1" {
			t.Fatalf("db is on %s", got)
		}
		w.hosts[0].want(http.StatusServiceUnavailable, "project shop is on host n1", post, "/containers/create?name=web", service("shop", `,"NanoCpus":4000000000`))
		w.makeRoom()
		w.hosts[0].create("web", service("shop", twoCores))
		w.hosts[1].create("job", service("shop", `,"NanoCpus":1000000000`))
		for _, name := range []string{"db", "web", "job"} {
			if got := w.placement(name).Node; got != "id-n3" {
				t.Errorf("%s is on %s", name, got)
			}
		}
		// Who was told the old ID still finds it, and the old one is gone.
		in := read[inspection](w, w.hosts[1].want(http.StatusOK, "", get, "/containers/"+first+"/json", ""))
		if in.Name != "/db" || in.ID == first {
			t.Errorf("the old ID leads to %+v", in)
		}
		w.hosts[2].want(http.StatusNoContent, "", post, "/containers/"+first+"/start", "")
		time.Sleep(2 * time.Minute)
		wantList(t, "hosts with the network", w.where("shop_default"), "id-n3")
		wantList(t, "containers of the old host", w.hosts[0].has(), "busy1")
	})
}

func TestAProjectThatRunsStaysWhereItIs(t *testing.T) {
	inShop(t, func(w *world) {
		w.hosts[0].create("db", service("shop", `,"Binds":["/srv:/srv"]`))
		w.hosts[0].want(http.StatusNoContent, "", post, "/containers/db/start", "")
		w.hosts[0].want(http.StatusServiceUnavailable, "project shop is on host n1", post, "/containers/create?name=web", service("shop", `,"NanoCpus":4000000000`))
		if got := w.placement("db").Node; got != "id-n1" {
			t.Errorf("db is on %s", got)
		}
	})
}

func TestAContainerWithFilesOfItsOwnDoesNotMove(t *testing.T) {
	inShop(t, func(w *world) {
		w.hosts[0].create("db", service("shop", ``))
		w.hosts[1].want(http.StatusOK, "", put, "/containers/db/archive?path=/etc", string(contextOf(t, "app.conf", "x")))
		w.makeRoom()
		w.hosts[0].want(http.StatusServiceUnavailable, "project shop is on host n1", post, "/containers/create?name=web", service("shop", twoCores))
		if got := w.placement("db").Node; got != "id-n1" {
			t.Errorf("db is on %s", got)
		}
	})
}

func TestAMoveToAHostThatCannotBeReachedLosesNothing(t *testing.T) {
	inShop(t, func(w *world) {
		w.hosts[0].create("db", service("shop", ``))
		p := w.placement("db")
		w.propose(ledger.Command{Move: &ledger.Move{Placements: []string{p.ID}, Candidates: []string{"id-n3"}}})
		if err := w.hosts[0].node.Abandon(w.Context(), p.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		wantList(t, "containers of the old host", w.hosts[0].has(), "db")
		w.hosts[1].want(http.StatusNoContent, "", post, "/containers/db/start", "")
		wantList(t, "hosts with the network", w.where("shop_default"), "id-n1")
	})
}

// Where the move comes to nothing the container is started where it was.
func TestWhatMovesHoldsItsOldPlaceUntilItIsGoneFromThere(t *testing.T) {
	inShop(t, func(w *world) {
		w.newest()
		w.hosts[0].create("db", service("shop", twoCores))
		p := w.placement("db")
		w.propose(ledger.Command{Move: &ledger.Move{Placements: []string{p.ID}, Candidates: []string{"id-n3"}}})
		const rival = `{"Image":"busybox","Labels":{"ddocker.node":"n1"},"HostConfig":{"NanoCpus":3000000000}}`
		refused := func() {
			t.Helper()
			w.hosts[1].want(http.StatusServiceUnavailable, "cores", post, "/containers/create?name=rival", rival)
			w.hosts[1].want(http.StatusConflict, "already in use", post, "/containers/create?name=db", rival)
		}
		refused()
		if err := w.hosts[0].node.Abandon(w.Context(), p.ID); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			refused()
			time.Sleep(time.Minute)
		}
		w.hosts[1].want(http.StatusNoContent, "", post, "/containers/db/start", "")
		w.hosts[1].want(http.StatusNoContent, "", del, "/containers/db?force=1", "")
		time.Sleep(2 * time.Minute)
		w.hosts[1].create("rival", rival)
	})
}

// promising carries everything but the create of db, to which it says yes.
type promising struct{ to http.RoundTripper }

func (p promising) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != post || r.URL.Query().Get("name") != "db" {
		return p.to.RoundTrip(r)
	}
	r.Body.Close()
	answer := httptest.NewRecorder()
	answer.WriteHeader(http.StatusCreated)
	answer.WriteString(`{"Id":"feed"}`)
	return answer.Result(), nil
}

// A host that could not confirm it yet has said so of a container that nobody will find
// when that host is removed.
func TestWhatMovesIsRemovedWhenTheNewOneIsConfirmed(t *testing.T) {
	inShop(t, func(w *world) {
		w.newest()
		w.hosts[0].create("db", service("shop", ``))
		w.makeRoom()
		peers := w.hosts[0].api.cfg.Peer
		w.hosts[0].api.cfg.Peer = func(node string) http.RoundTripper { return promising{peers(node)} }
		w.hosts[0].create("web", service("shop", twoCores))
		if p := w.placement("db"); p.Node != "id-n3" || p.Container != "" {
			t.Fatalf("db is %+v", p)
		}
		time.Sleep(2 * time.Minute)
		wantList(t, "containers of the old host", w.hosts[0].has(), "busy1", "db")
	})
}

// losesMoves has what the host proposes be carried out without an answer, from each of the
// first n attempts to move on to the next attempt.
func (h *agent) losesMoves(n int, between func(*ledger.Move)) {
	other, attempt := h.w.log.Replica(), 0
	h.replica.Before(func(c ledger.Command) {
		if c.Move == nil {
			return
		}
		other.Propose(h.w.Context(), c)
		if attempt++; attempt == 1 && between != nil {
			between(c.Move)
		}
		h.replica.Cut(attempt <= n)
	})
}

// makeRoom leaves room for a project of two cores on n3 alone.
func (w *world) makeRoom() {
	w.Helper()
	w.busy("busy1", "n1", 3)
	w.hosts[0].want(http.StatusNoContent, "", del, "/containers/busy3", "")
}

func TestAMoveWhoseAnswerGetsLostIsCarriedOutAllTheSame(t *testing.T) {
	for lost := range moveTries {
		inShop(t, func(w *world) {
			w.hosts[0].create("db", service("shop", ``))
			w.makeRoom()
			w.hosts[0].losesMoves(lost, nil)
			w.hosts[0].create("web", service("shop", twoCores))
			wantList(t, "containers of the old host", w.hosts[0].has(), "busy1")
			wantList(t, "containers of the new host", w.hosts[2].has(), "db", "web")
			w.hosts[1].want(http.StatusNoContent, "", post, "/containers/db/start", "")
		})
	}
}

func TestWhatIsRemovedMeanwhileLeavesNobodyBehindOnTheMove(t *testing.T) {
	inShop(t, func(w *world) {
		w.hosts[0].create("db", service("shop", ``))
		w.hosts[0].create("cache", service("shop", ``))
		w.makeRoom()
		removed, other := "", w.log.Replica()
		w.hosts[0].losesMoves(1, func(m *ledger.Move) {
			removed = m.Placements[0]
			other.Propose(w.Context(), ledger.Command{Release: &ledger.Release{Placement: removed}})
		})
		kept := "db"
		if w.placement("db").ID < w.placement("cache").ID { // the order of a group
			kept = "cache"
		}
		w.hosts[0].create("web", service("shop", twoCores))
		if p := w.placement(kept); p == nil || p.ID == removed || p.Node != "id-n3" || p.Container == "" {
			t.Errorf("%s is %+v", kept, p)
		}
	})
}

func TestOfAMoveWithoutAnAnswerItIsSaidThatItIsNotKnown(t *testing.T) {
	inShop(t, func(w *world) {
		w.hosts[0].create("db", service("shop", ``))
		w.makeRoom()
		w.hosts[0].losesMoves(moveTries, nil)
		w.hosts[0].want(http.StatusServiceUnavailable, "is not known, see \\\"ddocker ps -a\\\"", post, "/containers/create?name=web", service("shop", twoCores))
		w.hosts[0].replica.Cut(false)
		wantList(t, "containers of the old host", w.hosts[0].has(), "busy1", "db")
	})
}

func TestAVolumeWithDataHoldsItsProject(t *testing.T) {
	inShop(t, func(w *world) {
		body := service("shop", `,"Binds":["data:/data"]`)
		w.hosts[0].create("db", body)
		home := w.placement("db").Node
		w.hosts[0].want(http.StatusNoContent, "", del, "/containers/db", "")
		w.hosts[0].create("db", body)
		if got := w.placement("db").Node; got != home {
			t.Errorf("db went from %s to %s", home, got)
		}
		w.hosts[0].want(http.StatusServiceUnavailable, "is on host", post, "/containers/create?name=web", service("shop", `,"NanoCpus":9000000000`))
		if got := w.placement("db").Node; got != home {
			t.Errorf("db went from %s to %s", home, got)
		}
	})
}

func TestFilesOfTheEntryHostDrawTheirProjectThere(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		for _, net := range []string{"shop_default", "shop_back"} {
			w.hosts[0].want(http.StatusCreated, "", post, "/networks/create", `{"Name":"`+net+`","Labels":{"com.docker.compose.project":"shop"}}`)
		}
		w.hosts[2].create("db", `{"Image":"busybox","Labels":{"com.docker.compose.project":"shop"},"HostConfig":{"NetworkMode":"shop_back"}}`)
		w.hosts[1].create("web", service("shop", `,"Binds":["/srv:/srv"]`))
		if db, web := w.placement("db").Node, w.placement("web").Node; db != "id-n2" || web != "id-n2" {
			t.Errorf("db is on %s, web on %s", db, web)
		}
		w.hosts[1].want(http.StatusOK, "", post, "/networks/shop_back/connect", `{"Container":"web"}`)
	})
}
