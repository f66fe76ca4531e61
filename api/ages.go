package api

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"ddocker/consensus/ledger"
)

// age is a wish for containers that were made before another one, or after it. That
// one's host alone knows it.
type age struct {
	than  time.Time
	older bool
}

// takeAges takes out of the filters what engines can judge only of their own containers.
func (a *API) takeAges(ctx context.Context, f filters) (ages []age, err error) {
	for _, key := range []string{"before", "since"} {
		for _, ref := range f[key] {
			t, refusal := a.resolve(ctx, ref)
			if refusal != nil {
				return nil, &statusError{statusOf(refusal), "No such container: " + ref}
			}
			ages = append(ages, age{a.madeAt(ctx, t.Node, t.Container, t.Placement), key == "before"})
		}
		delete(f, key)
	}
	return ages, nil
}

// madeAt returns when a container was made: what its engine says, or failing that the
// ledger.
func (a *API) madeAt(ctx context.Context, node, id string, p *ledger.Placement) time.Time {
	var in struct{ Created time.Time }
	if body, err := a.hosts.get(ctx, node, "/containers/"+id+"/json", nil); err == nil && json.Unmarshal(body, &in) == nil {
		return in.Created
	}
	if p != nil {
		return p.Created
	}
	return time.Time{}
}

// ofAges returns the rows of a host that were made at the time that is asked for. Rows
// tell the second; of those within the same one their engine is asked.
func (a *API) ofAges(ctx context.Context, node string, rows []containerRow, ages []age) []containerRow {
	return slices.DeleteFunc(rows, func(r containerRow) bool {
		for _, than := range ages {
			made := time.Unix(r.created, 0)
			if r.created == than.than.Unix() {
				made = a.madeAt(ctx, node, r.id, nil)
			}
			if than.older && !made.Before(than.than) || !than.older && !made.After(than.than) {
				return true
			}
		}
		return false
	})
}

// yes reads a flag of a query as engines do.
func yes(flag string) bool { return !slices.Contains([]string{"", "0", "no", "false", "none"}, flag) }
