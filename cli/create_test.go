package cli

import (
	"context"
	"errors"
	"io"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
)

// seedCluster answers what create asks, with the types and images of the
// seed's transcript.
func seedCluster(t *testing.T) *agent {
	g := newAgent(t)
	g.answers("GET /ddocker/settings", http.StatusOK, `{"Types":[{"Name":"12 CPUS, 64 GB"},{"Name":"12 CPUS, 64 GB, 1 TITAN XP"},
		{"Name":"24 CPUS, 128 GB, 1 TITAN XP"},{"Name":"24 CPUS, 128 GB, 2 TITAN XP"}]}`)
	g.answers("GET /images/json", http.StatusOK, `[{"RepoTags":["ubuntu:latest"]},{"RepoTags":["<none>:<none>"]},
		{"RepoTags":["python3_cuda:latest"]},{"RepoTags":["nvidia/cuda:10.2-base","ubuntu:latest"]}]`)
	g.answers("GET /images/{name}/json", http.StatusOK, `{"Config":{"Cmd":["sh"]}}`)
	g.answers("GET /images/bare/json", http.StatusOK, `{"Config":{}}`)
	g.answers("GET /images/gone/json", http.StatusNotFound, `{"message":"No such image: gone"}`)
	g.answers("POST /containers/create", http.StatusCreated, `{"Id":"0123","Warnings":["mind the step"]}`)
	g.answers("POST /containers/0123/start", http.StatusNoContent, "")
	g.answers("DELETE /containers/0123", http.StatusNoContent, "")
	return g
}

const seedTranscript = `Service types.
0 : 12 CPUS, 64 GB
1 : 12 CPUS, 64 GB, 1 TITAN XP
2 : 24 CPUS, 128 GB, 1 TITAN XP
3 : 24 CPUS, 128 GB, 2 TITAN XP
Select one of types (default: 0): 
Input the number of ports (default: 1): 
Docker Images.
0 : ubuntu:latest
1 : python3_cuda:latest
2 : nvidia/cuda:10.2-base
Select one of types (default: 0): 1
Input Container name (default: jsikyoon_20200530-003533): abc
Start to create
`

var timestamp = regexp.MustCompile(`\d{8}-\d{6}`)

// atSeedTime puts the time of the seed's transcript in place of the present.
func atSeedTime(text string) string { return timestamp.ReplaceAllString(text, "20200530-003533") }

func TestCreateAsksTheSeedsQuestionsOfAPipe(t *testing.T) {
	g := seedCluster(t)
	r := g.runs(t, "\n\n1\nabc", "create")
	r.wants(t, 0, "abc\n", "WARNING: mind the step")
	want := seedTranscript + "WARNING: mind the step\nSuccessfully created!\n"
	if got := atSeedTime(r.stderr); got != want {
		t.Errorf("dialogue:\n%s\nwant:\n%s", got, want)
	}
	if got, want := g.changes(), []string{"POST /containers/create?name=abc", "POST /containers/0123/start"}; !reflect.DeepEqual(got, want) {
		t.Errorf("changes: %q, want %q", got, want)
	}
	var body container.CreateRequest
	g.body(t, "POST /containers/create", &body)
	if body.Image != "python3_cuda:latest" || !body.Tty || !body.OpenStdin || body.Cmd != nil ||
		!reflect.DeepEqual(body.Labels, map[string]string{"ddocker.type": "12 CPUS, 64 GB", "ddocker.ports": "1"}) {
		t.Errorf("body: %+v", body.Config)
	}
}

func TestCreateNamesTheContainerAfterItsMakerByDefault(t *testing.T) {
	r := seedCluster(t).runs(t, "\n", "create", "--type", "0", "--ports", "0", "ubuntu")
	r.wants(t, 0, r.stdout, "Successfully created!")
	if got := atSeedTime(r.stdout); got != "jsikyoon_20200530-003533\n" {
		t.Errorf("stdout: %q", got)
	}
}

func TestTheEndOfInputIsAnErrorThatNamesTheFlag(t *testing.T) {
	for stdin, flag := range map[string]string{"": "--type", "\n": "--ports", "\n\n": "--image", "\n\n\n": "--name"} {
		g := seedCluster(t)
		g.runs(t, stdin, "create").wants(t, 125, "", "the input has ended: give "+flag+"\n")
		if changes := g.changes(); len(changes) > 0 {
			t.Errorf("after %q it did %q", stdin, changes)
		}
	}
}

