package cli

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	names "github.com/distribution/reference"
	"github.com/docker/docker/api/types/registry"
)

// layersArrive is what a pull says whose layer comes from another host.
const layersArrive = `{"status":"Pulling from library/python","id":"3"}
{"status":"Pulling fs layer","progressDetail":{},"id":"0123456789ab"}
{"status":"Downloading","progressDetail":{"current":5,"total":10},"id":"0123456789ab"}
{"status":"Pull complete","progressDetail":{},"id":"0123456789ab"}
{"status":"Status: Downloaded newer image for python:3"}
`

func TestPullTellsWhatDockerTells(t *testing.T) {
	g := newAgent(t)
	g.answers("POST /images/create", http.StatusOK, layersArrive)
	g.runs(t, "", "pull", "python:3").wants(t, 0, "3: Pulling from library/python\n0123456789ab: Pulling fs layer\n"+
		"0123456789ab: Pull complete\nStatus: Downloaded newer image for python:3\ndocker.io/library/python:3\n")
	g.runs(t, "", "image", "pull", "-q", "--platform", "linux/arm64", "nvcr.io/lab/python").wants(t, 0, "nvcr.io/lab/python:latest\n")
	if r := g.runs(t, "", "pull", "python"); !strings.HasPrefix(r.stdout, "Using default tag: latest\n") {
		t.Errorf("pull python prints\n%s", r.stdout)
	}
	g.runs(t, "", "pull", "-a", "-q", "python").wants(t, 0, "docker.io/library/python\n")
	want := []string{
		"POST /images/create?fromImage=docker.io%2Flibrary%2Fpython&tag=3",
		"POST /images/create?fromImage=nvcr.io%2Flab%2Fpython&platform=linux%2Farm64&tag=latest",
		"POST /images/create?fromImage=docker.io%2Flibrary%2Fpython&tag=latest",
		"POST /images/create?fromImage=docker.io%2Flibrary%2Fpython",
	}
	if got := g.changes(); !reflect.DeepEqual(got, want) {
		t.Errorf("it did %q, want %q", got, want)
	}
}

func TestPullShowsBarsOnATerminal(t *testing.T) {
	g := newAgent(t)
	half := make(chan struct{})
	g.HandleFunc("POST /images/create", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"status":"Downloading","progressDetail":{"current":50,"total":100},"id":"0123456789ab"}`+"\n")
		w.(http.Flusher).Flush()
		<-half
		io.WriteString(w, `{"status":"Pull complete","progressDetail":{},"id":"0123456789ab"}`+"\n")
	})
	u := g.sitsDown(t, "pull", "python:3")
	u.waitsFor("0123456789ab: Downloading")
	u.waitsFor("50B/100B")
	close(half)
	u.waitsFor("0123456789ab: Pull complete")
	u.waitsFor("docker.io/library/python:3\r\n")
	u.leavesWith(0)
}

func TestAPullThatFailsSaysWhy(t *testing.T) {
	for answer, want := range map[string]string{
		`{"errorDetail":{"message":"no holder of python:3 answers"},"error":"x"}`: "Error: no holder of python:3 answers\n",
		`{"status":"Pulling`: "Error: the ddocker agent broke off in the middle of its answer: see what came of it",
	} {
		g := newAgent(t)
		g.answers("POST /images/create", http.StatusOK, answer)
		g.runs(t, "", "pull", "-q", "python:3").wants(t, 1, "", want)
	}
	g := newAgent(t)
	g.answers("POST /images/create", http.StatusNotFound, `{"message":"pull access denied for nosuch"}`)
	g.runs(t, "", "pull", "nosuch:1").wants(t, 1, "", "Error: pull access denied for nosuch\n")
	g.asked = nil
	g.runs(t, "", "pull", "-a", "python:3").wants(t, 1, "", "Error: tag can't be used with --all-tags/-a\n")
	g.runs(t, "", "pull", "Python").wants(t, 1, "", `Error: "Python" is not an image's name: `)
	g.runs(t, "", "push", "python:3@gpu2").wants(t, 1, "", `"ddocker tag python:3@gpu2 NAME"`)
	g.runs(t, "", "pull").wants(t, 1, "", "Error: 'ddocker pull' requires 1 argument\n")
	if changes := g.changes(); len(changes) > 0 {
		t.Errorf("it did %q", changes)
	}
}

