package cli

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestManyNamesGoOnPastAFailure(t *testing.T) {
	g := newAgent(t)
	for _, name := range []string{"a", "c"} {
		g.answers("POST /containers/"+name+"/start", http.StatusNoContent, "")
		g.answers("POST /containers/"+name+"/stop", http.StatusNoContent, "")
		g.answers("DELETE /containers/"+name, http.StatusNoContent, "")
		g.answers("DELETE /images/"+name, http.StatusOK, `[{"Untagged":"`+name+`:latest"},{"Deleted":"sha256:`+name+`"}]`)
		g.answers("GET /containers/"+name+"/json", http.StatusOK, `{"Id":"`+name+`","State":{"Status":"running"},"New":{"X":1}}`)
	}
	g.answers("/", http.StatusNotFound, `{"message":"No such container: b"}`)
	const missing = "Error: No such container: b\n"
	for _, command := range []string{"start", "stop", "rm"} {
		g.runs(t, "", command, "a", "b", "c").wants(t, 1, "a\nc\n", missing)
	}
	g.runs(t, "", "rmi", "a", "b", "c").wants(t, 1,
		"Untagged: a:latest\nDeleted: sha256:a\nUntagged: c:latest\nDeleted: sha256:c\n", missing)
	g.runs(t, "", "inspect", "-f", "{{.ID}} {{.State.Status}}", "a", "b", "c").wants(t, 1,
		"a running\nc running\n", "Error: No such object: b\n")
	g.runs(t, "", "inspect", "-f", "{{.New.X}}", "a").wants(t, 0, "1\n")
	g.runs(t, "", "inspect", "b").wants(t, 1, "[]\n", "Error: No such object: b\n")
	g.runs(t, "", "inspect", "a").wants(t, 0, `[
    {
        "Id": "a",
        "State": {
            "Status": "running"
        },
        "New": {
            "X": 1
        }
    }
]
`)
}

func TestRmStopsARunningContainerAndForceKillsIt(t *testing.T) {
	g := newAgent(t)
	g.answers("POST /containers/a/stop", http.StatusNoContent, "")
	g.answers("DELETE /containers/a", http.StatusNoContent, "")
	g.runs(t, "", "rm", "-v", "a").wants(t, 0, "a\n")
	if got := strings.Join(g.changes(), ", "); got != "POST /containers/a/stop, DELETE /containers/a?v=1" {
		t.Errorf("rm did %s", got)
	}
	g.asked = nil
	g.runs(t, "", "rm", "-f", "a").wants(t, 0, "a\n")
	if got := strings.Join(g.changes(), ", "); got != "DELETE /containers/a?force=1" {
		t.Errorf("rm -f did %s", got)
	}
	if g.runs(t, "", "stop", "-t", "3", "a"); !g.was("POST /containers/a/stop?t=3") {
		t.Errorf("stop -t 3 did %q", g.changes())
	}
}

func TestCommitRefusesANameThatExists(t *testing.T) {
	g := newAgent(t)
	g.HandleFunc("POST /commit", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("tag") == "1" && strings.HasSuffix(r.URL.Query().Get("repo"), "/taken") {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusConflict)
			io.WriteString(w, `{"message":"image taken:1 already exists on host h2, as sha256:89ab"}`)
			return
		}
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, `{"Id":"sha256:0123"}`)
	})
	g.runs(t, "", "commit", "abc", "taken:1").wants(t, 1, "", "Error: image taken:1 already exists on host h2, as sha256:89ab\n")
	g.runs(t, "", "commit", "-m", "x", "abc", "free:1").wants(t, 0, "sha256:0123\n")
	if !g.was("POST /commit?author=&comment=x&container=abc&repo=docker.io%2Flibrary%2Ffree&tag=1") {
		t.Errorf("it did %q", g.changes())
	}
}

