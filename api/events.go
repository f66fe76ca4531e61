package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	timestamp "github.com/docker/docker/api/types/time"
)

const (
	// maxWaiting is how many events may wait for a reader, as in an engine. One that
	// is slower is cut.
	maxWaiting = 1024
	// writeTimeout is how long a reader may take nothing of what waits for it.
	writeTimeout = 10 * time.Second
	// hearing is how long a stream waits for its feeds, each of which waits for its
	// host as a list does: what they find out is heard of first.
	hearing = patience + 50*time.Millisecond
	// newHostsEvery is how often a stream of events looks for hosts that have joined.
	newHostsEvery = time.Second
)

// errSlow is the cause of the end of a stream whose reader does not keep up.
var errSlow = errors.New("the reader of the events is too slow")

// eventStream is the events of all hosts on their way to one client.
type eventStream struct {
	api     *API
	hears   func(ctx context.Context, event []byte) bool // the client
	version string
	filters string    // as engines read them
	nodes   []string  // names or IDs of the hosts asked for; none is all
	since   time.Time // zero: from now on
	until   time.Time // zero: for ever
	began   time.Time

	cut     context.CancelCauseFunc
	arrived chan arrival // written to by the feeds, read by the handler alone
	feeds   map[string]bool
	running sync.WaitGroup
}

// arrival is what a feed tells: an event, or how far the feed is.
type arrival struct {
	line  []byte // an event as the client gets it; nil is a mark
	at    int64  // its time, in ns since 1970
	ready bool   // what follows is live, or comes later
	over  bool   // nothing follows
	err   error  // the engine's refusal
}

// events merges the events of all hosts: first what has happened, by its time,
// then what happens. Whatever happens after the client has got the headers is told.
func (a *API) events(w http.ResponseWriter, c *call) {
	s, err := a.eventStream(c)
	if err != nil {
		failWith(w, err)
		return
	}
	ctx, cut := context.WithCancelCause(c.Context())
	s.cut = cut
	one := &stream{call: c, cut: cut}
	a.streams.begin(one)
	defer a.streams.end(one)
	defer s.running.Wait()
	defer cut(nil)
	past, open, err := s.begin(ctx)
	if err != nil {
		failWith(w, err)
		return
	}
	out := http.NewResponseController(w)
	defer context.AfterFunc(ctx, func() { out.SetWriteDeadline(time.Now()) })()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	slices.SortStableFunc(past, func(x, y arrival) int { return cmp.Compare(x.at, y.at) })
	for _, one := range past {
		w.Write(one.line) // an error is a client that has gone, which ends ctx
	}
	if out.Flush() == nil && s.follow(ctx, w, out, open) {
		return
	}
	if errors.Is(context.Cause(ctx), errSlow) {
		a.log.Info("a reader of events is cut", "reason", errSlow)
	}
	panic(http.ErrAbortHandler) // so that nobody takes it for the end of the events
}

// eventStream reads what the client asks for.
func (a *API) eventStream(c *call) (*eventStream, error) {
	query := c.URL.Query()
	s := &eventStream{
		api: a, hears: newAudience(a, c).hears, version: c.version, began: time.Now(),
		arrived: make(chan arrival, maxWaiting), feeds: map[string]bool{},
	}
	for key, into := range map[string]*time.Time{"since": &s.since, "until": &s.until} {
		text := query.Get(key)
		if text == "" {
			continue
		}
		seconds, err := timestamp.GetTimestamp(text, s.began)
		if err != nil {
			return nil, invalid("invalid %s: %s", key, err)
		}
		*into = instant(seconds)
	}
	if !s.until.IsZero() && s.until.Before(s.since) {
		return nil, invalid("`since` time (%s) cannot be after `until` time (%s)", query.Get("since"), query.Get("until"))
	}
	f, err := parseFilters(query.Get("filters"))
	if err != nil {
		return nil, invalid("invalid filter: %s", err)
	}
	s.nodes = append(f.takeLabel(labelNode), f["node"]...)
	delete(f, "node")
	s.filters = f.String()
	return s, nil
}

// instant reads what stamp writes, and seconds without a fraction; else it is zero.
func instant(text string) time.Time {
	seconds, ns, err := timestamp.ParseTimestamps(text, 0)
	if text == "" || err != nil {
		return time.Time{}
	}
	return time.Unix(seconds, ns)
}

