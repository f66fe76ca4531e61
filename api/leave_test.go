package api

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"ddocker/consensus/ledger"
)

// newest has the ledger read commands of this version's.
func (w *world) newest() {
	w.Helper()
	w.propose(ledger.Command{Raise: &ledger.Raise{To: ledger.Version}})
}

// asCaller carries out a request of a caller's on the first host.
func (w *world) asCaller(who Caller, method, path, body string) *httptest.ResponseRecorder {
	w.as(who.Name, who.Role)
	r := httptest.NewRequest(method, "http://docker"+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	got := httptest.NewRecorder()
	w.hosts[0].api.ServeHTTP(got, r)
	return got
}

// die has the host fail, with nobody having noticed.
func (h *agent) die() {
	h.fail()
	h.w.settle()
}

func TestOnlyAdminsHaveHostsLeave(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		w.newest()
		h := w.hosts[0]
		h.want(http.StatusCreated, "", post, "/containers/create?name=web", on("n2"))
		asked := ""
		h.api.cfg.Leave = func(_ context.Context, by string, force bool) error {
			asked = fmt.Sprint(by, " ", force)
			if !force {
				return &ledger.Refusal{Code: ledger.Conflict, Message: "host n1 holds db"}
			}
			return nil
		}
		bob, alice := Caller{Name: "bob", Role: ledger.Member}, Caller{Name: "alice", Role: ledger.Admin}
		for _, step := range []struct {
			who          Caller
			method, path string
			status       int
			says         string
		}{
			{bob, get, "/ddocker/leave", http.StatusForbidden, "bob"},
			{bob, post, "/ddocker/leave?force=1", http.StatusForbidden, "bob"},
			{bob, del, "/ddocker/nodes/n2?force=1", http.StatusForbidden, "bob"},
			{bob, del, "/ddocker/nodes/n9", http.StatusForbidden, "bob"}, // not even whether there is one
			{alice, get, "/ddocker/leave", http.StatusOK, `{"Node":"n1","Role":"leader","Containers":[],"Networks":[],"Volumes":[],"Images":[]}`},
			{alice, post, "/ddocker/leave", http.StatusConflict, "host n1 holds db"},
			{alice, post, "/ddocker/leave?force=1", http.StatusOK, `{"Node":"n1"`},
			{alice, del, "/ddocker/nodes/n1?force=1", http.StatusConflict, `to take it out of the cluster, run \"ddocker leave\" on it`},
			{alice, del, "/ddocker/nodes/n9", http.StatusNotFound, `No such node: n9: see \"ddocker nodes\"`},
			{alice, del, "/ddocker/nodes/n2", http.StatusConflict, `host n2 is up: run \"ddocker leave\" on it, or remove it with --force`},
			{alice, del, "/ddocker/nodes/id-n2?force=1", http.StatusOK, `"Containers":[{"Name":"web"`},
			{alice, del, "/ddocker/nodes/n2", http.StatusNotFound, "No such node: n2"},
		} {
			got := w.asCaller(step.who, step.method, step.path, "")
			if got.Code != step.status || !strings.Contains(got.Body.String(), step.says) {
				t.Errorf("%s %s as %s: %d %s, want %d %s", step.method, step.path, step.who.Name, got.Code, got.Body, step.status, step.says)
			}
		}
		if asked != "alice true" {
			t.Errorf("the node was asked to leave by %q", asked)
		}
	})
}

func TestADeadHostIsRemovedBeforeGossipKnowsIt(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.newest()
		h := w.hosts[0]
		h.want(http.StatusOK, "", get, "/containers/json?all=1", "") // heard of just now
		h.api.cfg.Peer = func(string) http.RoundTripper { return unplugged{} }
		h.want(http.StatusOK, `{"Node":"n2"`, del, "/ddocker/nodes/n2", "")
	})
}

func TestALostContainerIsForgottenByItsOwnerAlone(t *testing.T) {
	carol, bob, alice := Caller{Name: "carol", Role: ledger.Member}, Caller{Name: "bob", Role: ledger.Member}, Caller{Name: "alice", Role: ledger.Admin}
	for _, c := range []struct {
		visibility string
		who        Caller
		sees       bool
		status     int
	}{
		{"all", bob, true, http.StatusForbidden}, {"own", bob, false, http.StatusNotFound},
		{"all", carol, true, http.StatusNoContent}, {"own", carol, true, http.StatusNoContent},
		{"all", alice, true, http.StatusNoContent}, {"own", alice, true, http.StatusNoContent},
	} {
		inWorld(t, 2, func(w *world) {
			w.see(c.visibility)
			if got := w.asCaller(carol, post, "/containers/create?name=web", on("n2")); got.Code != http.StatusCreated {
				t.Fatalf("create: %d %s", got.Code, got.Body)
			}
			w.hosts[1].die()
			if got := w.asCaller(alice, del, "/ddocker/nodes/n2", ""); got.Code != http.StatusOK {
				t.Fatalf("remove: %d %s", got.Code, got.Body)
			}
			what := fmt.Sprintf("visibility %s, %s", c.visibility, c.who.Name)
			if got := w.asCaller(c.who, get, "/containers/json?all=1", "").Body.String(); strings.Contains(got, `"State":"lost"`) != c.sees {
				t.Errorf("%s: the list is %s", what, got)
			}
			for _, path := range []string{"/containers/web/json", "/containers/web/logs?stdout=1"} {
				got := w.asCaller(c.who, get, path, "")
				if got.Code != http.StatusNotFound || strings.Contains(got.Body.String(), "it was on host n2, which was removed at ") != c.sees {
					t.Errorf("%s: %s: %d %s", what, path, got.Code, got.Body)
				}
			}
			if got := w.asCaller(c.who, del, "/containers/web", ""); got.Code != c.status {
				t.Errorf("%s: rm: %d %s", what, got.Code, got.Body)
			}
			left := strings.Contains(w.asCaller(alice, get, "/containers/json?all=1", "").Body.String(), `"State":"lost"`)
			if forgotten := c.status == http.StatusNoContent; left == forgotten {
				t.Errorf("%s: afterwards it is listed: %v", what, left)
			}
		})
	}
}
