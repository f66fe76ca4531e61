package api

import (
	"net/http"

	"ddocker/consensus/ledger"
)

// pathFurnish asks a node to have a network of the cluster.
const pathFurnish = "/ddocker/local/furnish"

// furnish makes sure that this engine has a network of the cluster, and tells its ID.
func (l *Local) furnish(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	l.catchUp(r.Context(), query.Get(queryIndex))
	if err := l.furnishOne(r.Context(), query.Get("name")); err != nil {
		failWith(w, err)
		return
	}
	var id string
	l.ledger.View(func(v *ledger.Ledger) {
		if o := v.Object(ledger.Network, query.Get("name")); o != nil {
			i, _ := o.Instance(l.self)
			id = i.ID
		}
	})
	reply(w, http.StatusOK, map[string]string{"ID": id})
}
