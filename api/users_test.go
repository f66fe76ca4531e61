package api

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"ddocker/consensus/ledger"
)

// asCaller carries out a request of a caller's.
func (w *world) asCaller(who Caller, method, path, body string) *httptest.ResponseRecorder {
	w.Helper()
	a := w.hosts[0].api
	a.cfg.Caller = func(*http.Request) (Caller, error) { return who, nil }
	r := httptest.NewRequest(method, "http://docker"+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	got := httptest.NewRecorder()
	a.ServeHTTP(got, r)
	return got
}

// Every route of the table, with what carol owns, as bob: nothing of hers is touched, and
// what only admins may do is refused.
func TestAnotherUserTouchesNothing(t *testing.T) {
	carol, bob := Caller{Name: "carol", Role: ledger.Member}, Caller{Name: "bob", Role: ledger.Member}
	for _, visibility := range []string{"all", "own"} {
		inWorld(t, 2, func(w *world) {
			w.see(visibility)
			for path, body := range map[string]string{
				"/containers/create?name=web": `{"Image":"busybox"}`, "/networks/create": `{"Name":"web"}`, "/volumes/create": `{"Name":"web"}`,
			} {
				if got := w.asCaller(carol, post, path, body); got.Code != http.StatusCreated {
					t.Fatalf("%s: %d %s", path, got.Code, got.Body)
				}
			}
			if got := w.asCaller(carol, post, "/images/busybox/tag?repo=web", ""); got.Code != http.StatusCreated {
				t.Fatalf("tag: %d %s", got.Code, got.Body)
			}
			for _, row := range routes() {
				how := row.may & howFar
				if how != owns && row.may != admins && (how != sees || visibility == "all") || row.may&ofWhat == ofSession {
					continue
				}
				path := strings.Replace(row.path, "{}", "web", 1)
				switch row.path {
				case pathCommit:
					path += "?container=web"
				case pathSave:
					path += "?names=web"
				}
				want := http.StatusForbidden
				if visibility == "own" && row.may != admins {
					want = http.StatusNotFound
				}
				if got := w.asCaller(bob, row.method, path, "{}"); got.Code != want {
					t.Errorf("visibility %s: %s %s as bob: %d %s", visibility, row.method, path, got.Code, got.Body)
				}
			}
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
