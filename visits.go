package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/identity"
)

// visits are the connections of a server. Those that wait for a request make room for
// others; who has too many requests under way is told so.
type visits struct {
	host      string
	known     *identity.Crowd
	strangers *identity.Crowd // who never keep others waiting
	refused   *identity.Crowd

	mu   sync.Mutex // guards open
	open map[net.Conn]*visit
}

func (a *agent) newVisits(most limits) *visits {
	return &visits{
		host: a.cfg.Name, open: map[net.Conn]*visit{}, known: identity.NewCrowd(most.clients, most.each, freshTime),
		strangers: identity.NewCrowd(most.strangers, most.strangers, 0), refused: identity.NewCrowd(most.strangers, most.strangers, 0),
	}
}

// client names who is at the other end of a connection, as far as bounds are concerned.
func (a *agent) client(ctx context.Context, c net.Conn) (name string, known bool) {
	if ctx.Value(localKey{}) != nil {
		uid, err := a.cfg.peerUser(c)
		return fmt.Sprintf("user %d", uid), err == nil
	}
	peer := callingPeer(ctx)
	a.log.View(func(l *ledger.Ledger) {
		if peer.Node != "" {
			name, known = "host "+peer.Node, l.GoneNode(peer.Node) == nil
		} else if u := l.UserByKey(peer.Key, time.Now()); u != nil {
			name, known = u.Name, true
		}
	})
	if !known {
		name = identity.Source(c)
	}
	return name, known
}

// visit is one connection.
type visit struct {
	place    *identity.Place
	known    bool
	refused  string      // whom, if it is one too many
	limit    *time.Timer // of those who are not known, or refused
	hijacked atomic.Bool
}

type visitKey struct{}

func (v *visits) begin(ctx context.Context, c net.Conn, source string, known bool) context.Context {
	one := &visit{known: known}
	out := func() { bare(c).Close() }
	if known {
		one.place = v.known.Enter(source, out)
	} else {
		one.place = v.strangers.Enter(source, out)
		one.limit = time.AfterFunc(strangerTimeout, out)
	}
	if one.place == nil {
		one.known, one.refused = false, source
		one.place = v.refused.Enter(source, out)
		one.limit = time.AfterFunc(refusedTimeout, out)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.open[c] = one
	return context.WithValue(ctx, visitKey{}, one)
}

// bare returns the connection below TLS, which closes at once and without a word.
func bare(c net.Conn) net.Conn {
	if secure, ok := c.(interface{ NetConn() net.Conn }); ok {
		return secure.NetConn()
	}
	return c
}

// note follows what a connection does.
func (v *visits) note(c net.Conn, state http.ConnState) {
	v.mu.Lock()
	one := v.open[c]
	if state == http.StateClosed || state == http.StateHijacked {
		delete(v.open, c)
	}
	v.mu.Unlock()
	switch {
	case one == nil:
	case state == http.StateHijacked:
		one.hijacked.Store(true)
		if watched, ok := c.(*readConn); ok {
			watched.patient.Store(true)
		}
	case state == http.StateClosed:
		one.end()
	case one.known:
		one.place.Busy(state == http.StateActive)
	}
}

func (one *visit) end() {
	one.place.Leave()
	if one.limit != nil {
		one.limit.Stop()
	}
}

// handler refuses whom there is no room for.
func (v *visits) handler(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		one, ok := r.Context().Value(visitKey{}).(*visit)
		if ok && one.refused != "" {
			w.Header().Set("Connection", "close")
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusServiceUnavailable)
			json.NewEncoder(w).Encode(map[string]string{"message": fmt.Sprintf(
				"%s has as many requests under way on host %s as one may have: end some of them, or ask another host", one.refused, v.host)})
			return
		}
		defer func() { // of who took his connection over
			if ok && one.hijacked.Load() {
				one.end()
			}
		}()
		h.ServeHTTP(w, r)
	})
}