// unread is a standard input that must not be touched.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("standard input was read")
	return 0, io.EOF
}

func TestCreateReadsNothingWhenFlagsAnswerEverything(t *testing.T) {
	g := seedCluster(t)
	execute(t, unread{t}, map[string]string{"DDOCKER_HOST": g.socket, "TOKEN": "secret"},
		"create", "--cpus", "1.5", "-m", "2g", "--gpus", "2:TITAN Xp", "--ports", "3", "--name", "abc",
		"-e", "A=1", "-e", "TOKEN", "-v", "/home/x:/x:ro", "-v", "/scratch", "ubuntu", "python", "-u", "train.py",
	).wants(t, 0, "abc\n", "Start to create\n")
	var body container.CreateRequest
	g.body(t, "POST /containers/create", &body)
	wantConfig := container.Config{
		Image: "ubuntu", Cmd: []string{"python", "-u", "train.py"}, Env: []string{"A=1", "TOKEN=secret"},
		Tty: true, OpenStdin: true, Labels: map[string]string{"ddocker.ports": "3"}, Volumes: map[string]struct{}{"/scratch": {}},
	}
	if !reflect.DeepEqual(*body.Config, wantConfig) {
		t.Errorf("config: %+v\nwant:   %+v", *body.Config, wantConfig)
	}
	wantResources := container.Resources{NanoCPUs: 1_500_000_000, Memory: 2 << 30, DeviceRequests: []container.DeviceRequest{
		{Count: 2, Capabilities: [][]string{{"gpu"}}, Options: map[string]string{"model": "TITAN Xp"}}}}
	if !reflect.DeepEqual(body.HostConfig.Resources, wantResources) {
		t.Errorf("resources: %+v\nwant:      %+v", body.HostConfig.Resources, wantResources)
	}
	if !reflect.DeepEqual(body.HostConfig.Binds, []string{"/home/x:/x:ro"}) {
		t.Errorf("binds: %q", body.HostConfig.Binds)
	}
}

func TestCreateRunsAShellWhereTheImageRunsNothing(t *testing.T) {
	g := seedCluster(t)
	g.runs(t, "", "create", "--type", "12 CPUS, 64 GB", "--ports", "0", "--name", "abc", "bare").wants(t, 0, "abc\n", "")
	var body container.CreateRequest
	g.body(t, "POST /containers/create", &body)
	if !reflect.DeepEqual([]string(body.Cmd), []string{"/bin/bash"}) || body.Labels["ddocker.type"] != "12 CPUS, 64 GB" {
		t.Errorf("command %q, labels %v", body.Cmd, body.Labels)
	}
}

func TestCreateTakesATypeByNumber(t *testing.T) {
	g := seedCluster(t)
	g.runs(t, "", "create", "--type", "2", "--ports", "0", "--name", "abc", "--image", "ubuntu", "ls").wants(t, 0, "abc\n", "")
	var body container.CreateRequest
	g.body(t, "POST /containers/create", &body)
	if got := body.Labels["ddocker.type"]; got != "24 CPUS, 128 GB, 1 TITAN XP" {
		t.Errorf("type %q", got)
	}
}

func TestCreateRefusesWithOneSentence(t *testing.T) {
	rest := []string{"--ports", "0", "--name", "abc", "ubuntu"}
	for _, c := range []struct {
		args  []string
		stdin string
		want  string
	}{
		{append([]string{"--type", "4"}, rest...), "", "Error: there is no type number 4: the types are 0 to 3, 12 CPUS"},
		{append([]string{"--cpus", "-1"}, rest...), "", `Error: invalid --cpus "-1"`},
		{append([]string{"--memory", "lots"}, rest...), "", `Error: invalid --memory "lots"`},
		{append([]string{"--gpus", "few"}, rest...), "", `Error: invalid argument "few" for "--gpus" flag: invalid count (few): value must be either "all" or an integer`},
		{[]string{"--ports", "70000"}, "", `Error: invalid --ports: "70000" is not a number from 0 to 1000`},
		{nil, "9\n", `Error: "9" is not a number from 0 to 3`},
		{nil, "0\nmany\n", `Error: "many" is not a number from 0 to 1000`},
	} {
		g := seedCluster(t)
		g.runs(t, c.stdin, append([]string{"create"}, c.args...)...).wants(t, 125, "", c.want)
		if changes := g.changes(); len(changes) > 0 {
			t.Errorf("create %q did %q", c.args, changes)
		}
	}
}

