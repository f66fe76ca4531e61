package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// pathEvents is a node's own events, as lines of JSON.
	pathEvents = "/ddocker/local/events"
	// eventOverlap is how far back an engine is asked again: it does not quite tell
	// its events in the order of their times.
	eventOverlap = time.Second
)

// eventLine is one line of a node's events: an event of its engine, or a mark.
// The first mark parts what had happened when the node was asked from what
// happens afterwards, and a node that was asked for the end has Over in the last.
type eventLine struct {
	Event json.RawMessage `json:",omitempty"`
	Now   int64           `json:",omitempty"` // by the clock of the node, in ns since 1970
	Over  bool            `json:",omitempty"`
}

// events tells another node of this engine's events.
func (l *Local) events(w http.ResponseWriter, r *http.Request, version string) {
	lines, out := json.NewEncoder(w), http.NewResponseController(w)
	begun := false
	err := l.watch(r.Context(), version, r.URL.Query(), func(line eventLine) error {
		begun = true
		if err := lines.Encode(line); err != nil {
			return err
		}
		return out.Flush()
	})
	if err != nil && !begun {
		failWith(w, err)
	}
}

// watch calls each for the events of this node's engine that query asks for, and
// for the marks between them. It ends with the engine's stream, with ctx, or with
// the first error of each.
func (l *Local) watch(ctx context.Context, version string, query url.Values, each func(eventLine) error) error {
	now := time.Now()
	since, until := instant(query.Get("since")), instant(query.Get("until"))
	live := url.Values{"filters": query["filters"], "since": {stamp(now)}}
	if !until.IsZero() {
		live.Set("until", stamp(until))
	}
	if !since.IsZero() || !until.IsZero() { // with an end alone, all that is remembered is told
		live.Set("since", stamp(latest(since, now.Add(-eventOverlap))))
		past := url.Values{"filters": query["filters"], "until": {stamp(now)}}
		if !since.IsZero() {
			past.Set("since", stamp(since))
		}
		if !until.IsZero() && until.Before(now) {
			past.Set("until", stamp(until))
		}
		if err := l.tail(ctx, version, past, nil, each); err != nil {
			return err
		}
	}
	if !until.IsZero() && until.Before(now) {
		return each(eventLine{Now: now.UnixNano(), Over: true})
	}
	err := l.tail(ctx, version, live, func() error { return each(eventLine{Now: now.UnixNano()}) }, each)
	if err == nil && !until.IsZero() && !time.Now().Before(until) {
		return each(eventLine{Over: true})
	}
	return err
}

// tail calls each for the events of one answer of the engine, and begun before them.
func (l *Local) tail(ctx context.Context, version string, query url.Values, begun func() error, each func(eventLine) error) error {
	u := url.URL{Scheme: "http", Host: "ddocker", Path: "/events", RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	resp, err := l.open(req, version)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusMultipleChoices {
		return refusalOf(resp)
	}
	if begun != nil {
		if err := begun(); err != nil {
			return err
		}
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		if err := each(eventLine{Event: l.fromEngineEvent(ctx, lines.Bytes())}); err != nil {
			return err
		}
	}
	return lines.Err()
}

// fromEngineEvent puts the cluster's ID of an image in the place of the engine's own.
func (l *Local) fromEngineEvent(ctx context.Context, line []byte) json.RawMessage {
	var event, actor row
	var kind, id string
	if l.clusterImage == nil || json.Unmarshal(line, &event) != nil {
		return line
	}
	json.Unmarshal(event["Type"], &kind)
	if kind != "image" || json.Unmarshal(event["Actor"], &actor) != nil {
		return line
	}
	if json.Unmarshal(actor["ID"], &id); !strings.HasPrefix(id, "sha256:") {
		return line
	}
	known := raw(l.clusterImage(ctx, id))
	actor["ID"] = known
	event["Actor"] = raw(actor)
	if event["id"] != nil {
		event["id"] = known
	}
	return raw(event)
}

// stamp writes a moment as engines read it.
func stamp(t time.Time) string { return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond()) }

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
