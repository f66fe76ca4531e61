package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRunAsksWhatDockersRunAsks(t *testing.T) {
	g := newAgent(t)
	g.answers("POST /containers/create", http.StatusCreated, `{"Id":"0123","Warnings":[]}`)
	g.answers("POST /containers/0123/wait", http.StatusOK, `{"StatusCode":7}`)
	g.answers("POST /containers/0123/start", http.StatusNoContent, "")
	g.hijacks("POST /containers/0123/attach", func(_ io.Reader, out io.Writer) {
		io.WriteString(out, "\x01\x00\x00\x00\x00\x00\x00\x04out\n\x02\x00\x00\x00\x00\x00\x00\x04err\n")
	})
	g.runs(t, "", "run", "--cpus", "2", "--label", "a=b", "busybox", "sh", "-c", "exit 7").wants(t, 7, "out\n", "err\n")
	var body struct {
		Image      string
		Cmd        []string
		Labels     map[string]string
		HostConfig struct{ NanoCpus int64 }
	}
	g.body(t, "POST /containers/create", &body)
	if body.Image != "busybox" || len(body.Cmd) != 3 || body.Labels["a"] != "b" || body.HostConfig.NanoCpus != 2e9 {
		t.Errorf("it created %+v", body)
	}
	g.runs(t, "", "run", "-d", "busybox").wants(t, 0, "0123\n")
}

func TestRunsOwnRefusalsAreToldInThisProgramsName(t *testing.T) {
	g := newAgent(t)
	g.answers("POST /containers/create", http.StatusConflict, `{"message":"no host has 2 GPUs free"}`)
	g.runs(t, "", "run", "busybox").wants(t, 125, "",
		"Error: no host has 2 GPUs free\n\nRun 'ddocker run --help' for more information\n")
	g.answers("DELETE /networks/{name}", http.StatusNotFound, `{"message":"network n1 not found"}`)
	g.answers("POST /containers/{name}/kill", http.StatusNotFound, `{"message":"No such container: x"}`)
	g.runs(t, "", "kill", "a", "b").wants(t, 1, "", "Error: No such container: x\nError: No such container: x\n")
	g.runs(t, "", "run").wants(t, 1, "", "Error: 'ddocker run' requires at least 1 argument\n")
	g.runs(t, "", "volume", "creat").wants(t, 1, "", "Error: unknown command: ddocker volume creat, did you mean create?\n")
}

