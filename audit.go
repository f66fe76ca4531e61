package main

import (
	"context"
	"net/http"
	"time"

	"ddocker/audit"
	"ddocker/identity"
)

// dirAudit is where the audit log lies in the data directory.
const dirAudit = "audit"

// recordedJoin serves requests to join, each with an entry in the audit log: who comes
// with a token has no other name.
func (a *agent) recordedJoin(admit func(context.Context, joinRequest) (*joinReply, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		answer(func(ctx context.Context, request joinRequest) (*joinReply, error) {
			reply, err := admit(ctx, request)
			e := audit.Entry{
				Time: began.UTC(), Node: a.cfg.Name, From: r.RemoteAddr, Method: r.Method, Route: r.URL.Path, Object: request.Name,
				Status: http.StatusOK, Millis: time.Since(began).Milliseconds(),
			}
			if err != nil {
				e.Status, e.Error = http.StatusForbidden, err.Error()
			} else if token, err := identity.ParseToken(request.Token); err == nil {
				e.User = "token " + token.Hash()[:6] // the begin of what "ddocker token ls" has
			}
			if err := a.audit.Append(e); err != nil {
				a.cfg.Logger.Error("a join is missing in the audit log", "node", request.Name, "from", r.RemoteAddr, "err", err)
			}
			return reply, err
		})(w, r)
	}
}
