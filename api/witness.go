package api

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"ddocker/audit"
)

const (
	// tellAfter is how long a request may take before the audit log says that it goes on.
	tellAfter = time.Second
	// maxWords bounds what is kept of a short answer, to read what it says from it.
	maxWords = 4 << 10
)

// kept says whether the audit log has every request of the route, or only those that were
// denied: what changes nothing and shows nothing of the inside is not worth a line.
func (r *route) kept() bool {
	switch r.path {
	case pathWait, "/containers/{}/resize", "/exec/{}/resize":
		return false
	case "/containers/{}/logs", "/containers/{}/export", "/containers/{}/archive", "/containers/{}/attach/ws", "/images/get", "/images/{}/get":
		return r.method != head
	}
	return r.method != get && r.method != head
}

// witness is a ResponseWriter that sees what comes of a request, for the audit log.
type witness struct {
	http.ResponseWriter
	api  *API
	kept bool
	late *time.Timer

	mu    sync.Mutex // guards what follows
	entry audit.Entry
	words bytes.Buffer // the begin of an answer that says what was made, or why not
}

// witness begins an entry of the audit log. Its caller owes an end.
func (a *API) witness(w http.ResponseWriter, r *http.Request, row *route, ref string) *witness {
	query := r.URL.Query()
	s := &witness{ResponseWriter: w, api: a, kept: row.kept(), entry: audit.Entry{
		Time: time.Now().UTC(), Node: a.cfg.Name, From: r.RemoteAddr, Method: row.method, Route: row.path,
		Object: cmp.Or(ref, query.Get("container"), query.Get("name"), query.Get("fromImage"), query.Get("t")),
		Args:   sayable(query),
	}}
	if s.kept {
		s.late = time.AfterFunc(tellAfter, s.goesOn)
	}
	return s
}

// sayable is what of a query may be written down. A build's arguments may be secrets.
func sayable(query url.Values) string {
	said := url.Values{}
	for _, key := range []string{
		"container", "force", "fromImage", "fromSrc", "link", "name", "names", "noprune", "path", "platform", "repo", "signal", "t", "tag", "to", "uses", "v",
		"life", "role", "filters",
	} {
		if query.Has(key) {
			said[key] = query[key]
		}
	}
	return said.Encode()
}

// by notes who it is.
func (s *witness) by(user, role, from string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entry.User, s.entry.Role, s.entry.From = user, role, cmp.Or(from, s.entry.From)
}

// on notes what it is done to, by the name that people call it. A nil witness does not.
func (s *witness) on(object string) {
	if s == nil || object == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entry.Object = object
}

// goesOn writes that the request is not at its end yet: so it stands in the log also if
// this agent dies before.
func (s *witness) goesOn() {
	s.mu.Lock()
	e := s.entry
	s.mu.Unlock()
	e.Open, e.Millis = true, time.Since(e.Time).Milliseconds()
	s.write(e)
}

// end writes the entry.
func (s *witness) end() {
	if s.late != nil {
		s.late.Stop()
	}
	s.mu.Lock()
	e := s.entry
	s.mu.Unlock()
	e.Millis = time.Since(e.Time).Milliseconds()
	if !s.kept && e.Status != http.StatusUnauthorized && e.Status != http.StatusForbidden {
		return
	}
	var said struct{ ID, Name, Message string }
	if json.Unmarshal(s.words.Bytes(), &said); e.Status == http.StatusCreated {
		e.Made = cmp.Or(said.ID, said.Name)
	} else {
		e.Error = said.Message
	}
	s.write(e)
}

func (s *witness) write(e audit.Entry) {
	if err := s.api.cfg.Audit.Append(e); err != nil {
		s.api.log.Error("what somebody did is missing in the audit log", "user", e.User, "method", e.Method, "route", e.Route, "object", e.Object, "err", err)
	}
}

// WriteHeader notes the status.
func (s *witness) WriteHeader(status int) {
	s.note(status)
	s.ResponseWriter.WriteHeader(status)
}

func (s *witness) note(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entry.Status == 0 && (status >= http.StatusOK || status == http.StatusSwitchingProtocols) {
		s.entry.Status = status
	}
}

// Write notes the begin of what says what was made, or why nothing was done.
func (s *witness) Write(p []byte) (int, error) {
	s.note(http.StatusOK)
	if status := s.entry.Status; status == http.StatusCreated || status >= http.StatusBadRequest {
		s.words.Write(p[:min(len(p), maxWords-s.words.Len())])
	}
	return s.ResponseWriter.Write(p)
}

// Hijack hands out the connection, which is then no longer HTTP's.
func (s *witness) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, way, err := http.NewResponseController(s.ResponseWriter).Hijack()
	if err == nil {
		s.note(http.StatusSwitchingProtocols)
	}
	return conn, way, err
}

// Unwrap lets http.ResponseController through.
func (s *witness) Unwrap() http.ResponseWriter { return s.ResponseWriter }
