package api

import (
	"net/http"
	"strings"

	"ddocker/consensus/ledger"
)

// networkIDs writes the IDs by which clients know networks in the place of those of a
// node's engine; nil: they are the same. They differ for a network that its first
// container took to another host than the one that made it.
func (a *API) networkIDs(node string) *strings.Replacer {
	var pairs []string
	a.cfg.Log.View(func(l *ledger.Ledger) {
		for _, o := range l.Objects(ledger.Network) {
			if i, ok := o.Instance(node); ok && i.ID != o.ID {
				pairs = append(pairs, i.ID, o.ID)
			}
		}
	})
	if pairs == nil {
		return nil
	}
	return strings.NewReplacer(pairs...)
}

// inspectContainer shows a container as its engine does.
func (a *API) inspectContainer(w http.ResponseWriter, c *call) {
	t, ok := a.located(w, c, c.ref)
	if !ok {
		return
	}
	ids := a.networkIDs(t.Node)
	if ids == nil {
		a.send(w, c, t.Node, t.Container)
		return
	}
	answer := &record{header: http.Header{}, status: http.StatusOK}
	a.send(answer, c, t.Node, t.Container)
	text := ids.Replace(answer.body.String())
	answer.body.Reset()
	answer.body.WriteString(text)
	answer.writeTo(w)
}

// callNetworks has a filter call networks of the cluster by their names.
func (a *API) callNetworks(f filters) {
	a.cfg.Log.View(func(l *ledger.Ledger) {
		for i, ref := range f["network"] {
			if o, refusal := l.FindObject(ledger.Network, ref); refusal == nil && o != nil {
				f["network"][i] = o.Name
			}
		}
	})
}
