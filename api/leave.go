package api

import (
	"net/http"

	"ddocker/consensus/ledger"
)

// departure is what leaves with a host: /ddocker/leave and the answer to a removal.
type departure struct {
	Node, Role string
	Containers []placementRow // by name
	Networks   []string       // that no other host has
	Volumes    []string       // likewise, with what is in them
	Images     []string       // names whose only copy it has
}

// departing looks at what would leave with a node.
func (a *API) departing(n *ledger.Node) departure {
	d := departure{Node: n.Name, Role: a.roles()[n.Node], Containers: []placementRow{}, Networks: []string{}, Volumes: []string{}, Images: []string{}}
	a.cfg.Log.View(func(l *ledger.Ledger) {
		d.Containers = placementRows(l, n)
		for _, o := range l.Only(n.Node) {
			switch o.Kind {
			case ledger.Network:
				d.Networks = append(d.Networks, o.Name)
			case ledger.Volume:
				d.Volumes = append(d.Volumes, o.Name)
			}
		}
		d.Images = append(d.Images, l.OnlyImages(n.Node)...)
	})
	return d
}

// self is this node in the ledger; nil: it is not there yet, as the client was told.
func (a *API) self(w http.ResponseWriter) (n *ledger.Node) {
	a.cfg.Log.View(func(l *ledger.Ledger) { n = l.Node(a.cfg.Self) })
	if n == nil {
		fail(w, http.StatusServiceUnavailable, "host %s is not registered in the cluster yet: try again in a moment", a.cfg.Name)
	}
	return n
}

// inspectLeave says what would leave with this node.
func (a *API) inspectLeave(w http.ResponseWriter, _ *call) {
	if n := a.self(w); n != nil {
		reply(w, http.StatusOK, a.departing(n))
	}
}

// leave takes this node out of the cluster. Once it has begun it does not end with the
// client.
func (a *API) leave(w http.ResponseWriter, c *call) {
	n := a.self(w)
	if n == nil {
		return
	}
	d := a.departing(n)
	if err := a.cfg.Leave(c.Context(), a.who(c).Name, yes(c.URL.Query().Get("force"))); err != nil {
		failWith(w, err)
		return
	}
	reply(w, http.StatusOK, d)
}

// removeNode takes another node out of the cluster: one that will not come back.
func (a *API) removeNode(w http.ResponseWriter, c *call) {
	n := a.nodeMeant(w, c)
	switch {
	case n == nil:
		return
	case n.Node == a.cfg.Self:
		fail(w, http.StatusConflict, "host %s is the one that was asked: to take it out of the cluster, run \"ddocker leave\" on it", n.Name)
		return
	case !yes(c.URL.Query().Get("force")) && a.hosts.there(c.Context(), n.Node) == nil:
		fail(w, http.StatusConflict, "host %s is up: run \"ddocker leave\" on it, or remove it with --force", n.Name)
		return
	}
	d := a.departing(n)
	if a.proposed(w, c, ledger.Command{Remove: &ledger.Remove{Node: n.Node, By: a.who(c).Name}}) {
		reply(w, http.StatusOK, d)
	}
}
