package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"ddocker/consensus/ledger"
	"ddocker/sched"
)

func TestNodesAreListedWithWhatIsFree(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].create("web", `{"Image":"busybox","Labels":{"ddocker.node":"n1"},"HostConfig":{"NanoCpus":1000000000}}`)
		w.hosts[1].fail()
		rows := read[[]nodeRow](w, w.hosts[0].want(http.StatusOK, "", get, "/ddocker/nodes", ""))
		if len(rows) != 2 {
			t.Fatalf("%d rows", len(rows))
		}
		first, second := rows[0], rows[1]
		if first.State != "alive" || first.Role != "leader" || first.FreeMilliCPU != 3*sched.Core || first.Cores != 4 || first.Containers != 1 {
			t.Errorf("n1 is %+v", first)
		}
		if second.State != "down" || second.Role != "nonvoter" {
			t.Errorf("n2 is %+v", second)
		}
	})
}

func TestSettingsAreShownAndAppliedFromEveryHost(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		text := strings.TrimSpace(w.hosts[0].want(http.StatusOK, "25000", get, "/ddocker/settings?format=file", "").body)
		w.hosts[1].want(http.StatusOK, "", post, "/ddocker/settings?name=info.json", strings.Replace(text, "25000", "30000", 1))
		w.hosts[0].want(http.StatusOK, `"StartPort":30000`, get, "/ddocker/settings", "")
		w.hosts[0].want(http.StatusBadRequest, "info.json:1", post, "/ddocker/settings", "x")
	})
}

func TestTokenIsKnownToTheLedgerByItsHashAlone(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.hosts[0].want(http.StatusCreated, `"Token":"the token"`, post, "/ddocker/tokens", "")
		for hash, known := range map[string]bool{"its hash": true, "the token": false} {
			result, _, err := w.hosts[0].replica.Propose(w.Context(), ledger.Command{UseToken: &ledger.UseToken{Hash: hash}})
			if err != nil || (result.Refusal == nil) != known {
				t.Errorf("%q: %v, %v", hash, result.Refusal, err)
			}
		}
	})
}

func TestRaftIsShownAndMoved(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].want(http.StatusOK, `"Leader":"n1"`, get, "/ddocker/raft", "")
		w.hosts[0].want(http.StatusNoContent, "", post, "/ddocker/raft/transfer-leader?to=n2", "")
		w.hosts[0].want(http.StatusNoContent, "", post, "/ddocker/raft/transfer-leader", "")
		w.hosts[0].want(http.StatusNotFound, "No such node: n9", post, "/ddocker/raft/transfer-leader?to=n9", "")
		w.hosts[0].want(http.StatusNoContent, "", post, "/ddocker/raft/snapshot", "")
		wantList(t, "what raft did", w.raft.did, "transfer to id-n2", "transfer to ", "snapshot")
	})
}

func TestSMIIsAskedOfTheHost(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		for _, host := range []string{"n1", "n2"} {
			w.hosts[0].want(http.StatusOK, "cards of "+host, get, "/v1.41/ddocker/nvidia-smi?host="+host, "")
		}
		w.hosts[2].fail()
		w.hosts[0].want(http.StatusServiceUnavailable, "host n3 does not answer", get, "/ddocker/nvidia-smi?host=n3", "")
		w.hosts[0].want(http.StatusNotFound, "No such node: n9", get, "/ddocker/nvidia-smi?host=n9", "")
		w.hosts[0].api.local.smi = func(context.Context, []string) (string, error) { return "", errors.New("no GPU here") }
		w.hosts[0].want(http.StatusNotFound, "no GPU here", get, "/ddocker/nvidia-smi?host=n1", "")
	})
}

func TestSwarmIsRefusedAsByAnEngineInNone(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		for _, path := range []string{"swarm", "services", "nodes", "tasks", "secrets", "configs"} {
			w.hosts[0].want(http.StatusServiceUnavailable, "This node is not a swarm manager", get, "/v1.41/"+path, "")
		}
		w.hosts[0].want(http.StatusOK, "[]", get, "/plugins", "")
		w.hosts[0].want(http.StatusNotFound, "is no route that the cluster serves", post, "/plugins/pull", "")
	})
}

func TestPingTellsTheEnginesVersion(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		for _, method := range []string{get, head} {
			if got := w.hosts[0].want(http.StatusOK, "", method, "/_ping", ""); got.header.Get("Api-Version") != "1.41" {
				t.Errorf("%s: %v", method, got.header)
			}
		}
	})
}

func TestVersionIsClampedToTheEngines(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		for asked, want := range map[string]string{"": "", "1.41": "1.41", "1.52": "1.41", "1.30": "1.30", "1.5": "1.12", "1.100": "1.41"} {
			if got, err := w.hosts[0].api.local.clamp(w.Context(), asked); got != want || err != nil {
				t.Errorf("%q becomes %q, %v; want %q", asked, got, err, want)
			}
		}
		w.hosts[0].want(http.StatusOK, "[]", get, "/v1.99/containers/json", "")
		w.hosts[0].want(http.StatusOK, "[]", get, "/v1.2/containers/json", "")
	})
}

func TestWithoutAQuorumChangesAreRefusedAndListsAreNot(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].create("web", on("n2"))
		w.hosts[0].replica.Cut(true)
		w.hosts[0].want(http.StatusServiceUnavailable, "the log has no leader", post, "/containers/create?name=db", busybox)
		w.hosts[0].want(http.StatusServiceUnavailable, "the log has no leader", post, "/ddocker/tokens", "")
		w.hosts[0].want(http.StatusServiceUnavailable, "the log has no leader", post, "/containers/web/rename?name=www", "")
		wantList(t, "rows", rowWords(w.hosts[0].ps("all=1")), "web on n2")
		w.hosts[0].want(http.StatusNoContent, "", post, "/containers/web/start", "")
	})
}
