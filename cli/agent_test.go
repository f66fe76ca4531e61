package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// agent plays a cluster on a unix socket. Routes are registered on it without
// the API's version.
type agent struct {
	http.ServeMux
	socket string

	mu     sync.Mutex
	asked  []string          // method, path and query, as they came
	bodies map[string][]byte // last body by method and path
}

func newAgent(t *testing.T) *agent {
	t.Helper()
	dir, err := os.MkdirTemp("", "dd") // t.TempDir's names are too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	g := &agent{socket: filepath.Join(dir, "s"), bodies: map[string][]byte{}}
	listener, err := net.Listen("unix", g.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(g.record(&g.ServeMux))
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	g.HandleFunc("/_ping", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Api-Version", "1.47") })
	return g
}

func (g *agent) record(next http.Handler) http.Handler {
	version := regexp.MustCompile(`^/v1\.\d+`)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path = version.ReplaceAllString(r.URL.Path, "")
		if r.URL.Path != "/_ping" {
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			g.mu.Lock()
			g.asked = append(g.asked, strings.TrimSuffix(r.Method+" "+r.URL.Path+"?"+r.URL.RawQuery, "?"))
			g.bodies[r.Method+" "+r.URL.Path] = body
			g.mu.Unlock()
		}
		next.ServeHTTP(w, r)
	})
}

// answers makes a route answer with a status and a text; JSON goes as such.
func (g *agent) answers(route string, status int, text string) {
	g.HandleFunc(route, func(w http.ResponseWriter, _ *http.Request) {
		if json.Valid([]byte(text)) {
			w.Header().Set("Content-Type", "application/json")
		}
		w.WriteHeader(status)
		io.WriteString(w, text)
	})
}

// hijacks makes a route join its connection to talk, as exec and attach do.
func (g *agent) hijacks(route string, talk func(in io.Reader, out io.Writer)) {
	g.HandleFunc(route, func(w http.ResponseWriter, r *http.Request) {
		conn, both, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n"+
			"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
		talk(both, conn)
	})
}

// was reports whether a request of that method, path and query has come.
func (g *agent) was(request string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Contains(g.asked, request)
}

// requests are those that came, without those that only read.
func (g *agent) changes() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(g.asked), func(r string) bool { return strings.HasPrefix(r, "GET ") })
}

// body decodes the last body of one method and path.
func (g *agent) body(t *testing.T, route string, into any) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := json.Unmarshal(g.bodies[route], into); err != nil {
		t.Fatalf("body of %s: %v", route, err)
	}
}

type result struct {
	code           int
	stdout, stderr string
}

// runs runs one command line with stdin piped in.
func (g *agent) runs(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	return execute(t, strings.NewReader(stdin), map[string]string{"DDOCKER_HOST": g.socket, "USER": "jsikyoon"}, args...)
}

func execute(t *testing.T, stdin io.Reader, environment map[string]string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	code := Execute(ctx, Env{Template: "// a template\n{}\n",
		Args:    args,
		Stdin:   stdin,
		Stdout:  &stdout,
		Stderr:  &stderr,
		Getenv:  func(name string) string { return environment[name] },
		Version: "1.2.3",
	})
	return result{code, stdout.String(), stderr.String()}
}

// wants fails the test unless the command left with code and printed exactly
// stdout, and on standard error all of the texts.
func (r result) wants(t *testing.T, code int, stdout string, stderr ...string) {
	t.Helper()
	if r.code != code || r.stdout != stdout {
		t.Errorf("exit code %d, stdout:\n%s\nwant %d:\n%s\nstderr:\n%s", r.code, r.stdout, code, stdout, r.stderr)
	}
	for _, text := range stderr {
		if !strings.Contains(r.stderr, text) {
			t.Errorf("stderr lacks %q:\n%s", text, r.stderr)
		}
	}
	if len(stderr) == 0 && r.stderr != "" {
		t.Errorf("stderr should be empty:\n%s", r.stderr)
	}
}

// lineOf reads one line of what the other side of a hijacked stream sends.
func lineOf(in io.Reader) string {
	line, _ := bufio.NewReader(in).ReadString('\n')
	return line
}
