package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/sched"
)

// listed is what of a list tests look at.
type listed struct {
	ID, Image, State, Status string
	Names                    []string
	Created                  int64
	Labels                   map[string]string
	Ddocker                  extra
}

func (h *agent) ps(query string) []listed {
	h.w.Helper()
	return read[[]listed](h.w, h.want(http.StatusOK, "", get, "/v1.41/containers/json?"+query, ""))
}

func filtered(json string) string { return "all=1&filters=" + url.QueryEscape(json) }

// on writes rows down as "name on node".
func rowWords(rows []listed) []string {
	words := []string{}
	for _, r := range rows {
		word := strings.TrimPrefix(r.Names[0], "/") + " on " + r.Ddocker.Node
		if r.Ddocker.Unreachable {
			word += ", " + r.State
		}
		words = append(words, word)
	}
	return words
}

func TestListShowsTheContainersOfAllHostsNewestFirst(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		for i, name := range []string{"one", "two", "three"} {
			w.hosts[i].create(name, on("n"+string('3'-rune(i))))
			time.Sleep(2 * time.Second)
		}
		w.hosts[0].outside("four")
		for _, h := range w.hosts {
			wantList(t, "rows", rowWords(h.ps("all=1")), "four on n1", "three on n1", "two on n2", "one on n3")
		}
		wantList(t, "the newest", rowWords(w.hosts[1].ps("all=1&limit=1")), "four on n1")
		wantList(t, "those that run", rowWords(w.hosts[1].ps("")))
	})
}

func TestContainersOfOneSecondStandNewestFirst(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		var want []string
		for i, name := range []string{"one", "two", "three", "four", "five", "six"} {
			node := "n" + string('1'+rune(i%3))
			w.hosts[0].create(name, on(node))
			want = slices.Insert(want, 0, name+" on "+node)
			time.Sleep(time.Millisecond)
		}
		for _, h := range w.hosts {
			wantList(t, "rows", rowWords(h.ps("all=1")), want...)
		}
		wantList(t, "the newest", rowWords(w.hosts[1].ps("all=1&limit=1")), want[0])
	})
}

func TestRowSaysWhatTheContainerHolds(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].create("web", `{"Image":"busybox","Labels":{"mine":"1","ddocker.ports":"1","ddocker.node":"n2"},"HostConfig":{"NanoCpus":2000000000}}`)
		rows := w.hosts[0].ps("all=1")
		if len(rows) != 1 {
			t.Fatalf("%d rows", len(rows))
		}
		r := rows[0]
		if r.Ddocker.Type != "2 cpus" || r.Ddocker.Owner != "alice" || r.Labels["mine"] != "1" || r.Labels[labelNode] != "n2" {
			t.Errorf("got %+v", r)
		}
		wantList(t, "ports", r.Ddocker.Ports, "0.0.0.0:25000->25000/tcp")
	})
}

func TestListIsFiltered(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].create("web", on("n1"))
		w.hosts[0].create("db", on("n2"))
		for filter, want := range map[string]string{
			`{"name":["web"]}`:                              "web on n1",
			`{"label":{"ddocker.node=n2":true}}`:            "db on n2",
			`{"label":["ddocker.node=n2"],"name":["web"]}`:  "",
			`{"label":["ddocker.placement"],"name":["db"]}`: "db on n2",
		} {
			if got := strings.Join(rowWords(w.hosts[1].ps(filtered(filter))), "; "); got != want {
				t.Errorf("%s: got %q, want %q", filter, got, want)
			}
		}
		w.hosts[0].want(http.StatusBadRequest, "invalid filter", get, "/containers/json?filters=x", "")
	})
}

func TestDeadHostsContainersStayListed(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		h.create("here", on("n1"))
		time.Sleep(2 * time.Second)
		h.create("web", `{"Image":"busybox","Labels":{"ddocker.node":"n2","ddocker.ports":"1"}}`)
		time.Sleep(2 * time.Second)
		w.hosts[1].outside("db")
		w.hosts[1].fail()
		asked := time.Now()
		rows := h.ps("all=1")
		wantList(t, "rows", rowWords(rows), "db on n2, unreachable", "web on n2, unreachable", "here on n1")
		if waited := time.Since(asked); waited > 0 {
			t.Errorf("a host known to be dead is waited for: %v", waited)
		}
		if r := rows[1]; r.ID != w.placement("web").Container || r.Status != "Host down" || r.Image != "busybox" || r.Ddocker.Ports[0] != "0.0.0.0:25000->25000/tcp" {
			t.Errorf("got %+v", r)
		}
		wantList(t, "by name", rowWords(h.ps(filtered(`{"name":["web"]}`))), "web on n2, unreachable")
		wantList(t, "by what only the host knows", rowWords(h.ps(filtered(`{"status":["created"]}`))), "here on n1")
	})
}

