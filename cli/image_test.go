package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestImagesTellsOnHowManyHostsAnImageIs(t *testing.T) {
	g := newAgent(t)
	g.answers("GET /images/json", http.StatusOK, strings.ReplaceAll(`[
	 {"Id":"sha256:0123456789abcdef","RepoTags":["python:3"],"Created":AGO,"Size":1000,"Ddocker":{"Hosts":["gpu1","gpu2"],"Owners":{"python:3":"alice"},"Replicas":2}},
	 {"Id":"sha256:1123456789abcdef","RepoTags":["base:1"],"Created":AGO,"Size":1000,"Ddocker":{"Hosts":["gpu1"],"Away":["gpu2"],"Owners":{"base:1":"bob"},"Replicas":2}},
	 {"Id":"sha256:2123456789abcdef","RepoTags":["python:3@gpu2"],"Created":AGO,"Size":1000,"Ddocker":{"Hosts":[],"Away":["gpu2"]}},
	 {"Id":"sha256:3123456789abcdef","Created":AGO,"Size":1000,"Ddocker":{"Hosts":["gpu1"]}}]`,
		"AGO", fmt.Sprint(time.Now().Add(-2*time.Hour).Unix())))
	g.runs(t, "", "images").wants(t, 0, ""+
		"REPOSITORY   TAG       IMAGE ID       CREATED       SIZE      OWNER     HOSTS\n"+
		"python       3         0123456789ab   2 hours ago   1kB       alice     2\n"+
		"base         1         1123456789ab   2 hours ago   1kB       bob       1/2\n"+
		"python       3@gpu2    2123456789ab   2 hours ago   1kB                 0\n"+
		"<none>       <none>    3123456789ab   2 hours ago   1kB                 1\n")
	g.runs(t, "", "image", "ls", "--hosts").wants(t, 0, ""+
		"REPOSITORY   TAG       IMAGE ID       CREATED       SIZE      OWNER     HOSTS\n"+
		"python       3         0123456789ab   2 hours ago   1kB       alice     gpu1, gpu2\n"+
		"base         1         1123456789ab   2 hours ago   1kB       bob       gpu1, gpu2 (away)\n"+
		"python       3@gpu2    2123456789ab   2 hours ago   1kB                 gpu2 (away)\n"+
		"<none>       <none>    3123456789ab   2 hours ago   1kB                 gpu1\n")
	g.runs(t, "", "images", "--format", "table {{.Tag}}\t{{.Copies}}\t{{.Owner}}").wants(t, 0, ""+
		"TAG       HOSTS     OWNER\n3         2         alice\n1         1/2       bob\n3@gpu2    0         \n<none>    1         \n")
}

func TestImageGroupHasDockersCommands(t *testing.T) {
	g := newAgent(t)
	r := g.runs(t, "", "image")
	for _, name := range strings.Fields("ls inspect history prune pull push rm save load import tag replicate") {
		if !strings.Contains(r.stdout, "\n  "+name+" ") {
			t.Errorf("image lacks %s:\n%s", name, r.stdout)
		}
		if help := g.runs(t, "", "image", name, "--help"); !strings.HasPrefix(help.stdout, "Usage:  ddocker image "+name+" ") {
			t.Errorf("image %s --help: %s", name, help.stdout)
		}
	}
	g.runs(t, "", "image", "histroy").wants(t, 1, "", "Error: unknown command: ddocker image histroy, did you mean history?")
}

func TestImageInspectLooksForNoContainer(t *testing.T) {
	g := newAgent(t)
	g.answers("GET /images/python:3/json", http.StatusOK, `{"Id":"sha256:0123","Ddocker":{"X":1}}`)
	g.answers("/", http.StatusNotFound, `{"message":"No such image: b"}`)
	g.runs(t, "", "image", "inspect", "-f", "{{.ID}}", "python:3", "b").wants(t, 1, "sha256:0123\n", "Error: No such image: b\n")
	g.runs(t, "", "image", "inspect", "-f", "{{.Ddocker.X}}", "python:3").wants(t, 0, "1\n")
	if g.was("GET /containers/python:3/json") {
		t.Error("it asked for a container")
	}
}

