package api

import (
	"net/http"
	"strings"
	"testing"

	"ddocker/consensus/ledger"
)

// wish is what the ledger says of a node's vote.
func (w *world) wish(id string) (wish ledger.Suffrage) {
	w.hosts[0].replica.View(func(l *ledger.Ledger) { wish = l.Node(id).Vote })
	return wish
}

func TestVotesArePromisedTakenAndGivenBack(t *testing.T) {
	inWorld(t, 4, func(w *world) {
		h := w.hosts[1]
		h.want(http.StatusOK, `{"Then":3,"Voters":1}`, get, "/ddocker/raft/demote/n2", "")
		h.want(http.StatusNoContent, "", post, "/ddocker/raft/demote/n2", "")
		h.want(http.StatusOK, `"Then":1`, get, "/ddocker/raft/demote/n3", "")
		h.want(http.StatusOK, `"Then":3`, get, "/ddocker/raft/automatic/n2", "")
		h.want(http.StatusNoContent, "", post, "/ddocker/raft/promote/n1", "")
		h.want(http.StatusConflict, "all 1 votes are promised", get, "/ddocker/raft/promote/n3", "")
		h.want(http.StatusConflict, "all 1 votes are promised to other hosts: give one back first", post, "/ddocker/raft/promote/n3", "")
		if w.wish("id-n1") != ledger.Always || w.wish("id-n2") != ledger.Never || w.wish("id-n3") != "" {
			t.Errorf("the wishes are %q, %q and %q", w.wish("id-n1"), w.wish("id-n2"), w.wish("id-n3"))
		}
		h.want(http.StatusNoContent, "", post, "/ddocker/raft/automatic/n1", "")
		h.want(http.StatusNoContent, "", post, "/ddocker/raft/automatic/n2", "")
		if w.wish("id-n1") != "" || w.wish("id-n2") != "" {
			t.Errorf("given back they are %q and %q", w.wish("id-n1"), w.wish("id-n2"))
		}
		for _, verb := range []string{"promote", "demote", "automatic"} {
			h.want(http.StatusNotFound, "No such node: n9", get, "/ddocker/raft/"+verb+"/n9", "")
			h.want(http.StatusNotFound, "No such node: n9", post, "/ddocker/raft/"+verb+"/n9", "")
		}
		w.hosts[3].fail()
		h.want(http.StatusConflict, "host n4 does not answer and could not vote", post, "/ddocker/raft/promote/n4", "")
		for _, name := range []string{"n2", "n3"} {
			h.want(http.StatusNoContent, "", post, "/ddocker/raft/demote/"+name, "")
		}
		h.want(http.StatusConflict, "without n1 nobody could vote", get, "/ddocker/raft/demote/n1", "")
		h.want(http.StatusConflict, "without n1 nobody could vote", post, "/ddocker/raft/demote/n1", "")
	})
}

func TestALedgerIsSavedByAnyHostAndRestoredByTheLeader(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		saved := w.hosts[1].want(http.StatusOK, `"name":"n2"`, get, "/ddocker/raft/snapshot", "").body
		book := ledger.New()
		if err := book.Restore(strings.NewReader(saved)); err != nil || len(book.NodeIDs()) != 2 {
			t.Fatalf("it has %d nodes, %v", len(book.NodeIDs()), err)
		}
		w.hosts[1].want(http.StatusConflict, `the leader is n1: restore the snapshot there, or run \"ddocker raft transfer-leader n2\" first`, put, "/ddocker/raft/snapshot", saved)
		w.hosts[0].want(http.StatusBadRequest, "snapshot", put, "/ddocker/raft/snapshot", "half")
		w.hosts[0].want(http.StatusNoContent, "", put, "/ddocker/raft/snapshot", saved)
		wantList(t, "what raft did", w.raft.did, "restore", "restore")
	})
}
