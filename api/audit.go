package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	timestamp "github.com/docker/docker/api/types/time"

	"ddocker/audit"
)

const (
	// pathAudit is a node's own audit log, as lines of JSON.
	pathAudit = "/ddocker/local/audit"
	// queryAfter asks for what follows a position, which headerEnd told.
	queryAfter = "after"
	headerEnd  = "Ddocker-Audit-End"
	// headerSilent names the hosts whose part of an answer is missing.
	headerSilent = "Ddocker-Silent"

	// tailAudit is how many entries are told where nothing is said, maxTail the most.
	tailAudit = 100
	maxTail   = 10_000
	// auditEvery is how often followers look for what is new.
	auditEvery = time.Second
)

// showAudit tells the audit logs of all hosts as one, by time: a line of JSON an entry.
func (a *API) showAudit(w http.ResponseWriter, c *call) {
	query := c.URL.Query()
	tail, err := auditTail(query.Get("tail"))
	ask := url.Values{"tail": {strconv.Itoa(tail)}, "user": {query.Get("user")}}
	if who := a.who(c); !who.admin() {
		ask.Set("user", who.Name)
	}
	for _, key := range []string{"since", "until"} {
		if err == nil && query.Get(key) != "" {
			var at string
			if at, err = timestamp.GetTimestamp(query.Get(key), time.Now()); err != nil || instant(at).IsZero() {
				err = invalid("%q is no time for %s: write 10m, 2006-01-02T15:04:05 or seconds since 1970", query.Get(key), key)
			} else {
				ask.Set(key, stamp(instant(at)))
			}
		}
	}
	if err != nil {
		failWith(w, err)
		return
	}
	f := &auditFollower{api: a, ask: ask, ends: map[string]string{}}
	lines, silent := f.round(c.Context())
	if len(silent) > 0 {
		w.Header().Set(headerSilent, strings.Join(silent, ","))
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	if lines = lines[max(0, len(lines)-tail):]; f.write(w, lines) != nil || query.Get("follow") == "" || query.Get("until") != "" {
		return
	}
	f.follow(c, w)
}

func auditTail(text string) (n int, err error) {
	if text == "" {
		return tailAudit, nil
	}
	if n, err = strconv.Atoi(text); err != nil || n < 0 || n > maxTail {
		return 0, invalid("%q is no number of entries: it is from 0 to %d", text, maxTail)
	}
	return n, nil
}

// auditFollower reads the audit logs of all hosts for one client.
type auditFollower struct {
	api *API
	ask url.Values

	mu   sync.Mutex        // guards what follows
	ends map[string]string // how far each host's log is read
}

// auditLine is an entry, as its host wrote it.
type auditLine struct {
	at   time.Time
	text []byte
}

// round asks every host that answers for what it has not told yet, and names those that do
// not tell.
func (f *auditFollower) round(ctx context.Context) (lines []auditLine, silent []string) {
	soon, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	list := f.api.hosts.all()
	told, errs := make([][]auditLine, len(list)), make([]error, len(list))
	var asking sync.WaitGroup
	for i, one := range list {
		asking.Go(func() {
			lines, err := f.tell(soon, one.id)
			told[i], errs[i] = lines, err
			if err != nil && !errors.Is(err, errSilent) && ctx.Err() == nil && !answered(err) {
				f.api.hosts.miss(one.id)
			}
		})
	}
	asking.Wait()
	for i, one := range list {
		if lines = append(lines, told[i]...); errs[i] != nil {
			silent = append(silent, one.name)
		}
	}
	slices.SortStableFunc(lines, func(x, y auditLine) int { return x.at.Compare(y.at) })
	return lines, silent
}

func (f *auditFollower) tell(ctx context.Context, id string) (lines []auditLine, err error) {
	if !f.api.hosts.answers(id) {
		return nil, errSilent
	}
	query := url.Values{}
	for key := range f.ask {
		query[key] = f.ask[key]
	}
	f.mu.Lock()
	if f.ends[id] != "" {
		query.Set(queryAfter, f.ends[id])
	}
	f.mu.Unlock()
	header, body, err := f.api.hosts.exchange(ctx, http.MethodGet, id, pathAudit, query)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.ends[id] = header.Get(headerEnd)
	f.mu.Unlock()
	for line := range bytes.Lines(body) {
		var e struct{ Time time.Time }
		if json.Unmarshal(line, &e) == nil {
			lines = append(lines, auditLine{e.Time, line})
		}
	}
	return lines, nil
}

// write passes lines on. A reader that does not take them is cut.
func (f *auditFollower) write(w http.ResponseWriter, lines []auditLine) error {
	out := http.NewResponseController(w)
	out.SetWriteDeadline(time.Now().Add(writeTimeout))
	for _, line := range lines {
		if _, err := w.Write(line.text); err != nil {
			return err
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return out.SetWriteDeadline(time.Time{})
}

// follow passes on what comes, until the client goes or this agent ends.
func (f *auditFollower) follow(c *call, w http.ResponseWriter) {
	ctx, cut := context.WithCancelCause(c.Context())
	defer cut(nil)
	one := &stream{call: c, cut: cut}
	f.api.streams.begin(one)
	defer f.api.streams.end(one)
	tick := time.NewTicker(auditEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			panic(http.ErrAbortHandler) // so that nobody takes it for the end of the log
		}
		if lines, _ := f.round(ctx); len(lines) > 0 && f.write(w, lines) != nil {
			return
		}
	}
}

// auditLog tells another node of this one's log.
func (l *Local) auditLog(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	f := audit.Filter{User: query.Get("user"), Since: instant(query.Get("since")), Until: instant(query.Get("until"))}
	var lines []json.RawMessage
	var end audit.Position
	tail, err := strconv.Atoi(cmp.Or(query.Get("tail"), "0"))
	if after := query.Get(queryAfter); err == nil && after != "" {
		if end, err = audit.ParsePosition(after); err == nil {
			lines, end, err = l.audit.After(end, f)
		}
	} else if err == nil {
		lines, end, err = l.audit.Last(f, max(0, min(tail, maxTail)))
	}
	if err != nil {
		fail(w, http.StatusInternalServerError, "%s", err)
		return
	}
	w.Header().Set(headerEnd, end.String())
	for _, line := range lines {
		w.Write(append(line, '\n'))
	}
}
