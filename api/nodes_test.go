package api

import (
	"net/http"
	"testing"
	"time"

	"ddocker/consensus/ledger"
)

func TestADrainedNodeTakesNothingNewAndKeepsWhatItHas(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h, other := w.hosts[0], w.hosts[1]
		h.want(http.StatusCreated, "", post, "/containers/create?name=old", `{"Image":"busybox","Labels":{"ddocker.node":"n2"}}`)
		h.want(http.StatusNoContent, "", post, "/ddocker/nodes/n2/drain", "")
		h.want(http.StatusOK, `"Name":"n2","Address":"id-n2:7000","State":"drained"`, get, "/ddocker/nodes", "")
		h.want(http.StatusServiceUnavailable, "n2 is drained by alice", post, "/containers/create?name=new", `{"Image":"busybox","Labels":{"ddocker.node":"n2"}}`)
		h.want(http.StatusNoContent, "", post, "/containers/old/start", "")
		other.want(http.StatusOK, `"Placements":[{"Name":"old"`, get, "/ddocker/nodes/n2", "")
		other.want(http.StatusNoContent, "", post, "/ddocker/nodes/n2/activate", "")
		h.want(http.StatusCreated, "", post, "/containers/create?name=new", `{"Image":"busybox","Labels":{"ddocker.node":"n2"}}`)
		for _, path := range []string{"/drain", "/activate", "/labels"} {
			h.want(http.StatusNotFound, "No such node: n9", post, "/ddocker/nodes/n9"+path, "{}")
		}
		h.want(http.StatusNotFound, "No such node: n9", get, "/ddocker/nodes/n9", "")
	})
}

func TestRulesAskForLabelsOfNodes(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		h := w.hosts[0]
		h.want(http.StatusBadRequest, `no host tells of \"zone\"`, post, "/containers/create?name=one", `{"Image":"busybox","Env":["constraint:zone==b"]}`)
		h.want(http.StatusNoContent, "", post, "/ddocker/nodes/n3/labels", `{"zone":"b"}`)
		h.want(http.StatusBadRequest, "read the labels", post, "/ddocker/nodes/n3/labels", `["zone"]`)
		h.want(http.StatusOK, `"Labels":{"zone":"b"}`, get, "/ddocker/nodes/n3", "")
		h.want(http.StatusCreated, "", post, "/containers/create?name=one", `{"Image":"busybox","Env":["constraint:zone==b"]}`)
		h.want(http.StatusOK, `"Placements":[{"Name":"one"`, get, "/ddocker/nodes/n3", "")
		h.want(http.StatusNoContent, "", post, "/ddocker/nodes/n3/labels", `{"zone":""}`)
		h.want(http.StatusBadRequest, `no host tells of \"zone\"`, post, "/containers/create?name=two", `{"Image":"busybox","Env":["constraint:zone==b"]}`)
	})
}

func TestTokensAreListedAndRevoked(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		h.want(http.StatusCreated, `"Uses":2`, post, "/ddocker/tokens?uses=2&life=10m", "")
		w.propose(ledger.Command{AddToken: &ledger.Token{Hash: "aaaa1", Expires: time.Now().Add(time.Hour), Uses: 1}})
		w.propose(ledger.Command{AddToken: &ledger.Token{Hash: "aaaa2", Expires: time.Now().Add(time.Hour), Uses: 1}})
		w.hosts[1].want(http.StatusOK, `{"ID":"its hash","By":"alice"`, get, "/ddocker/tokens", "")
		h.want(http.StatusConflict, "aaaa is the begin of 2 tokens", del, "/ddocker/tokens/aaaa", "")
		h.want(http.StatusNotFound, "No such token: b", del, "/ddocker/tokens/b", "")
		h.want(http.StatusNoContent, "", del, "/ddocker/tokens/aaaa1", "")
		h.want(http.StatusNotFound, "No such token: aaaa1", del, "/ddocker/tokens/aaaa1", "")
		for _, bad := range []string{"life=0s", "life=x", "life=9999h", "uses=0", "uses=x", "uses=99999"} {
			h.want(http.StatusBadRequest, "of a token: it is from 1", post, "/ddocker/tokens?"+bad, "")
		}
	})
}