func TestCommitWithoutATagTakesTheTime(t *testing.T) {
	g := newAgent(t)
	g.answers("POST /commit", http.StatusCreated, `{"Id":"sha256:0123"}`)
	g.runs(t, "", "commit", "abc", "free").wants(t, 0, "sha256:0123\n", "Committing to free:20")
	if got := strings.Join(g.changes(), ""); !regexp.MustCompile(`%2Ffree&tag=\d{8}-\d{6}$`).MatchString(got) {
		t.Errorf("it did %s", got)
	}
	if r := g.runs(t, "", "commit", "abc", "Free"); r.code != 1 || strings.Contains(r.stderr, "Committing") {
		t.Errorf("a name that cannot be: exit code %d: %s", r.code, r.stderr)
	}
}

func TestNodesShowsFreeAndTotal(t *testing.T) {
	g := newAgent(t)
	g.answers("GET /ddocker/nodes", http.StatusOK, `[
	 {"ID":"1f","Name":"h1","Address":"10.0.0.1:7722","State":"alive","Role":"leader","Cores":8,"FreeMilliCPU":5500,
	  "Memory":68719476736,"FreeMemory":34359738368,"GPUs":[{"UUID":"GPU-1","Model":"TITAN Xp","Free":true},
	  {"UUID":"GPU-2","Index":"1","Model":"TITAN Xp","Closed":"busy: used by python (pid 312, bob), outside any container"},{"UUID":"GPU-3","Model":"NVIDIA A100-SXM4-80GB"}]},
	 {"ID":"2f","Name":"h2","Address":"10.0.0.2:7722","State":"down","Role":"voter","Cores":4,"Memory":1073741824,"Reason":"no answer","Store":"overlay2"}]`)
	g.runs(t, "", "nodes").wants(t, 0, ""+
		"NAME   ADDRESS         STATE   ROLE     CORES   MEMORY        GPUS                               REASON\n"+
		"h1     10.0.0.1:7722   alive   leader   5.5/8   32GiB/64GiB   1/2 TITAN Xp, 0/1 A100-SXM4-80GB   GPU 1 busy: used by python (pid 312, bob), outside any container\n"+
		"h2     10.0.0.2:7722   down    voter    0/4     0B/1GiB       -                                  no answer\n")
	g.runs(t, "", "nodes", "--verbose", "--format", "{{.Store}}|{{range .Cards}}{{.UUID}} {{end}}").wants(t, 0, "|GPU-1 GPU-2 GPU-3 \noverlay2|\n")
	g.runs(t, "", "nodes", "-q").wants(t, 0, "h1\nh2\n")
	g.runs(t, "", "nodes", "--format", "{{.Name}}: {{.Reason}}").wants(t, 0, "h1: GPU 1 busy: used by python (pid 312, bob), outside any container\nh2: no answer\n")
}

func TestNodesWithNothingToSayHasNoReason(t *testing.T) {
	g := newAgent(t)
	g.answers("GET /ddocker/nodes", http.StatusOK, `[{"ID":"2f","Name":"h2","Address":"10.0.0.2:7722","State":"alive","Role":"voter","Cores":4,"Memory":1073741824,"Store":"overlay2"}]`)
	g.runs(t, "", "nodes").wants(t, 0, ""+
		"NAME   ADDRESS         STATE   ROLE    CORES   MEMORY    GPUS\n"+
		"h2     10.0.0.2:7722   alive   voter   0/4     0B/1GiB   -\n")
	g.runs(t, "", "nodes", "--verbose").wants(t, 0, ""+
		"NAME   ADDRESS         STATE   ROLE    CORES   MEMORY    GPUS   STORE\n"+
		"h2     10.0.0.2:7722   alive   voter   0/4     0B/1GiB   -      overlay2\n")
}

func TestTokenPrintsTheTokenAlone(t *testing.T) {
	g := newAgent(t)
	g.answers("POST /ddocker/tokens", http.StatusOK, `{"Token":"ddt1-abc","Expires":"2026-01-02T15:04:05Z","Uses":1}`)
	g.runs(t, "", "token").wants(t, 0, "ddt1-abc\n", "Good for 1 host until 2026-01-02T15:04:05Z.")
}