func TestTagKnowsNamesOfOneHost(t *testing.T) {
	g := newAgent(t)
	g.answers("POST /images/{name}/tag", http.StatusCreated, "")
	g.runs(t, "", "tag", "python:3@gpu2", "lab/python").wants(t, 0, "")
	want := "POST /images/python:3@gpu2/tag?" + url.Values{"repo": {"docker.io/lab/python"}, "tag": {"latest"}}.Encode()
	if got := strings.Join(g.changes(), ", "); got != want {
		t.Errorf("it did %s, want %s", got, want)
	}
	g.asked = nil
	g.runs(t, "", "image", "tag", "a", "python:3@gpu2").wants(t, 1, "", "Error: python:3@gpu2 is a name on host gpu2 alone: ")
	g.runs(t, "", "tag", "a", "B").wants(t, 1, "", `Error: "B" is not an image's name: `)
	g.runs(t, "", "tag", "a", "b@sha256:"+strings.Repeat("0", 64)).wants(t, 1, "", "Error: refusing to create a tag with a digest reference")
	g.runs(t, "", "tag", "a").wants(t, 1, "", "Error: 'ddocker tag' requires 2 arguments")
	g.runs(t, "", "tag", "../containers/a", "b").wants(t, 1, "", "Error: no container or image can have the name")
	if changes := g.changes(); len(changes) > 0 {
		t.Errorf("it did %q", changes)
	}
}

func TestHistoryIsDockers(t *testing.T) {
	g := newAgent(t)
	g.answers("GET /images/python:3/history", http.StatusOK, fmt.Sprintf(`[
	 {"Id":"sha256:0123456789abcdef","Created":%d,"CreatedBy":"RUN pip install\tnumpy and many other things besides","Size":1500,"Comment":"numpy"},
	 {"Id":"<missing>","Created":0,"CreatedBy":"ADD /","Size":0}]`, time.Now().Add(-3*time.Hour).Unix()))
	g.runs(t, "", "history", "python:3").wants(t, 0, ""+
		"IMAGE          CREATED       CREATED BY                                      SIZE      COMMENT\n"+
		"0123456789ab   3 hours ago   RUN pip install numpy and many other things …   1.5kB     numpy\n"+
		"<missing>      N/A           ADD /                                           0B        \n")
	g.runs(t, "", "image", "history", "-q", "--no-trunc", "python:3").wants(t, 0, "sha256:0123456789abcdef\n<missing>\n")
	g.runs(t, "", "history", "--human=false", "--format", "{{.Size}} {{.Comment}}", "python:3").wants(t, 0, "1500 numpy\n0 \n")
	if r := g.runs(t, "", "history", "-H=false", "python:3"); !strings.HasPrefix(r.stdout, "IMAGE          CREATED AT ") {
		t.Errorf("-H=false prints\n%s", r.stdout)
	}
}

func TestHistorysDashHIsNotTheHost(t *testing.T) {
	g := newAgent(t)
	g.answers("GET /images/a/history", http.StatusOK, `[{"Id":"<missing>"}]`)
	for _, line := range []string{"-H SOCKET history -H a", "history --host SOCKET a", "--host=SOCKET image history -q a", "image -H SOCKET history a"} {
		args := strings.Fields(strings.ReplaceAll(line, "SOCKET", g.socket))
		r := execute(t, unread{t}, map[string]string{"DDOCKER_HOST": "/nosuch"}, args...)
		if r.code != 0 || !strings.Contains(r.stdout, "<missing>") {
			t.Errorf("%s: exit code %d: %s", line, r.code, r.stderr)
		}
	}
	g.runs(t, "", "--bad", "history", "a").wants(t, 125, "", "Error: unknown flag: --bad\n")
}

func TestRmiIsPlainAboutWhatIsMissing(t *testing.T) {
	g := newAgent(t)
	g.answers("DELETE /images/a", http.StatusOK, `[{"Untagged":"a:latest"}]`)
	g.answers("DELETE /images/used", http.StatusConflict, `{"message":"image used is used by container web on host h2"}`)
	g.answers("/", http.StatusNotFound, `{"message":"No such image: b"}`)
	g.runs(t, "", "image", "rm", "--no-prune", "b", "a").wants(t, 1, "Untagged: a:latest\n", "Error: No such image: b\n")
	g.runs(t, "", "rmi", "-f", "b", "a").wants(t, 0, "Untagged: a:latest\n", "Error: No such image: b\n")
	g.runs(t, "", "image", "remove", "-f", "used").wants(t, 1, "", "Error: image used is used by container web on host h2\n")
	if !g.was("DELETE /images/a?noprune=1") || !g.was("DELETE /images/a?force=1") {
		t.Errorf("it did %q", g.changes())
	}
}

