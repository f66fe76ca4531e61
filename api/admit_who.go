package api

import "ddocker/consensus/ledger"

// Caller is who sends a request.
type Caller struct {
	Name string
	Role ledger.Role
	From string
}

func (c Caller) admin() bool { return c.Role == ledger.Admin }

// who returns the caller of a call: an admin, unless the ledger has it otherwise.
func (a *API) who(c *call) Caller {
	who := Caller{Name: a.cfg.Caller(c.Request), Role: ledger.Admin}
	a.cfg.Log.View(func(l *ledger.Ledger) {
		if u := l.User(who.Name); u != nil {
			who.Role = u.Role
		}
	})
	return who
}
