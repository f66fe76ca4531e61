package api

import (
	"context"
	"errors"
	"net/http"

	"ddocker/consensus/ledger"
)

// Started looks where the mounts of a container of this node lead that runs now: its
// engine may have started it by itself, as its restart policy says, or a link may have
// changed while it started. What its owner may not mount it loses by being killed.
func (a *API) Started(ctx context.Context, container string) {
	err := a.local.admitStart(ctx, container)
	var refused *statusError
	if err == nil || !errors.As(err, &refused) || refused.status != http.StatusForbidden {
		return
	}
	a.log.Error("container is killed: it runs with what its owner may not use", "container", ledger.Short(container), "why", err)
	answer, err := a.request(ctx, post, a.cfg.Self, "/containers/"+container+"/kill", nil, nil)
	if err != nil || answer.status/100 != 2 {
		a.log.Error("container cannot be killed", "container", ledger.Short(container), "err", err)
	}
}

// lookAtRunning is Started for what runs since before the agent did.
func (a *API) lookAtRunning(ctx context.Context) {
	var ids []string
	a.cfg.Log.View(func(l *ledger.Ledger) {
		for _, p := range l.Placed(a.cfg.Self) {
			if p.Container != "" && p.Owner != "" && l.RoleOf(p.Owner) != ledger.Admin {
				ids = append(ids, p.Container)
			}
		}
	})
	for _, id := range ids {
		var is struct{ State struct{ Running bool } }
		if a.local.inspect(ctx, id, &is) == nil && is.State.Running {
			a.Started(ctx, id)
		}
	}
}