func TestCreateWithoutTypesOrImagesSaysWhatToDo(t *testing.T) {
	g := newAgent(t)
	g.answers("GET /ddocker/settings", http.StatusOK, `{}`)
	g.answers("GET /images/json", http.StatusOK, `[]`)
	g.runs(t, "", "create").wants(t, 125, "", "Error: the cluster has no service types", "ddocker config apply")
	g.runs(t, "", "create", "--cpus", "1", "--ports", "0").wants(t, 125, "", "Error: no host has an image")
}

func TestACreationThatIsRefusedLeavesTheClustersWords(t *testing.T) {
	g := newAgent(t)
	g.answers("POST /containers/create", http.StatusConflict, `{"message":"no host has 2× TITAN Xp free: h1 has 1 free"}`)
	g.runs(t, "", "create", "--cpus", "1", "--ports", "0", "--name", "abc", "ubuntu", "sh").
		wants(t, 125, "", "Error: no host has 2× TITAN Xp free: h1 has 1 free\n")
}

func TestAContainerThatDoesNotStartIsRemoved(t *testing.T) {
	g := newAgent(t)
	g.answers("POST /containers/create", http.StatusCreated, `{"Id":"0123"}`)
	g.answers("POST /containers/0123/start", http.StatusInternalServerError, `{"message":"h2: no such runtime"}`)
	g.answers("DELETE /containers/0123", http.StatusInternalServerError, `{"message":"h2 went away"}`)
	args := []string{"create", "--cpus", "1", "--ports", "0", "--name", "abc", "ubuntu", "sh"}
	g.runs(t, "", args...).wants(t, 125, "", "Error: h2: no such runtime\n",
		`Error: container abc is left behind, h2 went away: remove it with "ddocker rm -f abc"`)
	if !g.was("DELETE /containers/0123?force=1&v=1") {
		t.Errorf("it did %q", g.changes())
	}
}

func TestAnInterruptedCreationIsUndone(t *testing.T) {
	g := newAgent(t)
	ctx, interrupt := context.WithCancel(t.Context())
	g.HandleFunc("POST /containers/create", func(w http.ResponseWriter, _ *http.Request) {
		interrupt()
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, `{"Id":"0123"}`)
	})
	g.answers("DELETE /containers/0123", http.StatusNoContent, "")
	var out strings.Builder
	code := Execute(ctx, Env{
		Args:  []string{"create", "--cpus", "1", "--ports", "0", "--name", "abc", "ubuntu", "sh"},
		Stdin: unread{t}, Stdout: &out, Stderr: io.Discard,
		Getenv: func(string) string { return g.socket },
	})
	want := []string{"POST /containers/create?name=abc", "DELETE /containers/0123?force=1&v=1"}
	if got := g.changes(); code != 130 || out.Len() > 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("exit code %d, printed %q, did %q; want 130, nothing, %q", code, &out, got, want)
	}
}

func TestAnInterruptedQuestionEndsTheProgram(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	input, _ := io.Pipe() // never answers
	g := newAgent(t)
	g.HandleFunc("GET /ddocker/settings", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"Types":[{"Name":"x"}]}`)
	})
	asked := &watcher{text: "Select one", found: interrupt}
	code := Execute(ctx, Env{Args: []string{"create"}, Stdin: input, Stdout: io.Discard, Stderr: asked,
		Getenv: func(string) string { return g.socket }})
	if code != 130 || !errors.Is(ctx.Err(), context.Canceled) {
		t.Errorf("exit code %d, want 130", code)
	}
}

// watcher calls found once text has been written to it.
type watcher struct {
	text  string
	found func()
	seen  strings.Builder
}

func (w *watcher) Write(p []byte) (int, error) {
	w.seen.Write(p)
	if strings.Contains(w.seen.String(), w.text) {
		w.found()
	}
	return len(p), nil
}