func TestPushAndPullLogInAsTheUser(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	both := base64.StdEncoding.EncodeToString([]byte("alice:se:cret"))
	write("config.json", `{"auths":{"https://index.docker.io/v1/":{"auth":"`+both+`"},"https://old.example.org/v1/":{"auth":"`+both+`"}},
		"credHelpers":{"nvcr.io":"test","empty.example.org":"test"}}`)
	write("docker-credential-test", `#!/bin/sh
read -r server
case $server in
nvcr.io) echo '{"ServerURL":"nvcr.io","Username":"<token>","Secret":"t0ken"}' ;;
*) echo credentials not found in native keychain; exit 1 ;;
esac`)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	g := newAgent(t)
	var sent atomic.Pointer[registry.AuthConfig]
	g.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		text, _ := base64.URLEncoding.DecodeString(r.Header.Get(registry.AuthHeader))
		var auth registry.AuthConfig
		if err := json.Unmarshal(text, &auth); err != nil {
			t.Errorf("%s: header %q: %v", r.URL, text, err)
		}
		auth.ServerAddress = "" // docker writes a registry in several ways
		sent.Store(&auth)
		io.WriteString(w, `{"status":"3: digest: sha256:01 size: 5"}`)
	})
	for name, want := range map[string]registry.AuthConfig{
		"python:3":                 {Username: "alice", Password: "se:cret"},
		"old.example.org/python:3": {Username: "alice", Password: "se:cret"},
		"nvcr.io/lab/python:3":     {IdentityToken: "t0ken"},
		"empty.example.org/x:3":    {},
		"localhost:5000/x:3":       {},
	} {
		for command, stdout := range map[string]string{"pull": "\n" + name + "\n", "push": "\n"} {
			environment := map[string]string{"DDOCKER_HOST": g.socket, "DOCKER_CONFIG": dir}
			r := execute(t, unread{t}, environment, command, name)
			if name != "python:3" {
				r.wants(t, 0, "3: digest: sha256:01 size: 5"+stdout)
			}
			if got := sent.Load(); got == nil || *got != want {
				t.Errorf("%s %s logged in as %+v, want %+v", command, name, got, want)
			}
		}
	}
}

func TestAHelperThatIsNotThereIsNamedAndGoneWithout(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"credsStore":"nosuch"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	a := &app{Env: Env{Stderr: &said, Getenv: func(string) string { return dir }}}
	name, err := names.ParseNormalizedNamed("nvcr.io/lab/x:1")
	if err != nil {
		t.Fatal(err)
	}
	if auth, err := a.registryAuth(name); auth != "" || err != nil {
		t.Errorf("the login is %q, %v", auth, err)
	}
	if want := "WARNING: going on without a login at nvcr.io: "; !strings.HasPrefix(said.String(), want) || !strings.Contains(said.String(), "docker-credential-nosuch") {
		t.Errorf("it said %q", said.String())
	}
}

// lacking is a cluster whose chosen host has the image only after a pull.
func lacking(t *testing.T, pull http.HandlerFunc) *agent {
	g := newAgent(t)
	var pulled atomic.Bool
	g.HandleFunc("POST /images/create", func(w http.ResponseWriter, r *http.Request) {
		pulled.Store(true)
		pull(w, r)
	})
	missing := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, `{"message":"No such image: python:3"}`)
	}
	g.HandleFunc("POST /containers/create", func(w http.ResponseWriter, r *http.Request) {
		if !pulled.Load() {
			missing(w)
			return
		}
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, `{"Id":"0123"}`)
	})
	g.HandleFunc("GET /images/{name}/json", func(w http.ResponseWriter, r *http.Request) {
		if !pulled.Load() {
			missing(w)
			return
		}
		io.WriteString(w, `{"Config":{}}`)
	})
	g.answers("POST /containers/0123/start", http.StatusNoContent, "")
	return g
}

