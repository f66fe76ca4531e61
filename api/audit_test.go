package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"ddocker/audit"
	"ddocker/consensus/ledger"
)

// deeds returns the audit log as the host tells it.
func (h *agent) deeds(query string) (list []audit.Entry) {
	h.w.Helper()
	got := h.want(http.StatusOK, "", get, "/ddocker/audit?"+query, "")
	for line := range strings.Lines(got.body) {
		list = append(list, read[audit.Entry](h.w, said{body: line}))
	}
	return list
}

// deedOf is what an entry says, without times and IDs.
func deedOf(e audit.Entry) string {
	text := fmt.Sprintf("%s %s %s %s %s %d", e.Node, e.User, e.Method, e.Route, e.Object, e.Status)
	if e.Open {
		text += " open"
	}
	return text
}

func wantDeeds(t *testing.T, got []audit.Entry, want ...string) {
	t.Helper()
	var have []string
	for _, e := range got {
		have = append(have, deedOf(e))
	}
	if !slices.Equal(have, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
}

// What is not in these lists is recorded if it may change something, and else not.
func TestEveryRowThatMayChangeSomethingIsRecorded(t *testing.T) {
	silent := []string{"POST /containers/{}/resize", "POST /containers/{}/wait", "POST /exec/{}/resize"}
	shows := []string{
		"GET /containers/{}/archive", "GET /containers/{}/attach/ws", "GET /containers/{}/export", "GET /containers/{}/logs", "GET /images/get", "GET /images/{}/get",
	}
	for _, row := range routes() {
		name := row.method + " " + row.path
		want := row.method != get && row.method != head
		if slices.Contains(silent, name) || slices.Contains(shows, name) {
			want = !want
		}
		if row.kept() != want {
			t.Errorf("%s: recorded %v", name, row.kept())
		}
	}
}

func TestEveryHostTellsWhatWasAskedOfAny(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		tick := func() { time.Sleep(time.Millisecond) } // so that entries have an order
		id := w.hosts[0].create("web", on("n2"))
		tick()
		w.hosts[1].want(http.StatusNoContent, "", post, "/v1.41/containers/"+id+"/start", "")
		tick()
		w.hosts[1].want(http.StatusOK, "", get, "/v1.41/containers/json", "")
		tick()
		w.hosts[1].want(http.StatusOK, "", get, "/v1.41/containers/web/json", "")
		tick()
		w.hosts[2].want(http.StatusNoContent, "", post, "/v1.41/containers/web/kill?signal=KILL", "")
		tick()
		w.hosts[2].want(http.StatusNotFound, "", post, "/v1.41/containers/nobody/stop", "")
		tick()
		w.hosts[2].want(http.StatusCreated, "", post, "/v1.41/networks/create", `{"Name":"blue"}`)
		tick()
		w.hosts[0].want(http.StatusNotFound, "", get, "/v1.41/containers/nobody/logs?stdout=1", "")
		tick()
		w.hosts[0].want(http.StatusNoContent, "", del, "/v1.41/containers/web?force=1&v=1", "")
		tick()
		w.hosts[0].want(http.StatusCreated, "", post, "/ddocker/tokens?uses=3", "")
		for _, h := range w.hosts {
			all := h.deeds("")
			wantDeeds(t, all,
				"n1 alice POST /containers/create web 201",
				"n2 alice POST /containers/{}/start web 204",
				"n3 alice POST /containers/{}/kill web 204",
				"n3 alice POST /containers/{}/stop nobody 404",
				"n3 alice POST /networks/create blue 201",
				"n1 alice GET /containers/{}/logs nobody 404",
				"n1 alice DELETE /containers/{} web 204",
				"n1 alice POST /ddocker/tokens  201",
			)
			if all[0].Made != id || all[2].Args != "signal=KILL" || all[3].Error != "No such container: nobody" || all[6].Args != "force=1&v=1" || all[7].Made != "its hash" {
				t.Errorf("got %+v", all)
			}
		}
		if text, _ := json.Marshal(w.hosts[0].deeds("")); strings.Contains(string(text), "the token") {
			t.Errorf("a secret is in %s", text)
		}
		wantDeeds(t, w.hosts[1].deeds("tail=1"), "n1 alice POST /ddocker/tokens  201")
		wantDeeds(t, w.hosts[1].deeds("user=bob"))
		wantDeeds(t, w.hosts[1].deeds("until=1h&tail=1"))
		wantDeeds(t, w.hosts[1].deeds("since=1h&tail=1&user=alice"), "n1 alice POST /ddocker/tokens  201")
		for _, bad := range []string{"tail=-1", "tail=x", "tail=10001", "since=soon", "until=x"} {
			w.hosts[1].want(http.StatusBadRequest, "", get, "/ddocker/audit?"+bad, "")
		}
	})
}

// A build's arguments and the login at a registry are nobody's to read.
func TestSecretsAreNotWrittenDown(t *testing.T) {
	query, err := url.ParseQuery(`t=app&buildargs={"PASSWORD":"hunter2"}&remote=https://me:hunter2@x&unknown=hunter2`)
	if err != nil {
		t.Fatal(err)
	}
	if said := sayable(query); said != "t=app" {
		t.Errorf("writes down %s", said)
	}
}