func TestTokensAreMadeListedAndRevoked(t *testing.T) {
	g := newAgent(t)
	var query string
	g.HandleFunc("POST /ddocker/tokens", func(w http.ResponseWriter, r *http.Request) {
		query = r.URL.RawQuery
		w.Write([]byte(`{"Token":"ddt1-abc","Expires":"2026-01-02T15:04:05Z","Uses":3}`))
	})
	g.runs(t, "", "token", "create", "--uses", "3", "--life", "10m").wants(t, 0, "ddt1-abc\n", "Good for 3 hosts")
	if query != "life=10m0s&uses=3" {
		t.Errorf("asked with %s", query)
	}
	g.answers("GET /ddocker/tokens", http.StatusOK, `[{"ID":"0a1b","By":"alice","Expires":"2126-01-02T15:04:05Z","Uses":3}]`)
	g.runs(t, "", "token", "ls").wants(t, 0, "ID     USES LEFT   EXPIRES       CREATED BY\n0a1b   3           in 99 years   alice\n")
	g.answers("DELETE /ddocker/tokens/0a1b", http.StatusNoContent, "")
	g.runs(t, "", "token", "revoke", "0a1b").wants(t, 0, "0a1b\n")
	g.runs(t, "", "token", "frob").wants(t, 1, "", "accepts no arguments")
}

func TestNodesAreDrainedLabelledAndInspected(t *testing.T) {
	g := newAgent(t)
	g.answers("POST /ddocker/nodes/h1/drain", http.StatusNoContent, "")
	g.answers("POST /ddocker/nodes/h1/activate", http.StatusNoContent, "")
	var labels string
	g.HandleFunc("POST /ddocker/nodes/h1/labels", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		labels = string(body)
		w.WriteHeader(http.StatusNoContent)
	})
	g.answers("GET /ddocker/nodes/h1", http.StatusOK, `{"Name":"h1","Placements":[{"Name":"web"},{"Name":"db"}]}`)
	g.runs(t, "", "node", "drain", "h1").wants(t, 0, "h1\n")
	g.runs(t, "", "node", "activate", "h1").wants(t, 0, "h1\n")
	g.runs(t, "", "node", "label", "h1", "zone=a", "rack=").wants(t, 0, "h1\n")
	if labels != `{"rack":"","zone":"a"}` {
		t.Errorf("labels were %s", labels)
	}
	g.runs(t, "", "node", "label", "h1", "zone").wants(t, 125, "", "write KEY=VALUE")
	g.runs(t, "", "node", "inspect", "--format", "{{range .Placements}}{{.Name}} {{end}}", "h1").wants(t, 0, "web db \n")
}