func arrives(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, layersArrive) }

func TestCreatePullsWhatTheChosenHostLacksAndCreatesAgain(t *testing.T) {
	const (
		pull   = "POST /images/create?fromImage=docker.io%2Flibrary%2Fpython&tag=3"
		create = "POST /containers/create?name=abc"
		start  = "POST /containers/0123/start"
	)
	for _, c := range []struct {
		command []string
		want    []string
	}{
		{[]string{"sh"}, []string{create, pull, create, start}},
		{nil, []string{pull, create, start}}, // the cluster does not know what the image runs
	} {
		g := lacking(t, arrives)
		args := append([]string{"create", "--cpus", "1", "--ports", "0", "--name", "abc", "python:3"}, c.command...)
		g.runs(t, "", args...).wants(t, 0, "abc\n", "Start to create\nUnable to find image 'python:3' locally\n"+
			"3: Pulling from library/python\n0123456789ab: Pulling fs layer\n", "for python:3\nSuccessfully created!\n")
		if got := g.changes(); !reflect.DeepEqual(got, c.want) {
			t.Errorf("it did %q, want %q", got, c.want)
		}
	}
}

func TestCreatePullsOnceAndOnlyWhatHasAName(t *testing.T) {
	args := func(image string) []string {
		return []string{"create", "--cpus", "1", "--ports", "0", "--name", "abc", image, "sh"}
	}
	for _, c := range []struct{ image, refusal, want string }{
		{"python:3", "No such image: python:3", "POST /containers/create, POST /images/create, POST /containers/create"},
		{"python:3@gpu2", "No such image on host gpu2: python:3", "POST /containers/create"},
		{strings.Repeat("0", 64), "No such image: 0", "POST /containers/create"},
		{"python:3", "No such network: lab", "POST /containers/create"},
	} {
		g := newAgent(t)
		g.answers("POST /containers/create", http.StatusNotFound, `{"message":"`+c.refusal+`"}`)
		g.answers("POST /images/create", http.StatusOK, layersArrive)
		g.runs(t, "", args(c.image)...).wants(t, 125, "", "Error: "+c.refusal+"\n")
		changes := g.changes()
		for i := range changes {
			changes[i], _, _ = strings.Cut(changes[i], "?")
		}
		if got := strings.Join(changes, ", "); got != c.want {
			t.Errorf("%s: it did %s, want %s", c.image, got, c.want)
		}
	}
	g := lacking(t, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"errorDetail":{"message":"the disk of gpu2 is full"}}`)
	})
	g.runs(t, "", args("python:3")...).wants(t, 125, "", "Error: the disk of gpu2 is full\n")
}

func TestAnInterruptedPullEndsACreateAtOnce(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	over := make(chan struct{})
	g := lacking(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"status":"Pulling from library/python","id":"3"}`+"\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(over)
	})
	told := &watcher{text: "Pulling from", found: interrupt}
	var out strings.Builder
	code := Execute(ctx, Env{
		Args:  []string{"create", "--cpus", "1", "--ports", "0", "--name", "abc", "python:3", "sh"},
		Stdin: unread{t}, Stdout: &out, Stderr: told, Version: "1.2.3",
		Getenv: func(name string) string { return map[string]string{"DDOCKER_HOST": g.socket}[name] },
	})
	<-over
	if changes := g.changes(); code != 130 || out.Len() > 0 || len(changes) != 2 || strings.Contains(told.seen.String(), "Error") {
		t.Errorf("exit code %d, printed %q, did %q; stderr:\n%s", code, &out, changes, &told.seen)
	}
}
