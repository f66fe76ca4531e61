package api

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"ddocker/engine/enginetest"
)

// fanOuts are the requests that may ask all hosts: every list and every prune of
// the table, and what is looked for on all of them.
func fanOuts() (requests []string) {
	for _, r := range routes() {
		if r.method == get && !strings.Contains(r.path, "{}") || strings.HasSuffix(r.path, "/prune") {
			requests = append(requests, r.method+" "+r.path)
		}
	}
	return append(requests, "GET /events?since=1&until=2", "GET /containers/json?all=1",
		"GET /containers/nobody/json", "GET /images/nobody/json", "GET /exec/nobody/json")
}

// lasts is the request whose answer goes on until its reader leaves.
const lasts = "GET /events"

// A host that does not answer costs whoever asks one bounded wait, whatever they
// ask for; it is then not asked again until it answers.
func TestHostThatDoesNotAnswerCostsEveryRequestOneWait(t *testing.T) {
	deaf := roundTrip(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	for how, away := range map[string]func(w *world){
		"hung": func(w *world) { w.hosts[2].twin.Hang() },
		"slow": func(w *world) { w.hosts[2].twin.SetLatency(enginetest.Read, 5*time.Second) },
		"dead": func(w *world) { w.hosts[2].fail() },
		"cut off": func(w *world) {
			w.hosts[0].api.cfg.Peer = func(id string) http.RoundTripper {
				if id == "id-n3" {
					return deaf
				}
				return w.peer(id)
			}
		},
	} {
		t.Run(how, func(t *testing.T) {
			for _, request := range fanOuts() {
				inWorld(t, 3, func(w *world) {
					w.hosts[0].create("there", on("n2"))
					w.hosts[0].create("away", on("n3"))
					method, path, _ := strings.Cut(request, " ")
					healthy, _ := w.hosts[0].heads(method, path)
					away(w)
					for i, limit := range []time.Duration{time.Second, 0, 0} {
						got, took := w.hosts[0].heads(method, path)
						if took > limit {
							t.Errorf("%s: request %d took %v", request, i, took)
						}
						if got.status != healthy.status {
							t.Errorf("%s: request %d is answered %d %s, and %d when all is well", request, i, got.status, got.body, healthy.status)
						}
						if path == "/containers/json?all=1" && strings.Count(got.body, `"Host down"`) != 1 || path == "/info" && !strings.Contains(got.body, `["n3","unreachable"]`) {
							t.Errorf("%s says %s", request, got.body)
						}
					}
				})
			}
		})
	}
}

// heads asks, and reads no body that goes on.
func (h *agent) heads(method, path string) (got said, took time.Duration) {
	h.w.Helper()
	if method+" "+path == lasts {
		e := h.watch("")
		e.close()
		return said{status: http.StatusOK}, e.after
	}
	began := time.Now()
	got = h.ask(method, path, "")
	return got, time.Since(began)
}
