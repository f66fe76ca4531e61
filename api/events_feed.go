package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"
)

const (
	// resumeEvery is how often a host whose events broke off is tried again, once
	// it is worth asking.
	resumeEvery = 500 * time.Millisecond
	// maxSeen is how many events of a host are remembered, to be told once: more than
	// an engine keeps.
	maxSeen = 512
)

// feed is the events of one host on their way to a stream. It goes on where it
// broke off: an engine keeps its last 256 events.
type feed struct {
	host
	stream *eventStream
	since  time.Time // what to ask for, by the clock of the host; zero: from now on
	first  time.Time // nothing before this was asked for
	ready  bool
	over   bool
	trials trials
	seen   map[string]bool
	order  []string // the keys of seen, oldest first
}

// run tells the stream of the host's events until ctx ends, or they do.
func (f *feed) run(ctx context.Context) {
	f.first, f.seen, f.trials = f.since, map[string]bool{}, trials{}
	tick := time.NewTicker(resumeEvery)
	defer tick.Stop()
	for {
		until := f.stream.until
		last := !until.IsZero() && !time.Now().Before(until)
		if f.stream.api.hosts.answers(f.id) {
			f.follow(ctx)
		}
		if f.over {
			return
		}
		if last || !f.ready { // it is not waited for; what it has to tell comes later
			f.mark(ctx, arrival{ready: !f.ready, over: last})
		}
		if last {
			return
		}
		if f.since.IsZero() {
			f.since, f.first = f.stream.began, f.stream.began
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// follow asks the host once, and returns when its stream has ended or broken.
func (f *feed) follow(parent context.Context) {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	silence := time.AfterFunc(patience, func() {
		f.stream.api.hosts.miss(f.id)
		cancel()
	})
	defer silence.Stop()
	live := false
	err := f.stream.api.watch(ctx, f.id, f.stream.version, f.stream.query(f.since), func(line eventLine) error {
		if live = live || line.Now != 0; live {
			silence.Stop()
		} else {
			silence.Reset(patience)
		}
		return f.take(ctx, line, live)
	})
	var refused *statusError
	switch {
	case f.over:
	case errors.As(err, &refused) && refused.status/100 == 4 && !f.ready:
		f.over = true
		f.mark(parent, arrival{ready: true, over: true, err: err})
	case !live && !answered(err) && parent.Err() == nil:
		f.stream.api.hosts.miss(f.id)
	}
}

// take looks at one line.
func (f *feed) take(ctx context.Context, line eventLine, live bool) error {
	if line.Event == nil {
		if f.since.IsZero() && line.Now != 0 {
			f.since = time.Unix(0, line.Now)
			f.first = f.since
		}
		f.over = line.Over
		if !f.ready || f.over {
			f.mark(ctx, arrival{ready: !f.ready, over: f.over})
		}
		return nil
	}
	if f.trials.hide(line.Event) || !f.stream.hears(ctx, line.Event) {
		return nil
	}
	one, key, err := decorate(line.Event, f.name)
	if err != nil {
		f.stream.api.log.Debug("event is passed over", "host", f.name, "err", err)
		return nil
	}
	if f.seen[key] {
		return nil
	}
	f.remember(key)
	f.since = latest(f.since, latest(f.first, time.Unix(0, one.at).Add(-eventOverlap)))
	if !live {
		return f.mark(ctx, one)
	}
	select {
	case f.stream.arrived <- one:
		return nil
	default:
		f.stream.cut(errSlow)
		return errSlow
	}
}

// mark tells the stream something that it waits for.
func (f *feed) mark(ctx context.Context, one arrival) error {
	f.ready = f.ready || one.ready
	select {
	case f.stream.arrived <- one:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *feed) remember(key string) {
	f.seen[key] = true
	if f.order = append(f.order, key); len(f.order) > maxSeen {
		delete(f.seen, f.order[0])
		f.order = f.order[1:]
	}
}

// watch calls each for every line of a node's events.
func (a *API) watch(ctx context.Context, node, version string, query url.Values, each func(eventLine) error) error {
	if node == a.cfg.Self {
		return a.local.watch(ctx, version, query, each)
	}
	u := url.URL{Scheme: "http", Host: "ddocker", Path: pathEvents, RawQuery: query.Encode()}
	if version != "" {
		u.Path = "/v" + version + u.Path
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	resp, err := a.cfg.Peer(node).RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusMultipleChoices {
		return refusalOf(resp)
	}
	a.hosts.hear(node)
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 2*maxLine)
	for lines.Scan() {
		var line eventLine
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return err
		}
		if err := each(line); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.ErrUnexpectedEOF // only a mark ends them
}