// begin starts the feeds and waits for their first marks, as long as a list waits.
// It returns what had happened before, and how many feeds have not ended.
func (s *eventStream) begin(ctx context.Context) (past []arrival, open int, err error) {
	waiting := s.start(ctx, s.since)
	open = waiting
	enough := time.NewTimer(hearing)
	defer enough.Stop()
	for waiting > 0 {
		select {
		case one := <-s.arrived:
			switch {
			case one.err != nil:
				return nil, 0, one.err
			case one.line != nil:
				past = append(past, one)
			}
			if one.ready {
				waiting--
			}
			if one.over {
				open--
			}
		case <-enough.C:
			return past, open, nil
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
	return past, open, nil
}

// start starts feeds of the hosts that have none yet, and returns how many.
func (s *eventStream) start(ctx context.Context, since time.Time) (started int) {
	for _, h := range s.api.hosts.all() {
		if s.feeds[h.id] || len(s.nodes) > 0 && !slices.Contains(s.nodes, h.name) && !slices.Contains(s.nodes, h.id) {
			continue
		}
		s.feeds[h.id] = true
		started++
		f := &feed{host: h, stream: s, since: since}
		s.running.Go(func() { f.run(ctx) })
	}
	return started
}

// follow passes events on as they come. It returns true at the end that the client
// asked for.
func (s *eventStream) follow(ctx context.Context, w http.ResponseWriter, out *http.ResponseController, open int) (ended bool) {
	var end <-chan time.Time
	if !s.until.IsZero() {
		// Hosts end by themselves. Those that do not are waited for no longer than
		// for a list.
		timer := time.NewTimer(time.Until(latest(s.until, s.began)) + hearing)
		defer timer.Stop()
		end = timer.C
	}
	tick := time.NewTicker(newHostsEvery)
	defer tick.Stop()
	for open > 0 || end == nil {
		select {
		case one := <-s.arrived:
			over, err := s.write(w, out, one)
			if err != nil {
				return false
			}
			open -= over
		case <-tick.C:
			open += s.start(ctx, latest(s.since, s.began))
		case <-end:
			return true
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// write writes the first and all that waits behind it, and returns how many feeds
// have ended.
func (s *eventStream) write(w http.ResponseWriter, out *http.ResponseController, first arrival) (over int, err error) {
	out.SetWriteDeadline(time.Now().Add(writeTimeout))
	for one, more := first, true; more; {
		if one.over {
			over++
		}
		if one.line != nil {
			if _, err := w.Write(one.line); err != nil {
				return over, err
			}
		}
		select {
		case one = <-s.arrived:
		default:
			more = false
		}
	}
	if err := out.Flush(); err != nil {
		return over, err
	}
	return over, out.SetWriteDeadline(time.Time{})
}

// query is what a host is asked for.
func (s *eventStream) query(since time.Time) url.Values {
	query := url.Values{"filters": {s.filters}}
	if !since.IsZero() {
		query.Set("since", stamp(since))
	}
	if !s.until.IsZero() {
		query.Set("until", stamp(s.until))
	}
	return query
}

// decorate returns the event as the client gets it, with the host among what it
// says of its actor, and its time. The key tells it from all others.
func decorate(event []byte, on string) (one arrival, key string, err error) {
	var e, actor row
	if e, err = object(event); err != nil {
		return one, "", err
	}
	if actor, err = object(e["Actor"]); err != nil {
		actor = row{}
	}
	about, err := object(actor["Attributes"])
	if err != nil {
		about = row{}
	}
	about[labelNode] = raw(on)
	actor["Attributes"] = raw(about)
	e["Actor"] = raw(actor)
	if one.at, err = strconv.ParseInt(string(e["timeNano"]), 10, 64); err != nil {
		return one, "", err
	}
	one.line = append(raw(e), '\n')
	key = string(e["timeNano"]) + string(e["Type"]) + string(e["Action"]) + string(actor["ID"])
	return one, key, nil
}

// object reads an object's fields.
func object(text []byte) (row, error) {
	fields := row{}
	if err := json.Unmarshal(text, &fields); err != nil || fields == nil {
		return row{}, errors.Join(err, errNoObject)
	}
	return fields, nil
}

var errNoObject = errors.New("not an object")
