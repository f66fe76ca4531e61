package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"ddocker/consensus/ledger"
)

// drainNode closes a node for new containers: those that it has keep running.
func (a *API) drainNode(w http.ResponseWriter, c *call) { a.setDrained(w, c, false) }

// activateNode undoes drainNode.
func (a *API) activateNode(w http.ResponseWriter, c *call) { a.setDrained(w, c, true) }

func (a *API) setDrained(w http.ResponseWriter, c *call, open bool) {
	n := a.nodeMeant(w, c)
	if n == nil {
		return
	}
	if a.proposed(w, c, ledger.Command{Drain: &ledger.Drain{Node: n.Node, Open: open, By: a.who(c).Name}}) {
		w.WriteHeader(http.StatusNoContent)
	}
}

// maxLabels bounds the labels that one request gives, in bytes.
const maxLabels = 64 << 10

// labelNode gives a node labels; an empty value takes one away.
func (a *API) labelNode(w http.ResponseWriter, c *call) {
	n := a.nodeMeant(w, c)
	if n == nil {
		return
	}
	var labels map[string]string
	if err := json.NewDecoder(http.MaxBytesReader(w, c.Body, maxLabels)).Decode(&labels); err != nil {
		fail(w, http.StatusBadRequest, "read the labels: %s", err)
		return
	}
	if a.proposed(w, c, ledger.Command{LabelNode: &ledger.LabelNode{Node: n.Node, Labels: labels}}) {
		w.WriteHeader(http.StatusNoContent)
	}
}

// nodeMeant is the node with the name or ID of the path; nil: there is none, as the
// client was told.
func (a *API) nodeMeant(w http.ResponseWriter, c *call) (n *ledger.Node) {
	a.cfg.Log.View(func(l *ledger.Ledger) { n = l.NodeNamed(c.ref) })
	if n == nil {
		fail(w, http.StatusNotFound, "No such node: %s: see \"ddocker nodes\"", c.ref)
	}
	return n
}

// nodeDetail is one node in /ddocker/nodes/NAME.
type nodeDetail struct {
	nodeRow
	Placements []placementRow // by name
	Outsiders  []placementRow // containers that were made beside the cluster
}

// placementRow is what a container holds there.
type placementRow struct {
	Name, ID, Owner, Type string
}

func (a *API) inspectNode(w http.ResponseWriter, c *call) {
	n := a.nodeMeant(w, c)
	if n == nil {
		return
	}
	d := nodeDetail{Outsiders: outsiderRows(n)}
	roles := a.roles()
	a.cfg.Log.View(func(l *ledger.Ledger) {
		d.nodeRow = a.nodeRow(l, n, roles)
		d.Placements = placementRows(l, n)
	})
	sees := a.sight(c)
	hides := func(r placementRow) bool { return !sees(r.Owner) }
	d.Placements, d.Outsiders = slices.DeleteFunc(d.Placements, hides), slices.DeleteFunc(d.Outsiders, hides)
	reply(w, http.StatusOK, d)
}

// outsiderRows tells what containers hold that were made beside the cluster.
func outsiderRows(n *ledger.Node) []placementRow {
	rows := []placementRow{}
	for i := range n.Observed.Containers {
		o := &n.Observed.Containers[i]
		rows = append(rows, placementRow{Name: o.Name, ID: o.ID, Type: typeWords(&o.Grant, nil)})
	}
	return rows
}

// placementRows tells what the node's placements hold, by name.
func placementRows(l *ledger.Ledger, n *ledger.Node) []placementRow {
	rows := []placementRow{}
	for _, p := range l.Placed(n.Node) {
		rows = append(rows, placementRow{p.Name, p.Container, p.Owner, typeWords(&p.Grant, p.Request.GPUs)})
	}
	slices.SortFunc(rows, func(a, b placementRow) int { return strings.Compare(a.Name, b.Name) })
	return rows
}
