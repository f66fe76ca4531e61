package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"ddocker/consensus/ledger"
)

// secrets gives carol one of everything, all called "diary" and all in use or running, and
// returns the words that tell of them.
func (w *world) secrets() (session string, words []string) {
	w.Helper()
	w.as("carol", ledger.Member)
	do := func(path, body string) (made struct{ ID string }) {
		got := w.hosts[0].ask(post, path, body)
		if got.status/100 != 2 {
			w.Fatalf("%s: %d %s", path, got.status, got.body)
		}
		json.Unmarshal([]byte(got.body), &made) // some say nothing
		return made
	}
	network := do("/networks/create", `{"Name":"diary"}`).ID
	do("/volumes/create", `{"Name":"diary"}`)
	do("/images/busybox/tag?repo=diary", "")
	box := do("/containers/create?name=diary", `{"Image":"busybox","HostConfig":{"NetworkMode":"diary","Binds":["diary:/d"]}}`).ID
	do("/containers/diary/start", "")
	session = do("/containers/diary/exec", `{"Cmd":["true"]}`).ID
	w.settle()
	return session, []string{"diary", box, network, session}
}

// askedAs is the row's path with something of carol's in it, or of a host where it is not
// about anybody's.
func askedAs(row *route, session string) string {
	ref := "diary"
	switch row.may {
	case open, lists, admins:
		ref = "n1"
	case seeSession, ownSession:
		ref = session
	}
	path := strings.Replace(row.path, "{}", ref, 1)
	switch row.path {
	case pathCommit:
		path += "?container=diary"
	case pathSave:
		path += "?names=diary"
	case "/events":
		path += fmt.Sprintf("?since=0&until=%d", time.Now().Unix())
	case "/containers/json":
		path += "?all=1"
	case "/images/prune":
		path += "?filters=" + url.QueryEscape(`{"dangling":["false"]}`)
	}
	return path
}

// Every route of the table, with what carol owns, as bob: nothing of hers is touched, and
// what only admins may do is refused.
func TestAnotherUserTouchesNothing(t *testing.T) {
	for _, visibility := range []string{"all", "own"} {
		inWorld(t, 2, func(w *world) {
			w.see(visibility)
			session, _ := w.secrets()
			w.as("bob", ledger.Member)
			for _, row := range routes() {
				how := row.may & howFar
				if how != owns && row.may != admins && (how != sees || visibility == "all") {
					continue
				}
				path, want := askedAs(&row, session), http.StatusForbidden
				if visibility == "own" && row.may != admins {
					want = http.StatusNotFound
				}
				if got := w.hosts[0].ask(row.method, path, "{}"); got.status != want {
					t.Errorf("visibility %s: %s %s as bob: %d %s", visibility, row.method, path, got.status, got.body)
				}
			}
		})
	}
}

// The test above goes by the rights that the table gives. This one says which they must be:
// whoever sees a thing may look at it and do to it what leaves it as it is.
func TestNobodyChangesWhatIsOthers(t *testing.T) {
	leave := []string{pathWait, pathPush, "/images/{}/tag"}
	for _, row := range routes() {
		looks := row.method == get || row.method == head || slices.Contains(leave, row.path)
		if !looks && strings.Contains(row.path, "{}") && (row.may&howFar == sees || row.may == lists) {
			t.Errorf("%s %s is for whoever sees it", row.method, row.path)
		}
	}
}

// Every route that is open to everybody, or lists what the caller may see, as bob: with
// visibility own it tells nothing of what is carol's, and whatever bob says, hers stays.
func TestWhatIsOpenToEverybodyTellsAndTouchesNothingOfOthers(t *testing.T) {
	for _, visibility := range []string{"all", "own"} {
		inWorld(t, 2, func(w *world) {
			w.see(visibility)
			session, words := w.secrets()
			w.as("bob", ledger.Member)
			told := 0
			for _, row := range routes() {
				if row.may != open && row.may != lists || row.path == "/session" || row.path == "/grpc" { // which are streams
					continue
				}
				path := askedAs(&row, session)
				for _, version := range []string{"", "/v1.41"} {
					got := w.hosts[0].ask(row.method, version+path, "{}").body
					if slices.ContainsFunc(words, func(word string) bool { return strings.Contains(got, word) }) {
						told++
						if visibility == "own" {
							t.Errorf("%s %s tells bob %s", row.method, path, got)
						}
					}
				}
			}
			if visibility == "all" && told == 0 {
				t.Error("nothing is told of what is carol's: the test sees nothing")
			}
			w.as("alice", ledger.Admin)
			h := w.hosts[1]
			h.want(http.StatusOK, `"Running":true`, get, "/containers/diary/json", "")
			for _, path := range []string{"/networks/diary", "/volumes/diary", "/images/diary/json"} {
				h.want(http.StatusOK, "", get, path, "")
			}
		})
	}
}

// A user that is removed, or has another role, hears no more of what it once asked for.
func TestStreamsEndWithTheirUsersRights(t *testing.T) {
	for how, then := range map[string]*Caller{"removed": nil, "no admin any more": {Name: "bob", Role: ledger.Member}} {
		t.Run(how, func(t *testing.T) {
			inWorld(t, 2, func(w *world) {
				w.as("bob", ledger.Admin)
				h := w.hosts[0]
				h.start("web", "n2")
				events := h.watch("")
				logs := make(chan string, 1)
				resp, err := h.client.RoundTrip(httptest.NewRequestWithContext(w.Context(), get, "http://ddocker/containers/web/logs?follow=1&stdout=1&stderr=1", nil))
				if err != nil {
					t.Fatal(err)
				}
				go func() {
					defer resp.Body.Close()
					text, _ := io.ReadAll(resp.Body) // its end is the point
					logs <- string(text)
				}()
				time.Sleep(3 * deadEvery)
				if open := len(h.api.streams.from()["id-n2"]); open != 1 {
					t.Fatalf("%d streams are open", open)
				}
				w.mu.Lock()
				w.who = then
				w.mu.Unlock()
				began := time.Now()
				if err := events.end(); err == nil {
					t.Error("the events end as if nothing followed")
				}
				if got := <-logs; !strings.Contains(got, "bob was removed from the cluster's users, or has another role now") {
					t.Errorf("the log ends with %q", got)
				}
				if took := time.Since(began); took > deadEvery {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// see sets what users see of what is not theirs.
func (w *world) see(visibility string) {
	w.Helper()
	r := w.hosts[0].replica
	if _, _, err := r.Propose(w.Context(), ledger.Command{Raise: &ledger.Raise{To: ledger.Version}}); err != nil {
		w.Fatal(err)
	}
	var command ledger.Command
	r.View(func(l *ledger.Ledger) {
		s := l.Settings()
		s.Visibility = visibility
		command.Configure = &s
	})
	if _, _, err := r.Propose(w.Context(), command); err != nil {
		w.Fatal(err)
	}
	w.settle()
}