func TestPruneAsksFirst(t *testing.T) {
	g := newAgent(t)
	g.answers("POST /images/prune", http.StatusOK,
		`{"ImagesDeleted":[{"Untagged":"a:1"},{"Deleted":"sha256:01"}],"SpaceReclaimed":1500}`)
	const question = "Are you sure you want to continue? [y/N] "
	g.runs(t, "n\n", "image", "prune").wants(t, 0, "", "WARNING! This will remove all dangling images.\n"+question)
	g.runs(t, "", "image", "prune", "-a").wants(t, 1, "",
		"WARNING! This will remove all images without at least one container associated to them.\n"+question, "the input has ended: give --force")
	g.runs(t, "", "image", "prune", "-f", "--filter", "until").wants(t, 125, "", `Error: invalid filter "until"`)
	if changes := g.changes(); len(changes) > 0 {
		t.Fatalf("it did %q", changes)
	}
	const report = "Deleted Images:\nuntagged: a:1\ndeleted: sha256:01\n\nTotal reclaimed space: 1.5kB\n"
	g.runs(t, "Y\n", "image", "prune", "-a").wants(t, 0, report, question)
	g.runs(t, "", "image", "prune", "--force", "--filter", "until=24h").wants(t, 0, report)
	for _, filters := range []string{`{"dangling":{"false":true}}`, `{"dangling":{"true":true},"until":{"24h":true}}`} {
		if !g.was("POST /images/prune?" + url.Values{"filters": {filters}}.Encode()) {
			t.Errorf("it did %q, want filters %s", g.changes(), filters)
		}
	}
}

func TestReplicateTellsOfEveryHost(t *testing.T) {
	g := newAgent(t)
	g.HandleFunc("POST /ddocker/images/lab/base:1/replicate", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"status":"Bringing image lab/base:1 to 2 more hosts"}`+"\n"+
			`{"host":"gpu2","status":"Pulling fs layer"}`+"\n"+
			`{"host":"gpu2","status":"Downloading","progressDetail":{"current":5,"total":10}}`+"\n"+
			`{"host":"gpu3","error":"the disk is full"}`+"\n"+
			`{"host":"gpu2","status":"Pulling fs layer"}`+"\n"+
			`{"host":"gpu2","done":true}`+"\n")
	})
	g.runs(t, "", "image", "replicate", "--all", "lab/base:1").wants(t, 1,
		"Bringing image lab/base:1 to 2 more hosts\ngpu2: Pulling fs layer\ngpu3: failed\ngpu2: done\n", "Error: host gpu3: the disk is full\n")
	for _, c := range []struct{ args, query string }{
		{"", ""}, {"--all", "?all=1"}, {"--hosts gpu2,gpu3", "?hosts=gpu2%2Cgpu3"}, {"--hosts gpu2 --hosts gpu3", "?hosts=gpu2%2Cgpu3"}, {"-n 3", "?n=3"},
	} {
		g.asked = nil
		g.runs(t, "", append([]string{"image", "replicate", "lab/base:1"}, strings.Fields(c.args)...)...)
		if want := "POST /ddocker/images/lab/base:1/replicate" + c.query; !g.was(want) {
			t.Errorf("%s did %q, want %s", c.args, g.changes(), want)
		}
	}
}

func TestReplicateNamesAHostThatFailsOnce(t *testing.T) {
	g := newAgent(t)
	g.answers("POST /ddocker/images/b/replicate", http.StatusOK, `{"host":"gpu3","error":"bring image b to host gpu3: no room"}
		{"host":"gpu1","error":"bring image b to host gpu10: no room"}`)
	g.runs(t, "", "image", "replicate", "b").wants(t, 1, "gpu3: failed\ngpu1: failed\n",
		"Error: bring image b to host gpu3: no room\nError: host gpu1: bring image b to host gpu10: no room\n")
}

func TestPruneNamesTheHostsThatWereLeftOut(t *testing.T) {
	g := newAgent(t)
	g.answers("POST /images/prune", http.StatusOK, `{"ImagesDeleted":[],"SpaceReclaimed":0,"Ddocker":{"Away":["gpu4"]}}`)
	g.runs(t, "", "image", "prune", "-f").wants(t, 0, "Total reclaimed space: 0B\n",
		`WARNING: host gpu4 does not answer and was left out: see "ddocker nodes"`)
}

func TestNameOfOneHostIsListedOnThatHostAlone(t *testing.T) {
	g := newAgent(t)
	g.answers("GET /images/json", http.StatusOK, `[{"Id":"sha256:0123","RepoTags":["a:1","b:1@gpu2","c:1@gpu3"],"Ddocker":{"Hosts":["gpu1","gpu2"],"Away":["gpu3"],"Replicas":3}}]`)
	g.runs(t, "", "images", "--format", "{{.Tag}} {{.Copies}} {{.Hosts}}").wants(t, 0,
		"1 2/3 gpu1, gpu2, gpu3 (away)\n1@gpu2 1 gpu2\n1@gpu3 0 gpu3 (away)\n")
}

func TestReplicateDrawsABarForEveryHost(t *testing.T) {
	g := newAgent(t)
	half := make(chan struct{})
	g.HandleFunc("POST /ddocker/images/base/replicate", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"status":"Bringing image base to 2 more hosts"}{"host":"gpu2","status":"Downloading","progressDetail":{"current":5,"total":10}}`+
			`{"host":"gpu3","status":"Downloading","progressDetail":{"current":3,"total":10}}`)
		w.(http.Flusher).Flush()
		<-half
		fmt.Fprint(w, `{"host":"gpu2","done":true}{"host":"gpu3","done":true}`)
	})
	u := g.sitsDown(t, "image", "replicate", "--all", "base")
	for _, text := range []string{"2 more hosts\r\n", "gpu2: Downloading", "5B/10B", "gpu3: Downloading", "3B/10B"} {
		u.waitsFor(text)
	}
	close(half)
	u.waitsFor("gpu2: done")
	u.waitsFor("gpu3: done")
	u.leavesWith(0)
}