// A container that was made while there was no quorum is listed even if its host
// dies before it is confirmed.
func TestUnconfirmedContainersOfADeadHostStayListed(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		reserve := func(id string) ledger.Command {
			return ledger.Command{Reserve: &ledger.Reserve{Placement: id, Name: "c-" + id, Request: sched.Request{}, Candidates: []string{"id-n2"}}}
		}
		w.hosts[1].fail()
		for _, id := range []string{"p1", "p2"} {
			w.hosts[0].replica.Propose(w.Context(), reserve(id))
		}
		wantList(t, "rows", rowWords(w.hosts[0].ps("all=1")), "c-p1 on n2, unreachable", "c-p2 on n2, unreachable")
	})
}

func TestHungHostCostsOneSecondOnce(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		h, hung := w.hosts[0], w.hosts[2]
		h.create("web", on("n3"))
		hung.twin.Hang()
		for i, want := range []time.Duration{patience, 0, 0} {
			asked := time.Now()
			wantList(t, "rows", rowWords(h.ps("all=1")), "web on n3, unreachable")
			if waited := time.Since(asked); waited != want {
				t.Errorf("list %d took %v, want %v", i, waited, want)
			}
		}
		hung.twin.Unhang()
		time.Sleep(probeEvery + patience)
		synctest.Wait()
		wantList(t, "rows", rowWords(h.ps("all=1")), "web on n3")
	})
}

// Who was removed is not asked for ever whether it answers again.
func TestARemovedHostIsLookedAfterNoMore(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h, dead := w.hosts[0], w.hosts[1]
		h.create("web", on("n2"))
		dead.twin.Hang()
		wantList(t, "rows", rowWords(h.ps("all=1")), "web on n2, unreachable")
		w.propose(ledger.Command{Remove: &ledger.Remove{Node: dead.id}})
		time.Sleep(probeEvery + patience)
		synctest.Wait()
		h.api.hosts.mu.Lock()
		defer h.api.hosts.mu.Unlock()
		if len(h.api.hosts.missed) > 0 {
			t.Errorf("%v are looked after", h.api.hosts.missed)
		}
	})
}

func TestOwnEngineThatHangsIsWaitedForNoLonger(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		h.create("web", on("n1"))
		h.twin.Hang()
		asked := time.Now()
		wantList(t, "rows", rowWords(h.ps("all=1")), "web on n1, unreachable")
		if waited := time.Since(asked); waited != patience {
			t.Errorf("it took %v", waited)
		}
	})
}

// An engine that fails at one thing is not away.
func TestEnginesOwnErrorDoesNotMakeItsHostUnreachable(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		h.create("web", on("n2"))
		w.hosts[1].twin.FailAfterSuccess("read")
		h.api.hosts.each(w.Context(), "/containers/web/json", nil)
		wantList(t, "rows", rowWords(h.ps("all=1")), "web on n2")
	})
}

// A proxy tells its server of an answer that breaks off by a panic, which
// nobody catches where many hosts are asked at once.
func TestOwnEnginesAnswerThatBreaksOffIsAnError(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		h.create("web", on("n1"))
		h.api.local.proxy = forward(half{h.docker.RoundTripper()}, "the Docker Engine", h.api.log, new(buffers))
		wantList(t, "rows", rowWords(h.ps("all=1")), "web on n1, unreachable")
		if body, err := h.api.hosts.get(w.Context(), h.id, "/_ping", nil); err == nil {
			t.Errorf("half an answer is taken for a whole: %s", body)
		}
	})
}

// half breaks off in the middle of every answer.
type half struct{ to http.RoundTripper }

func (h half) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := h.to.RoundTrip(r)
	if err == nil {
		resp.Body = &broken{resp.Body.Close, 2}
	}
	return resp, err
}

type broken struct {
	close func() error
	left  int
}

func (b *broken) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errors.New("connection reset")
	}
	b.left--
	p[0] = '['
	return 1, nil
}

func (b *broken) Close() error { return b.close() }

// A replica hears of the container some milliseconds after whoever made it.
func TestRowOfAnUnconfirmedContainerSaysWhatItHolds(t *testing.T) {
	known := &holdings{placed: map[string]*ledger.Placement{"p1": {ID: "p1", Owner: "alice", Grant: sched.Grant{Memory: 64 << 20}}}}
	for labels, want := range map[string]string{`"ddocker.placement":"p1"`: "64m mem", `"ddocker.placement":"p2"`: "", `"other":"p1"`: ""} {
		r := present([]byte(`{"Id":"c1","Labels":{"a":"b",`+labels+`}}`), host{name: "n1"}, known, nil)
		var row listed
		if err := json.Unmarshal(r.data, &row); err != nil || row.Ddocker.Type != want {
			t.Errorf("%s: %s, %v", labels, r.data, err)
		}
	}
}
