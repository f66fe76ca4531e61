package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"ddocker/consensus"
	"ddocker/consensus/ledger"
)

// fail answers with an error as Docker's engine does.
func fail(w http.ResponseWriter, status int, format string, args ...any) {
	reply(w, status, map[string]string{"message": fmt.Sprintf(format, args...)})
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body) // an error is a client that has gone
}

// statusOf is Docker's status for a refusal.
func statusOf(refusal *ledger.Refusal) int {
	switch refusal.Code {
	case ledger.Unknown:
		return http.StatusNotFound
	case ledger.Invalid:
		return http.StatusBadRequest
	case ledger.Full:
		return http.StatusServiceUnavailable
	}
	return http.StatusConflict
}

// failWith answers with the status that an error calls for.
func failWith(w http.ResponseWriter, err error) {
	var refusal *ledger.Refusal
	if !errors.As(err, &refusal) {
		var refused *statusError
		if errors.As(err, &refused) {
			fail(w, refused.status, "%s", err)
			return
		}
		var leaderless *consensus.NoLeaderError
		if errors.As(err, &leaderless) {
			fail(w, http.StatusServiceUnavailable, "%s: see \"ddocker raft peers\"", err)
			return
		}
		fail(w, http.StatusServiceUnavailable, "%s", err)
		return
	}
	status := statusOf(refusal)
	if refusal.Code == ledger.Busy {
		w.Header().Set(headerBusy, "1")
	}
	if refusal.Code == ledger.Full {
		fail(w, status, "%s: see \"ddocker nodes\"", refusal.Message)
		return
	}
	fail(w, status, "%s", refusal.Message)
}