func TestWhatTheSilentHostsKnowIsSaidToBeMissing(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		w.hosts[0].create("web", on("n1"))
		w.hosts[1].create("db", on("n1"))
		w.hosts[1].fail()
		began := time.Now()
		got := w.hosts[2].want(http.StatusOK, `"object":"web"`, get, "/ddocker/audit", "")
		if got.header.Get(headerSilent) != "n2" || strings.Contains(got.body, `"object":"db"`) || time.Since(began) > time.Second {
			t.Errorf("after %s: %v %s", time.Since(began), got.header, got.body)
		}
	})
}

func TestFollowersSeeWhatHappensOnAllHostsAndWhatGoesOn(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].create("old", on("n1"))
		ctx, leave := context.WithCancel(w.Context())
		defer leave()
		req := httptest.NewRequestWithContext(ctx, get, "http://ddocker/ddocker/audit?follow=1&tail=1", nil)
		req.RequestURI = ""
		resp, err := w.hosts[0].client.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		next := func(want string) {
			t.Helper()
			if !lines.Scan() {
				t.Fatalf("it ends before %s: %v", want, lines.Err())
			}
			if got := deedOf(read[audit.Entry](w, said{body: lines.Text()})); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		next("n1 alice POST /containers/create old 201")
		w.hosts[1].create("new", on("n1"))
		next("n2 alice POST /containers/create new 201")
		w.hosts[1].want(http.StatusNoContent, "", post, "/v1.41/containers/new/start", "")
		next("n2 alice POST /containers/{}/start new 204")
		gone, hang := context.WithCancel(w.Context())
		logs := httptest.NewRequestWithContext(gone, get, "http://ddocker/v1.41/containers/new/logs?follow=1&stdout=1", nil)
		logs.RequestURI = ""
		open, err := w.hosts[1].client.RoundTrip(logs)
		if err != nil {
			t.Fatal(err)
		}
		next("n2 alice GET /containers/{}/logs new 200 open")
		hang()
		open.Body.Close()
		next("n2 alice GET /containers/{}/logs new 200")
		w.add("n3")
		w.settle()
		w.hosts[2].want(http.StatusNoContent, "", del, "/v1.41/containers/old", "")
		next("n3 alice DELETE /containers/{} old 204")
	})
}

// A disk that is full keeps nobody from making room on it.
func TestAFullDiskStopsNobody(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.hosts[0].audit.Close() // as much as one that takes nothing
		w.hosts[0].create("web", on("n1"))
		w.hosts[0].want(http.StatusNoContent, "", del, "/v1.41/containers/web", "")
	})
}

// What a newer ddocker writes into an entry passes through an older one.
func TestEntriesPassAsTheyWereWritten(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		dir := t.TempDir()
		line := `{"time":"2026-11-28T12:00:00Z","user":"alice","newer":{"x":[1]}}`
		if err := os.WriteFile(dir+"/00000001.jsonl", []byte(line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		log, err := audit.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		w.hosts[1].api.local.audit = log
		if got := w.hosts[0].want(http.StatusOK, "", get, "/ddocker/audit", ""); got.body != line+"\n" {
			t.Errorf("got %s", got.body)
		}
	})
}

// Whoever is denied something stands in the log with it, whatever it was; and nobody but
// admins sees what others did.
func TestDenialsAreRecordedAndUsersSeeTheirOwn(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].create("web", on("n2"))
		w.hosts[1].api.cfg.Caller = func(r *http.Request) (Caller, error) {
			if r.Header.Get("User-Agent") == "stranger" {
				return Caller{}, errors.New("nobody knows you")
			}
			return Caller{Name: "bob", Role: ledger.Member, From: "10.0.0.9"}, nil
		}
		w.hosts[1].want(http.StatusForbidden, "", post, "/v1.41/containers/web/stop", "")
		w.hosts[1].want(http.StatusForbidden, "", get, "/ddocker/tokens", "")
		w.hosts[1].want(http.StatusOK, "", get, "/v1.41/containers/json", "")
		req := httptest.NewRequestWithContext(w.Context(), get, "http://ddocker/v1.41/containers/json", nil)
		req.RequestURI = ""
		req.Header.Set("User-Agent", "stranger")
		resp, err := w.hosts[1].client.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		own := []string{"n2 bob POST /containers/{}/stop web 403", "n2 bob GET /ddocker/tokens  403"}
		for _, query := range []string{"", "user=alice", "user="} {
			wantDeeds(t, w.hosts[1].deeds(query), own...)
		}
		all := w.hosts[0].deeds("")
		wantDeeds(t, all, "n1 alice POST /containers/create web 201", own[0], own[1], "n2  GET /containers/json  401")
		if all[1].From != "10.0.0.9" || all[1].Role != "user" || all[1].Error == "" || all[3].Error != "nobody knows you" {
			t.Errorf("got %+v", all)
		}
	})
}