func TestReplicateRefusesWhatCannotBeMeant(t *testing.T) {
	g := newAgent(t)
	g.answers("POST /ddocker/images/{name}/replicate", http.StatusOK, `{"error":"no host holds b now"}`)
	g.runs(t, "", "image", "replicate", "b").wants(t, 1, "", "Error: no host holds b now\n")
	g.answers("/", http.StatusNotFound, `{"message":"No such image: b:1"}`)
	g.runs(t, "", "image", "replicate", "b/1").wants(t, 1, "", "Error: No such image: b:1\n")
	g.asked = nil
	g.runs(t, "", "image", "replicate", "-n", "0", "b").wants(t, 125, "", "Error: invalid --number 0: ")
	g.runs(t, "", "image", "replicate", "-n", "x", "b").wants(t, 125, "", "Error: invalid argument")
	g.runs(t, "", "image", "replicate", "--all", "-n", "2", "b").wants(t, 125, "", "Error: choose one of --all, --hosts and --number")
	g.runs(t, "", "image", "replicate").wants(t, 1, "", "Error: 'ddocker image replicate' requires 1 argument")
	if changes := g.changes(); len(changes) > 0 {
		t.Errorf("it did %q", changes)
	}
}

func TestImageNamesAreCompletedEverywhere(t *testing.T) {
	g := newAgent(t)
	g.answers("GET /images/json", http.StatusOK, `[{"RepoTags":["a:1","b:1"]},{"RepoTags":["a:1@gpu2"]},{"RepoTags":null}]`)
	g.answers("GET /ddocker/nodes", http.StatusOK, `[{"Name":"gpu1"},{"Name":"gpu2"}]`)
	for _, command := range []string{"pull", "push", "save", "history", "tag", "rmi", "images", "create",
		"image ls", "image rm", "image inspect", "image replicate", "image save"} {
		r := g.runs(t, "", append(append([]string{"__complete"}, strings.Fields(command)...), "")...)
		if r.stdout != "a:1\nb:1\na:1@gpu2\n:4\n" {
			t.Errorf("%s completes to:\n%s", command, r.stdout)
		}
	}
	g.runs(t, "", "__complete", "image", "replicate", "--hosts", "").wants(t, 0, "gpu1\ngpu2\n:4\n", "")
}

func TestEveryRequestSaysThatACommandLineAsks(t *testing.T) {
	g := newAgent(t)
	agents := make(chan string, 10)
	g.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { agents <- r.UserAgent() })
	g.runs(t, "", "images") // ddocker's own client
	g.runs(t, "", "logs", "a")
	for range 2 {
		if got := <-agents; got != "ddocker/1.2.3" {
			t.Errorf("User-Agent %q", got)
		}
	}
	for version, want := range map[string]string{"1.2.3": "ddocker/1.2.3", "v1.2.3-dirty": "ddocker/1.2.3-dirty", "dev": "ddocker/0+dev", "": "ddocker/0"} {
		if got := userAgent(version); got != want {
			t.Errorf("version %q: %q, want %q", version, got, want)
		}
	}
}

func TestAnInterruptedPruneDidNothing(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	g := newAgent(t)
	question := &watcher{text: "[y/N]", found: interrupt}
	code := Execute(ctx, Env{Args: []string{"image", "prune"}, Stdin: never{}, Stdout: question, Stderr: question,
		Getenv: func(string) string { return g.socket }})
	if changes := g.changes(); code != 130 || len(changes) > 0 {
		t.Errorf("exit code %d, want 130; it did %q", code, changes)
	}
}

// never is an input of which nothing comes.
type never struct{}

func (never) Read([]byte) (int, error) { select {} }
