package api

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"testing"

	"ddocker/gpu"
)

// wire is an engine that notes what arrives there, as a server reads it.
type wire struct {
	arrived *http.Request
	err     error
}

// RoundTrip writes the request and reads it again.
func (e *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	var b bytes.Buffer
	if e.err = r.Write(&b); e.err == nil {
		e.arrived, e.err = http.ReadRequest(bufio.NewReader(&b))
	}
	return (&record{header: http.Header{}, status: http.StatusOK}).response(r), nil
}

// forgetful is a node that holds nothing.
type forgetful struct{ Node }

func (forgetful) Removed(context.Context, string) error { return nil }

// beforeWire is an API of one host, as far as requests pass through it.
func beforeWire(e *wire) *API {
	quiet := slog.New(slog.DiscardHandler)
	a := &API{cfg: Config{Self: "n1"}, log: quiet, table: routes()}
	a.local = &Local{
		node:        forgetful{},
		proxy:       forward(e, "the engine", quiet, new(buffers)),
		engineImage: func(_ context.Context, id string) string { return id },
		ranges:      func(context.Context) (string, string, error) { return "1.24", "1.41", nil },
		gpus:        func() gpu.State { return gpu.State{} },
	}
	return a
}

// Whatever a client sends, what arrives at an engine is a row's own method and path
// with a plain reference in it, and a query that both read alike.
func FuzzRouter(f *testing.F) {
	for _, row := range routes() {
		f.Add(row.method, "/v1.41"+strings.Replace(row.path, "{}", "a/b", 1)+"?a=b&c")
	}
	for _, target := range []string{
		"/v1.41/containers/%2e%2e/json", "/containers/a%2f..%2fb/json", "//containers/json", "/v1.41//containers/json", "/v1.41/v1.41/info", "/v1.41/../info",
		"/containers/a%00/json", "/containers/a;b/json", "/images/a%3fb/json", "/containers/%c0%ae/json", "http://x/containers/json", "*", "/images/a%252f..%252fb/json",
		"/CONTAINERS/json", "/containers/%2E%2e%2Fsecrets/json", "/images/a%23/json", "/images/x/json?a=1;b=2", "/images/x/json?%zz", "/images/x/json?name=a&name=b", "/images/x%20y/json",
		"http://user@h:1/v1.41/images/x/json", "//evil/images/x/json", "/images/..%5c..%5cx/json", "/_ping/../containers/json", "/distribution/a/../../info", "/./info", "/info/.", "/info%2f",
		"/ddocker/local/bring", "/v1.41/ddocker/local/settle", "/images/a@sha256:0/json", "/images/-a/json", "/v1.41/images/a:b/json#x",
	} {
		f.Add("GET", target)
	}
	f.Add("CONNECT", "engine:80")
	f.Add("GET\r\nX: y", "/info")
	f.Add("PRI", "*")
	f.Fuzz(func(t *testing.T, method, target string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(method + " " + target + " HTTP/1.1\r\nHost: h\r\n\r\n")))
		if err != nil {
			return
		}
		e := &wire{}
		a := beforeWire(e)
		version, p := splitVersion(r.URL.Path)
		row, ref, ok := find(a.table, r.Method, p)
		if !ok {
			w := httptest.NewRecorder()
			if a.ServeHTTP(w, r); e.arrived != nil || w.Code != http.StatusNotFound {
				t.Errorf("%s %q is in no row, and arrives as %v, %d", method, target, e.arrived, w.Code)
			}
			return
		}
		if special := map[string]bool{pathHere: true, pathBring: true, pathSettle: true, pathSMI: true, pathGPUs: true, pathAudit: true, pathEvents: true}; special[p] || strings.HasPrefix(row.path, "/ddocker/") {
			return // never an engine's
		}
		if r.Method == post && (p == "/containers/create" || p == "/commit" || p == "/containers/prune" || strings.HasSuffix(row.path, "/update")) {
			return // carried out by the node
		}
		a.send(httptest.NewRecorder(), &call{Request: r, version: version, row: row, ref: ref}, "n1", ref)
		wantArrived(t, e, row, ref, r)
	})
}

// wantArrived fails the test unless the request arrived as the row has it.
func wantArrived(t *testing.T, e *wire, row *route, ref string, sent *http.Request) {
	t.Helper()
	if e.err != nil || e.arrived == nil {
		t.Fatalf("%s %s did not arrive: %v", sent.Method, sent.URL, e.err)
	}
	to := e.arrived.URL
	_, p := splitVersion(to.Path)
	if e.arrived.Method != row.method || p != strings.Replace(row.path, "{}", ref, 1) || to.RawPath != "" || to.EscapedPath() != to.Path {
		t.Errorf("%s %s arrives as %s %s", sent.Method, sent.URL, e.arrived.Method, to)
	}
	if path.Clean(to.Path) != to.Path || strings.ContainsAny(to.Path, "%?#\\; \r\n\x00") || strings.Contains(to.Path, "..") && !strings.Contains(ref, "..") {
		t.Errorf("%s goes to %q", sent.URL, to.Path)
	}
	for _, element := range strings.Split(to.Path, "/")[1:] {
		if strings.HasPrefix(element, ".") || element == "" {
			t.Errorf("%s goes to %q", sent.URL, to.Path)
		}
	}
	query, err := url.ParseQuery(to.RawQuery)
	if want := sent.URL.Query(); err != nil || query.Encode() != want.Encode() {
		t.Errorf("the query of %s arrives as %q, %v", sent.URL, to.RawQuery, err)
	}
}

// A connection is joined with the engine's only after a 101: what follows on it after
// anything else is a request of its own, to this API.
func TestWhatFollowsARefusedUpgradeIsSeen(t *testing.T) {
	const hidden = "POST /plugins/pull HTTP/1.1\r\nHost: docker\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
	for _, c := range []struct{ first, want string }{
		{"POST /exec/nobody/start HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", "404"},
		{"POST /containers/nobody/attach HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n", "404"},
		{"POST /session HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n", "400"}, // the engine's refusal
		{"POST /grpc HTTP/1.1\r\nHost: docker\r\nContent-Length: 0\r\n\r\n", "400"},
		{"POST /containers/web/exec HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{\"Cmd\":[\"true\"]}", "409"},
		{"GET /containers/web/json HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", "200"},
	} {
		inWorld(t, 2, func(w *world) {
			w.hosts[0].create("web", on("n2"))
			conn, err := w.hosts[0].client.DialContext(w.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			go io.WriteString(conn, c.first+hidden)
			in := bufio.NewReader(conn)
			first, err := http.ReadResponse(in, nil)
			if err != nil || fmt.Sprint(first.StatusCode) != c.want {
				t.Fatalf("%.40s: got %v, %v", c.first, first, err)
			}
			io.Copy(io.Discard, first.Body)
			second, err := http.ReadResponse(in, nil)
			if err != nil {
				return // the connection ended with the first answer
			}
			if text, _ := io.ReadAll(second.Body); !strings.Contains(string(text), "is no route that the cluster serves") && !strings.Contains(string(text), "ddocker") {
				t.Errorf("%.40s: what follows is answered %s %s", c.first, second.Status, text)
			}
		})
	}
}
