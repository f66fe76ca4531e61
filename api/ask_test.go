package api

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"ddocker/consensus/ledger"
	"ddocker/settings"
)

// said is an answer, read whole.
type said struct {
	status int
	header http.Header
	body   string
}

// ask sends a request to the host's API.
func (h *agent) ask(method, path, body string) said {
	h.w.Helper()
	req := httptest.NewRequestWithContext(h.w.Context(), method, "http://ddocker"+path, strings.NewReader(body))
	req.RequestURI = ""
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := h.client.RoundTrip(req)
	if err != nil {
		h.w.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		h.w.Fatalf("%s %s: %v", method, path, err)
	}
	return said{resp.StatusCode, resp.Header, string(text)}
}

// want fails the test unless the host answers with the status and the words.
func (h *agent) want(status int, words, method, path, body string) said {
	h.w.Helper()
	got := h.ask(method, path, body)
	if got.status != status || !strings.Contains(got.body, words) {
		h.w.Errorf("%s %s: got %d %s\nwant %d with %q", method, path, got.status, bytes.TrimSpace([]byte(got.body)), status, words)
	}
	return got
}

// read reads an answer's JSON.
func read[T any](w *world, from said) (into T) {
	w.Helper()
	if err := json.Unmarshal([]byte(from.body), &into); err != nil {
		w.Fatalf("%s: %v", from.body, err)
	}
	return into
}

// create makes a container through the host's API and returns its ID.
func (h *agent) create(name, body string) string {
	h.w.Helper()
	made := h.want(http.StatusCreated, "", post, "/v1.41/containers/create?name="+name, body)
	return read[struct{ ID string }](h.w, made).ID
}

// outside makes a container with plain docker.
func (h *agent) outside(name string) string {
	h.w.Helper()
	status, reply, err := h.docker.Create(h.w.Context(), name, "", []byte(`{"Image":"busybox"}`))
	if status != http.StatusCreated || err != nil {
		h.w.Fatalf("docker create %s: %d %s %v", name, status, reply, err)
	}
	h.w.settle()
	return read[struct{ ID string }](h.w, said{body: string(reply)}).ID
}

// has returns the names of the engine's own containers, sorted.
func (h *agent) has() []string {
	h.w.Helper()
	list, err := h.docker.Containers(h.w.Context())
	if err != nil {
		h.w.Fatal(err)
	}
	names := []string{}
	for _, c := range list {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	return names
}

// placement returns what the newest ledger says of the container, or nil.
func (w *world) placement(name string) (p *ledger.Placement) {
	w.log.Replica().View(func(l *ledger.Ledger) {
		if t, refusal := l.Resolve(name); refusal == nil {
			p = t.Placement
		}
	})
	return p
}

func (w *world) configure(s settings.Settings) {
	w.Helper()
	if _, _, err := w.hosts[0].replica.Propose(w.Context(), ledger.Command{Configure: &s}); err != nil {
		w.Fatal(err)
	}
}

func wantList(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// on is a create body for the host of that name.
func on(name string) string {
	return `{"Image":"busybox","Labels":{"ddocker.node":"` + name + `"}}`
}
