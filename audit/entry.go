package audit

import (
	"bytes"
	"encoding/json"
	"time"
)

// Entry is one thing that somebody did, or was not allowed to do.
type Entry struct {
	Time time.Time `json:"time"` // when it was asked for
	Node string    `json:"node"` // name of the host that was asked
	User string    `json:"user"` // empty: nobody knows
	Role string    `json:"role,omitempty"`
	From string    `json:"from"` // an address, or "socket" for this machine

	Method string `json:"method"`
	Route  string `json:"route"`            // the path, {} for what Object names
	Object string `json:"object,omitempty"` // what it was done to
	Args   string `json:"args,omitempty"`   // what else was said of it, as a query: "force=1"
	Made   string `json:"made,omitempty"`   // ID or name of what came of it

	// Status is the answer's. Open says that it goes on, as attach does: the same entry
	// follows when it has ended, with the time that it took.
	Status int    `json:"status"`
	Open   bool   `json:"open,omitempty"`
	Error  string `json:"error,omitempty"` // the answer's sentence, where it is a refusal
	Millis int64  `json:"ms"`              // that it took

	// Lost counts entries before this one that could not be written, or were too many.
	Lost int `json:"lost,omitempty"`
}

// Filter chooses entries. Its zero value chooses all.
type Filter struct {
	User         string // empty: everybody's
	Since, Until time.Time
}

// moment is the time of a line, and whether it is an entry that the filter chooses.
func (f Filter) moment(line []byte) (at time.Time, chosen bool) {
	var e struct {
		Time time.Time
		User string
	}
	if json.Unmarshal(line, &e) != nil {
		return at, false // torn by a full disk, or by the end of its writer
	}
	chosen = (f.User == "" || e.User == f.User) && !e.Time.Before(f.Since) && (f.Until.IsZero() || e.Time.Before(f.Until))
	return e.Time, chosen
}

// from returns the chosen lines, oldest first, and whether the time of any is after Since.
func (f Filter) from(data []byte) (lines []json.RawMessage, late bool) {
	for line := range bytes.Lines(data) {
		line = bytes.TrimSpace(line)
		at, chosen := f.moment(line)
		if chosen {
			lines = append(lines, line)
		}
		late = late || !at.Before(f.Since)
	}
	return lines, late
}
