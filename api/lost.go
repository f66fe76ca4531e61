package api

import (
	"net/http"
	"slices"

	"ddocker/consensus/ledger"
	"ddocker/crash"
)

// stateLost is the state of a container whose host was removed from the cluster.
const stateLost = "lost"

// lostRows tells of the containers whose hosts were removed, as far as the filters let
// them be judged and their owners are visible.
func (a *API) lostRows(nodes []string, f filters, visible func(owner string) bool) (rows []containerRow) {
	var losts []ledger.Lost
	a.cfg.Log.View(func(l *ledger.Ledger) { losts = l.Losts() })
	known := holdings{}
	for i := range losts {
		lost := &losts[i]
		p := &lost.Placement
		if len(nodes) > 0 && !slices.Contains(nodes, lost.Host) || !f.mayMatch(lost.ID(), p.Name) || !visible(p.Owner) {
			continue
		}
		x := known.placement(p)
		x.Node, x.Lost, x.Ports, x.GPUs = lost.Host, true, nil, nil // which are free again
		r := bareRow(lost.ID(), p.Name, p.Image, p.Created.Unix(), x)
		r["State"], r["Status"] = raw(stateLost), raw(lostStatus(lost))
		rows = append(rows, containerRow{id: lost.ID(), created: p.Created.Unix(), stamp: p.Created.UnixNano(), owner: p.Owner, data: raw(r)})
	}
	return rows
}

func lostStatus(lost *ledger.Lost) string {
	status := "Host removed"
	if lost.Left {
		status = "Host left"
	}
	if lost.Placement.Container == "" {
		status += ", may not have been made"
	}
	return status
}

// removeContainer passes the request to the holder. A container that was lost with its
// host is forgotten.
func (a *API) removeContainer(w http.ResponseWriter, c *call) {
	if a.who(c).admin() {
		if _, refusal := a.resolve(c.Context(), c.ref); refusal != nil && refusal.Code == ledger.Unknown {
			if lost := a.lostNamed(c.ref); lost != nil {
				c.lost = lost.Placement.ID
			}
		}
	}
	if c.lost == "" {
		a.cfg.Crash.At(crash.RemoveAsked)
		a.holder(&afterSuccess{ResponseWriter: w, then: func() error { a.cfg.Crash.At(crash.RemoveTold); return nil }}, c)
	} else if a.proposed(w, c, ledger.Command{Forget: &ledger.Forget{Placement: c.lost}}) {
		w.WriteHeader(http.StatusNoContent)
	}
}

func (a *API) lostNamed(ref string) (lost *ledger.Lost) {
	a.cfg.Log.View(func(l *ledger.Ledger) { lost = l.LostNamed(ref) })
	return lost
}

// explain says of a container that is not there what became of it, if that is known.
func (a *API) explain(refusal *ledger.Refusal, ref string) *ledger.Refusal {
	lost := a.lostNamed(ref)
	if lost == nil || refusal.Code != ledger.Unknown {
		return refusal
	}
	fate := "was removed"
	if lost.Left {
		fate = "left"
	}
	return &ledger.Refusal{Code: refusal.Code, Message: refusal.Message + ": it was on host " + lost.Host + ", which " + fate +
		" at " + lost.At.UTC().Format("2006-01-02 15:04") + ` UTC ("ddocker rm ` + ref + `" forgets it)`}
}