func TestWhatTheEnginesAreTooOldForIsRefused(t *testing.T) {
	g := newAgent(t)
	g.HandleFunc("HEAD /_ping", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Api-Version", "1.41") })
	g.runs(t, "", "volume", "prune", "-a", "-f").wants(t, 1, "",
		`Error: "--all" requires API version 1.42, but the cluster's engines speak 1.41`)
	g.answers("GET /containers/a/top", http.StatusOK, `{"Titles":["PID"],"Processes":[["1"]]}`)
	g.runs(t, "", "top", "a").wants(t, 0, "PID\n1\n")
	if changes := g.changes(); len(changes) > 0 {
		t.Errorf("it did %q", changes)
	}
}

func TestAQuestionThatIsAnsweredWithNoIsNoFailure(t *testing.T) {
	g := newAgent(t)
	g.runs(t, "n\n", "volume", "prune").wants(t, 0, "WARNING! This will remove anonymous local volumes not used by at least one container.\n"+
		"Are you sure you want to continue? [y/N] ")
	if changes := g.changes(); len(changes) > 0 {
		t.Errorf("it did %q", changes)
	}
}

func TestDockersContextsAndHostHaveNoSay(t *testing.T) {
	g := newAgent(t)
	g.answers("GET /containers/a/top", http.StatusOK, `{"Titles":["PID"],"Processes":[["1"]]}`)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"currentContext":"nosuch"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_HOST", "tcp://nosuch.invalid:1")
	t.Setenv("DOCKER_CONTEXT", "nosuch")
	execute(t, unread{t}, map[string]string{"DDOCKER_HOST": "/nosuch," + g.socket, "DOCKER_CONFIG": dir}, "top", "a").wants(t, 0, "PID\n1\n")
	execute(t, unread{t}, map[string]string{"DDOCKER_HOST": "/nosuch", "DOCKER_CONFIG": dir}, "top", "a").
		wants(t, 1, "", "Error: cannot reach the ddocker agent at unix:///nosuch: is it running?")
	execute(t, unread{t}, map[string]string{"DDOCKER_HOST": "ftp://x"}, "top", "a").wants(t, 1, "", `Error: "ftp://x" is not a host`)
}

func TestDockersCommandsCompleteNamesOfTheCluster(t *testing.T) {
	g := newAgent(t)
	g.answers("GET /containers/json", http.StatusOK, `[{"Id":"0123","Names":["/abc"],"State":"running"}]`)
	g.answers("GET /networks", http.StatusOK, `[{"Name":"lab","Id":"1"}]`)
	g.runs(t, "", "__complete", "logs", "").wants(t, 0, "abc\n:4\n", "Completion ended")
	g.runs(t, "", "-H", g.socket, "__completeNoDesc", "run", "--network", "").wants(t, 0, "lab\n:4\n", "Completion ended")
}

func TestContextInstallIsDoneAgainWithTheSameEnd(t *testing.T) {
	g := newAgent(t)
	g.answers("GET /ddocker/nodes", http.StatusOK, `[{"Name":"h1"}]`)
	dir := t.TempDir()
	config := filepath.Join(dir, "config.json")
	if err := os.WriteFile(config, []byte(`{"auths":{"x":{"auth":"YTpi"}},"currentContext":"lab"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	environment := map[string]string{"DDOCKER_HOST": g.socket, "DOCKER_CONFIG": dir}
	current := func() any {
		text, err := os.ReadFile(config)
		var file map[string]any
		if err != nil || json.Unmarshal(text, &file) != nil || file["auths"] == nil {
			t.Fatalf("config.json: %s %v", text, err)
		}
		return file["currentContext"]
	}
	done := "docker now uses the cluster at unix://" + g.socket + `, by its context "ddocker"` + "\n"
	execute(t, unread{t}, environment, "context", "install").wants(t, 0, done, "docker context use lab; for good: ddocker context uninstall")
	execute(t, unread{t}, environment, "context", "install").wants(t, 0, done, "docker context use default;")
	if current() != "ddocker" {
		t.Errorf("docker's context is %v", current())
	}
	found, err := filepath.Glob(filepath.Join(dir, "contexts", "meta", "*", "meta.json"))
	if err != nil || len(found) != 1 {
		t.Fatalf("contexts: %v, %v", found, err)
	}
	if text, err := os.ReadFile(found[0]); err != nil || !strings.Contains(string(text), `"Host":"unix://`+g.socket+`"`) {
		t.Errorf("the context is %s, %v", text, err)
	}
	execute(t, unread{t}, environment, "context", "uninstall").wants(t, 0, `docker's context "ddocker" is removed; docker uses "default"`+"\n")
	execute(t, unread{t}, environment, "context", "uninstall").wants(t, 0, `docker has no context "ddocker": nothing to remove`+"\n")
	if current() != nil {
		t.Errorf("docker's context is %v", current())
	}
}

func TestContextInstallLooksBeforeItChangesAnything(t *testing.T) {
	dir := t.TempDir()
	execute(t, unread{t}, map[string]string{"DDOCKER_HOST": "/nosuch", "DOCKER_CONFIG": dir}, "context", "install").
		wants(t, 1, "", "Error: cannot reach the ddocker agent at unix:///nosuch")
	g := newAgent(t)
	g.answers("/", http.StatusNotFound, `{"message":"page not found"}`)
	execute(t, unread{t}, map[string]string{"DDOCKER_HOST": g.socket, "DOCKER_CONFIG": dir}, "context", "install").
		wants(t, 1, "", "Error: what answers at unix://"+g.socket+" is a Docker Engine and no ddocker agent")
	if files, _ := os.ReadDir(dir); len(files) > 0 {
		t.Errorf("it made %v", files)
	}
}
