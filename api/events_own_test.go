package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ddocker/consensus/ledger"
)

// hear returns what is told of by an API's events, "type action name", until ctx ends.
// The function waits for that.
func (h *agent) hear(ctx context.Context, query string) func() []string {
	h.w.Helper()
	req := httptest.NewRequestWithContext(ctx, get, "http://ddocker/events?"+query, nil)
	req.RequestURI = ""
	resp, err := h.client.RoundTrip(req)
	if err != nil {
		h.w.Fatal(err)
	}
	told := make(chan []string, 1)
	go func() {
		defer resp.Body.Close()
		var words []string
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			var e about
			json.Unmarshal(lines.Bytes(), &e) // what is no event says nothing
			name := e.Actor.Attributes["name"]
			if name == "" {
				name = e.Actor.ID
			}
			words = append(words, e.Type+" "+e.Action+" "+name)
		}
		told <- words
	}()
	return func() []string { return <-told }
}

func TestEventsTellUsersOfTheirOwn(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.see("own")
		w.as("bob", ledger.Member)
		since := time.Now()
		time.Sleep(time.Second)
		ctx, leave := context.WithCancel(w.Context())
		live := w.hosts[0].hear(ctx, "")
		for _, who := range []string{"carol", "bob"} {
			w.as(who, ledger.Member)
			h := w.hosts[1]
			h.create(who, on("n1"))
			h.create(who+"2", on("n2"))
			h.want(http.StatusCreated, "", post, "/volumes/create", `{"Name":"`+who+`"}`)
			h.want(http.StatusCreated, "", post, "/images/busybox/tag?repo="+who, "")
			for _, path := range []string{"/containers/" + who, "/containers/" + who + "2", "/volumes/" + who, "/images/" + who} {
				if got := h.ask(del, path, ""); got.status/100 != 2 {
					t.Fatalf("%s: %d %s", path, got.status, got.body)
				}
			}
			time.Sleep(time.Second)
			synctest.Wait()
		}
		leave()
		// An engine tells the ID alone of an image that loses a name, and all see busybox.
		untag := "image untag " + w.hosts[0].imageID("busybox")
		now := live()
		slices.Sort(now) // hosts tell of one moment in any order
		wantList(t, "told as it happens", now, "container create bob", "container create bob2", "container destroy bob", "container destroy bob2",
			"image tag bob:latest", "image tag bob:latest", untag, untag, untag, untag)
		past := w.hosts[1].hear(w.Context(), fmt.Sprintf("since=%d&until=%d", since.Unix(), time.Now().Unix()))()
		slices.Sort(past)
		wantList(t, "told of the past", past, "container create bob", "container create bob2", "container destroy bob", "container destroy bob2",
			untag, untag, untag, untag)
		w.as("alice", ledger.Admin)
		if all := w.hosts[1].hear(w.Context(), fmt.Sprintf("since=%d&until=%d", since.Unix(), time.Now().Unix()))(); len(all) < 12+len(past)/2 {
			t.Errorf("admins are told %q", all)
		}
	})
}

// What an engine tells of networks, volumes and what they have to do with containers.
func TestEventsOfObjectsAreForTheirOwners(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.see("own")
		boxes := map[string]string{}
		for _, who := range []string{"carol", "bob"} {
			w.as(who, ledger.Member)
			w.hosts[0].network(who)
			w.hosts[0].want(http.StatusCreated, "", post, "/volumes/create", `{"Name":"`+who+`"}`)
			boxes[who] = w.hosts[0].create(who, busybox)
		}
		bob := &call{Request: httptest.NewRequest(get, "/events", nil), caller: Caller{Name: "bob", Role: ledger.Member}}
		o := newAudience(w.hosts[0].api, bob)
		hears := func(kind, action, id, attributes string) bool {
			return o.hears(w.Context(), fmt.Appendf(nil, `{"Type":%q,"Action":%q,"Actor":{"ID":%q,"Attributes":{%s}}}`, kind, action, id, attributes))
		}
		wants := func(step string, bobs bool) {
			for who, want := range map[string]bool{"bob": bobs, "carol": false} {
				in := `"container":"` + boxes[who] + `"`
				for what, got := range map[string]bool{
					"a network":             hears("network", "destroy", "n", `"name":"`+who+`"`),
					"a volume":              hears("volume", "destroy", who, `"driver":"local"`),
					"a network's container": hears("network", "disconnect", "n", `"name":"bridge",`+in),
					"a volume's container":  hears("volume", "unmount", "v", in),
					"a container":           hears("container", "exec_die", boxes[who], `"name":"x"`),
				} {
					if got != want {
						t.Errorf("%s, %s of %s: bob hears it: %v", step, what, who, got)
					}
				}
			}
		}
		wants("while they are there", true)
		for _, who := range []string{"carol", "bob"} {
			w.as(who, ledger.Member)
			for _, path := range []string{"/containers/", "/volumes/", "/networks/"} {
				w.hosts[0].want(http.StatusNoContent, "", del, path+who, "")
			}
		}
		w.settle()
		wants("when they are gone", true)
		w.as("carol", ledger.Member)
		w.hosts[0].want(http.StatusCreated, "", post, "/volumes/create", `{"Name":"bob"}`)
		if hears("volume", "create", "bob", "") || hears("daemon", "reload", "x", "") || hears("container", "start", "other", `"ddocker.owner":"carol"`) {
			t.Error("bob hears of what is others'")
		}
		if !hears("container", "destroy", "old", `"ddocker.owner":"bob"`) {
			t.Error("bob does not hear of what was bob's, by its label")
		}
	})
}
