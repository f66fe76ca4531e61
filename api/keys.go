package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"ddocker/consensus/ledger"
)

// NodeKeys is what a node has of the secrets.
type NodeKeys struct {
	Node      string    // its name
	Authority string    // the fingerprint of the authority that signed its certificate
	Expires   time.Time // its certificate
	Signs     bool      // it has the key of the authority
	// Waits are the rotations under way whose stage it has not come to the end of.
	Waits []ledger.Secret
}

// keysReply is the answer of /ddocker/ca.
type keysReply struct {
	Rotations []rotationRow
	Nodes     []NodeKeys
}

// rotationRow is a rotation, with the names of the nodes that it waits for.
type rotationRow struct {
	ledger.Rotation
	Data  string `json:"data,omitempty"` // which says nothing to people
	Waits []string
}

func (a *API) listKeys(w http.ResponseWriter, c *call) {
	ctx, cancel := context.WithTimeout(c.Context(), patience)
	defer cancel()
	list := keysReply{Nodes: a.cfg.NodeKeys(ctx)}
	slices.SortFunc(list.Nodes, func(a, b NodeKeys) int { return strings.Compare(a.Node, b.Node) })
	a.cfg.Log.View(func(l *ledger.Ledger) {
		for _, r := range slices.Concat(l.Rotations(ledger.AuthorityKey), l.Rotations(ledger.GossipKey)) {
			row := rotationRow{Rotation: r, Waits: []string{}}
			for _, n := range list.Nodes {
				if r.Stage != ledger.Done && slices.Contains(n.Waits, r.Kind) {
					row.Waits = append(row.Waits, n.Node)
				}
			}
			list.Rotations = append(list.Rotations, row)
		}
	})
	reply(w, http.StatusOK, list)
}

func (a *API) rotateKey(w http.ResponseWriter, c *call) {
	kind := ledger.Secret(c.URL.Query().Get("key"))
	if kind == "" {
		kind = ledger.AuthorityKey
	}
	if kind != ledger.AuthorityKey && kind != ledger.GossipKey {
		fail(w, http.StatusBadRequest, "the cluster has no key %q: it has ca and gossip", kind)
		return
	}
	if err := a.cfg.RotateKey(c.Context(), kind, a.who(c).Name); err != nil {
		failWith(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
