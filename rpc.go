package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"ddocker/identity"
)

// maxCall bounds a call of the log between nodes, in bytes.
const maxCall = 4 << 20

// rpcHandler serves the other nodes. Whoever comes here has shown a node's
// certificate of this cluster.
func (a *agent) rpcHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /rpc/raft", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCall))
		if err == nil {
			body, err = a.log.Serve(r.Context(), peerOf(r.Context()), body)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Write(body)
	})
	mux.HandleFunc("POST /rpc/join", answer(a.admitHere))
	mux.HandleFunc("POST /rpc/renew", answer(a.reissue))
	mux.HandleFunc("POST /rpc/ca-key", answer(a.handOutKey))
	mux.HandleFunc("POST /rpc/rotate-ca", answer(a.rotateAuthority))
	mux.HandleFunc("POST /rpc/next-key", answer(a.keepNext))
	mux.HandleFunc("POST /rpc/standing", answer(a.standing))
	mux.HandleFunc("POST /rpc/boot", answer(a.tellBoot))
	mux.HandleFunc("POST /rpc/ca-key/keep", answer(a.takeKey))
	mux.Handle("/rpc/image/", a.mover.Handler())
	mux.Handle("/", a.api.Local())
	return mux
}

// answer serves a message with a reply, both JSON.
func answer[Q, R any](carryOut func(context.Context, Q) (R, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var message Q
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxMessage)).Decode(&message)
		var reply R
		if err == nil {
			reply, err = carryOut(r.Context(), message)
		}
		w.Header().Set("Content-Type", "application/json")
		if err != nil {
			w.WriteHeader(http.StatusForbidden)
			json.NewEncoder(w).Encode(map[string]string{"message": err.Error()})
			return
		}
		json.NewEncoder(w).Encode(reply)
	}
}

// publicHandler serves clients over TLS: the API, which asks who they are, to whoever
// has a token the request to join, and to nodes whose certificate is not good their hello.
func (a *agent) publicHandler() http.Handler {
	join := a.recordedJoin(a.admit)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		open := map[string]http.HandlerFunc{"/ddocker/join": join, pathHello: a.helloHandler}[r.URL.Path]
		if open == nil || r.Method != http.MethodPost {
			a.api.ServeHTTP(w, r)
			return
		}
		// Whoever comes here has shown nothing yet, and is not waited for.
		if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(headerTimeout)); err != nil {
			a.cfg.Logger.Debug("no deadline on a stranger's request", "err", err)
		}
		open(w, r)
	})
}

// forward carries a call of the log to another node.
func (a *agent) forward(ctx context.Context, id string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://node/rpc/raft", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := toNode{a.transport, id}.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	reply, err := io.ReadAll(io.LimitReader(resp.Body, maxCall))
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("node %s: %s", id, reply)
	}
	return reply, nil
}

// newToken makes a join token.
func (a *agent) newToken() (text, hash string, err error) {
	t, err := identity.NewToken(a.id.Trust().Roots)
	if err != nil {
		return "", "", err
	}
	return t.String(), t.Hash(), nil
}