func TestConfigShowsAppliesAndExplains(t *testing.T) {
	g := newAgent(t)
	g.HandleFunc("GET /ddocker/settings", func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("settings as " + r.URL.Query().Get("format") + "\n"))
	})
	g.runs(t, "", "config", "show").wants(t, 0, "settings as file\n")
	g.runs(t, "", "config", "template").wants(t, 0, "// a template\n{}\n")

	file := filepath.Join(t.TempDir(), "info.json")
	if err := os.WriteFile(file, []byte(`{"start_port_num": 1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	g.HandleFunc("POST /ddocker/settings", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("name") == "-" {
			http.Error(w, "-:1:2: /x: unknown field\n-:1:5: /y: unknown field", http.StatusBadRequest)
		}
	})
	g.runs(t, "", "config", "apply", file).wants(t, 0, "")
	var sent map[string]int
	if g.body(t, "POST /ddocker/settings", &sent); sent["start_port_num"] != 1 {
		t.Errorf("sent %v", sent)
	}
	g.runs(t, "{x,y}", "config", "apply", "-").wants(t, 1, "",
		"Error: nothing was changed, - has mistakes:\n-:1:2: /x: unknown field\n-:1:5: /y: unknown field\n")
	g.runs(t, "", "config", "apply", "/nosuch").wants(t, 1, "", "Error: read the settings: open /nosuch")
	g.runs(t, strings.Repeat(" ", configLimit+1), "config", "apply", "-").wants(t, 1, "", "more than 1048576 bytes")
}

func TestRaftShowsAndSteers(t *testing.T) {
	g := newAgent(t)
	g.answers("GET /ddocker/raft", http.StatusOK, `{"Leader":"h1","Term":3,"State":"Follower","Index":9,"Commit":8,"Applied":7,
	 "LastContact":"12ms","Voters":1,"Servers":[{"ID":"1f","Name":"h1","Address":"10.0.0.1:7722","Role":"leader","Alive":true}]}`)
	g.answers("POST /ddocker/raft/", http.StatusOK, "")
	g.runs(t, "", "raft", "status").wants(t, 0, "Leader:        h1\nState:         Follower\nTerm:          3\nIndex:         9\n"+
		"Commit:        8\nApplied:       7\nLast contact:  12ms\nVoters:        1\nServers:       1\n")
	g.runs(t, "", "raft", "peers").wants(t, 0, "NAME   ADDRESS         ROLE     ALIVE   ID\nh1     10.0.0.1:7722   leader   true    1f\n")
	g.runs(t, "", "raft", "transfer-leader", "h2").wants(t, 0, "")
	g.runs(t, "", "raft", "snapshot").wants(t, 0, "")
	if got := strings.Join(g.changes(), ", "); got != "POST /ddocker/raft/transfer-leader?to=h2, POST /ddocker/raft/snapshot" {
		t.Errorf("it did %s", got)
	}
}

func TestVotesAreChangedByWhoIsSure(t *testing.T) {
	const demote = "Host h2 will never vote on the log: another takes its vote first, where there is one.\n"
	for _, c := range []struct {
		name, stdin, outlook string
		args                 []string
		says, changes        string
	}{
		{"promote", "y\n", `{"Voters":3,"Then":3}`, []string{"promote", "h2"},
			"Host h2 will always vote on the log: it takes the vote of a host that need not have one, once it has caught up.\nAre you sure you want to continue? [y/N] ", "POST /ddocker/raft/promote/h2"},
		{"demote to three", "", `{"Voters":5,"Then":3}`, []string{"demote", "-y", "h2"}, demote + "Then 3 hosts vote, instead of 5.\n", "POST /ddocker/raft/demote/h2"},
		{"demote to one", "", `{"Voters":3,"Then":1}`, []string{"demote", "-y", "h2"},
			demote + "One host votes then, instead of 3: when it is off, the cluster starts nothing new.\n", "POST /ddocker/raft/demote/h2"},
		{"not sure", "n\n", `{"Voters":3,"Then":3}`, []string{"demote", "h2"}, demote, ""},
		{"leave it to the cluster", "", `{"Voters":1,"Then":3}`, []string{"demote", "--auto", "-y", "h2"},
			"Host h2 will vote on the log when the cluster finds that it should.\n", "POST /ddocker/raft/automatic/h2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newAgent(t)
			g.answers("GET /ddocker/raft/", http.StatusOK, c.outlook)
			g.answers("POST /ddocker/raft/", http.StatusNoContent, "")
			g.runs(t, c.stdin, append([]string{"raft"}, c.args...)...).wants(t, 0, "", c.says)
			if got := strings.Join(g.changes(), ", "); got != c.changes {
				t.Errorf("it did %q", got)
			}
		})
	}
	g := newAgent(t)
	g.answers("GET /ddocker/raft/", http.StatusNotFound, `{"message":"No such node: h9: see \"ddocker nodes\""}`)
	r := g.runs(t, "y\n", "raft", "demote", "h9")
	if r.wants(t, 1, "", "No such node: h9"); strings.Contains(r.stderr, "sure") || len(g.changes()) > 0 {
		t.Errorf("a host that is not there is asked about: %s", r.stderr)
	}
}

func TestALedgerIsSavedToAFileAndRestoredFromIt(t *testing.T) {
	g := newAgent(t)
	g.answers("GET /ddocker/raft/snapshot", http.StatusOK, "the ledger")
	g.answers("PUT /ddocker/raft/snapshot", http.StatusNoContent, "")
	file := filepath.Join(t.TempDir(), "saved")
	g.runs(t, "", "raft", "snapshot", "save", file).wants(t, 0, file+` has the ledger, 10 bytes: look at it with "ddocker raft snapshot inspect `+file+"\"\n")
	if text, err := os.ReadFile(file); err != nil || string(text) != "the ledger" {
		t.Errorf("it has %q, %v", text, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read it: %v, %v", info.Mode(), err)
	}
	g.runs(t, "n\n", "raft", "snapshot", "restore", file).wants(t, 0, "", "The ledger of the whole cluster will be replaced by that of "+file)
	if len(g.changes()) > 0 {
		t.Errorf("it did %v without being told to", g.changes())
	}
	g.runs(t, "", "raft", "snapshot", "restore", "--yes", file).wants(t, 0, "", "Containers go on running.")
	if got := string(g.bodies["PUT /ddocker/raft/snapshot"]); got != "the ledger" {
		t.Errorf("it sent %q", got)
	}
	g.runs(t, "", "raft", "snapshot", "restore", "-y", file+"x").wants(t, 1, "", "Error: restore a snapshot: open "+file+"x: no such file or directory")
	g.runs(t, "", "raft", "snapshot", "save", file+"/x").wants(t, 1, "", "Error: save the snapshot: open")
}

func TestLogsPassesItsFlagsOn(t *testing.T) {
	g := newAgent(t)
	g.answers("GET /containers/abc/json", http.StatusOK, `{"Id":"0123","Config":{"Tty":true}}`)
	g.answers("GET /containers/0123/logs", http.StatusOK, "epoch 1\n")
	g.runs(t, "", "logs", "-f", "-t", "-n", "5", "abc").wants(t, 0, "epoch 1\n")
	if !g.was("GET /containers/0123/logs?follow=1&stderr=1&stdout=1&tail=5&timestamps=1") {
		t.Errorf("it asked %q", g.asked)
	}
}

func TestVersionKnowsItselfWithoutACluster(t *testing.T) {
	g := newAgent(t)
	g.answers("GET /version", http.StatusOK, `{"Version":"9.9","ApiVersion":"1.47","MinAPIVersion":"1.24"}`)
	g.runs(t, "", "version", "--format", "{{.Client.Version}} {{.Server.Version}}").wants(t, 0, "1.2.3 9.9\n")
	if r := g.runs(t, "", "version"); r.code != 0 || !strings.Contains(r.stdout, "API version:       1.47 (minimum version 1.24)") {
		t.Errorf("exit code %d:\n%s", r.code, r.stdout)
	}
	alone := execute(t, unread{t}, map[string]string{"DDOCKER_HOST": "/nosuch"}, "version")
	if alone.code != 1 || !strings.Contains(alone.stdout, " Version:           1.2.3\n") {
		t.Errorf("exit code %d:\n%s", alone.code, alone.stdout)
	}
}

func TestCompletionAsksTheCluster(t *testing.T) {
	g := seedCluster(t)
	g.answers("GET /containers/json", http.StatusOK, threeContainers)
	g.answers("GET /ddocker/nodes", http.StatusOK, `[{"Name":"h1"},{"Name":"h2"}]`)
	for _, c := range []struct{ line, want string }{
		{"stop|", "abc\nghi\n:4\n"},
		{"start|", "def\n:4\n"},
		{"rm|abc|", "def\nghi\n:4\n"},
		{"nvidia-smi|h1|", "h2\n:4\n"},
		{"create|--type|", "12 CPUS, 64 GB\n12 CPUS, 64 GB, 1 TITAN XP\n24 CPUS, 128 GB, 1 TITAN XP\n24 CPUS, 128 GB, 2 TITAN XP\n:4\n"},
		{"rmi|", "ubuntu:latest\npython3_cuda:latest\nnvidia/cuda:10.2-base\n:4\n"},
	} {
		r := g.runs(t, "", append([]string{"__complete"}, strings.Split(c.line, "|")...)...)
		if r.code != 0 || r.stdout != c.want {
			t.Errorf("%q completes to:\n%s\nwant:\n%s", c.line, r.stdout, c.want)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if r := g.runs(t, "", "completion", shell); r.code != 0 || !strings.Contains(r.stdout, "__complete") {
			t.Errorf("completion %s: exit code %d, %d bytes", shell, r.code, len(r.stdout))
		}
	}
}
