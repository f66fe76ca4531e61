package api

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"ddocker/consensus/ledger"
)

// Lifetime and uses of a join token where nothing is said: long enough to walk to the
// machines of a room, and enough of them.
const (
	tokenLife = time.Hour
	tokenUses = 64
)

// Bounds of what may be asked for instead.
const (
	maxTokenLife = 30 * 24 * time.Hour
	maxTokenUses = 10_000
)

// tokenRow is one join token in /ddocker/tokens. ID is the begin of its secret's hash.
type tokenRow struct {
	ID, By  string
	Expires time.Time
	Uses    int // left
}

// tokenID is enough of a hash to tell tokens apart.
func tokenID(hash string) string { return hash[:min(12, len(hash))] }

func (a *API) createToken(w http.ResponseWriter, c *call) {
	life, uses, err := tokenWish(c.URL.Query().Get("life"), c.URL.Query().Get("uses"))
	if err != nil {
		failWith(w, err)
		return
	}
	text, hash, err := a.cfg.Token()
	if err != nil {
		failWith(w, err)
		return
	}
	t := ledger.Token{Hash: hash, Expires: time.Now().Add(life).UTC().Truncate(time.Second), Uses: uses, By: a.who(c).Name}
	if a.proposed(w, c, ledger.Command{AddToken: &t}) {
		reply(w, http.StatusCreated, map[string]any{"Token": text, "ID": tokenID(hash), "Expires": t.Expires, "Uses": uses})
	}
}

func tokenWish(lifeText, usesText string) (life time.Duration, uses int, err error) {
	life, uses = tokenLife, tokenUses
	if lifeText != "" {
		if life, err = time.ParseDuration(lifeText); err != nil || life < time.Second || life > maxTokenLife {
			return 0, 0, invalid("%q is no lifetime of a token: it is from 1s to %s", lifeText, maxTokenLife)
		}
	}
	if usesText != "" {
		if uses, err = strconv.Atoi(usesText); err != nil || uses < 1 || uses > maxTokenUses {
			return 0, 0, invalid("%q is no number of uses of a token: it is from 1 to %d", usesText, maxTokenUses)
		}
	}
	return life, uses, nil
}

func (a *API) listTokens(w http.ResponseWriter, c *call) {
	rows := []tokenRow{}
	now := time.Now()
	a.cfg.Log.View(func(l *ledger.Ledger) {
		for _, t := range l.Tokens() {
			if t.Uses > 0 && t.Expires.After(now) {
				rows = append(rows, tokenRow{tokenID(t.Hash), t.By, t.Expires, t.Uses})
			}
		}
	})
	reply(w, http.StatusOK, rows)
}

// revokeToken takes the ID of a token, or the begin of it if there is no other like it.
func (a *API) revokeToken(w http.ResponseWriter, c *call) {
	var found []string
	a.cfg.Log.View(func(l *ledger.Ledger) {
		for _, t := range l.Tokens() {
			if strings.HasPrefix(t.Hash, c.ref) {
				found = append(found, t.Hash)
			}
		}
	})
	switch len(found) {
	case 0:
		fail(w, http.StatusNotFound, "No such token: %s: see \"ddocker token ls\"", c.ref)
	case 1:
		if a.proposed(w, c, ledger.Command{Revoke: &ledger.Revoke{Hash: found[0]}}) {
			w.WriteHeader(http.StatusNoContent)
		}
	default:
		fail(w, http.StatusConflict, "%s is the begin of %d tokens: see \"ddocker token ls\"", c.ref, len(found))
	}
}
