package api

import (
	"net/http"
	"testing"

	"ddocker/consensus/ledger"
)

func TestTheKeysAreListedWithWhomTheirReplacementWaitsFor(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		h.want(http.StatusBadRequest, `the cluster has no key \"wine\": it has ca and gossip`, post, "/ddocker/ca/rotate?key=wine", "")
		h.want(http.StatusNoContent, "", post, "/ddocker/ca/rotate?key=gossip", "")
		list := read[keysReply](w, h.want(http.StatusOK, "", get, "/ddocker/ca", ""))
		if len(list.Rotations) != 1 || len(list.Nodes) != 2 || list.Nodes[0].Node != "n1" {
			t.Fatalf("listed are %+v", list)
		}
		r := list.Rotations[0]
		if r.Kind != ledger.GossipKey || r.By != "alice" || r.Stage != ledger.Install || len(r.Waits) != 1 || r.Waits[0] != "n2" || r.Data != "" {
			t.Errorf("the rotation is %+v", r)
		}
	})
}
