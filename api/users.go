package api

import (
	"net/http"
	"time"

	"ddocker/consensus/ledger"
)

// maxKeyLife bounds how long a user's certificate is good.
const maxKeyLife = 5 * 366 * 24 * time.Hour

// userRow is a user in /ddocker/users.
type userRow struct {
	Name, Role, By string
	Keys           int // that are good now
	Created        time.Time
}

func (a *API) listUsers(w http.ResponseWriter, _ *call) {
	rows, now := []userRow{}, time.Now()
	a.cfg.Log.View(func(l *ledger.Ledger) {
		for _, u := range l.Users() {
			row := userRow{Name: u.Name, Role: string(u.Role), By: u.By, Created: u.Created}
			for _, k := range u.Keys {
				if k.Expires.After(now) {
					row.Keys++
				}
			}
			rows = append(rows, row)
		}
	})
	reply(w, http.StatusOK, rows)
}

func (a *API) addUser(w http.ResponseWriter, c *call) {
	query := c.URL.Query()
	add := ledger.AddUser{Name: query.Get("name"), Role: ledger.Role(query.Get("role")), By: a.who(c).Name}
	if a.proposed(w, c, ledger.Command{AddUser: &add}) {
		w.WriteHeader(http.StatusCreated)
	}
}

func (a *API) removeUser(w http.ResponseWriter, c *call) {
	if a.proposed(w, c, ledger.Command{RemoveUser: &ledger.RemoveUser{Name: c.ref}}) {
		w.WriteHeader(http.StatusNoContent)
	}
}

func (a *API) changeUser(w http.ResponseWriter, c *call) {
	change := ledger.ChangeUser{Name: c.ref, Role: ledger.Role(c.URL.Query().Get("role"))}
	if a.proposed(w, c, ledger.Command{ChangeUser: &change}) {
		w.WriteHeader(http.StatusNoContent)
	}
}

// addKey lets the certificate whose key has the hash speak for a user, and tells what a
// client needs besides: the cluster's authorities and its addresses.
func (a *API) addKey(w http.ResponseWriter, c *call) {
	query := c.URL.Query()
	life, err := time.ParseDuration(query.Get("life"))
	if err != nil || life < time.Minute || life > maxKeyLife {
		fail(w, http.StatusBadRequest, "%q is no lifetime of a certificate: it is from 1m to %s", query.Get("life"), maxKeyLife)
		return
	}
	if !keyHash.MatchString(query.Get("hash")) {
		fail(w, http.StatusBadRequest, "%q is no SHA-256 of a key", query.Get("hash"))
		return
	}
	key := ledger.UserKey{Hash: query.Get("hash"), Expires: time.Now().Add(life).UTC().Truncate(time.Second)}
	if !a.proposed(w, c, ledger.Command{AddKey: &ledger.AddKey{User: c.ref, Key: key}}) {
		return
	}
	addresses := []string{}
	a.cfg.Log.View(func(l *ledger.Ledger) {
		for _, n := range l.Nodes() {
			if n.Node == a.cfg.Self {
				addresses = append([]string{n.Address}, addresses...)
			} else {
				addresses = append(addresses, n.Address)
			}
		}
	})
	reply(w, http.StatusCreated, map[string]any{"CA": string(a.cfg.CA()), "Addresses": addresses, "Expires": key.Expires})
}
