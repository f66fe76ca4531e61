package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ddocker/consensus/ledger"
)

const (
	// patience is how long a list waits for a host, once: with all that comes
	// beside it a list is there within a second.
	patience = 900 * time.Millisecond
	// probeEvery is how often a host is asked that did not answer.
	probeEvery = 2 * time.Second
	// maxAnswer bounds an answer that is read whole, in bytes.
	maxAnswer = 64 << 20
)

// hosts asks many engines at once, and remembers which did not answer: a dead or
// hung host costs one bounded wait, and is then not waited for until it answers
// a probe.
type hosts struct {
	api    *API
	silent chan string // hosts to probe until they answer
	asking atomic.Bool // all of them, by askAll

	mu     sync.Mutex           // guards what follows
	missed map[string]bool      // did not answer in time
	cut    map[string]bool      // could not even be connected to
	heard  map[string]time.Time // last answered
	speak  map[string]apiRange  // what their engines speak, as far as they told
}

func newHosts(a *API) *hosts {
	return &hosts{api: a, silent: make(chan string, 64), missed: map[string]bool{}, cut: map[string]bool{}, heard: map[string]time.Time{}, speak: map[string]apiRange{}}
}

// host is a node as lists need it.
type host struct{ id, name string }

// all returns every node of the cluster, by name. This one is always among them:
// after a start without a quorum the ledger knows nobody yet.
func (h *hosts) all() []host {
	var list []host
	h.api.cfg.Log.View(func(l *ledger.Ledger) {
		for _, n := range l.Nodes() {
			list = append(list, host{n.Node, n.Name})
		}
	})
	self := host{h.api.cfg.Self, h.api.cfg.Name}
	if !slices.ContainsFunc(list, func(n host) bool { return n.id == self.id }) {
		list = append(list, self)
	}
	return list
}

// answers says whether the node is worth waiting for.
func (h *hosts) answers(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.missed[id] && (id == h.api.cfg.Self || h.api.cfg.Alive(id))
}

func (h *hosts) miss(id string) {
	h.mu.Lock()
	known := h.missed[id]
	h.missed[id] = true
	h.mu.Unlock()
	if known {
		return
	}
	select {
	case h.silent <- id:
	default:
		h.found(id) // more silent hosts than are looked after: ask it again next time
	}
}

// unreached notes that the node could not be connected to.
func (h *hosts) unreached(id string) {
	h.mu.Lock()
	h.cut[id] = true
	h.mu.Unlock()
	h.miss(id)
}

// hear notes that the node answered.
func (h *hosts) hear(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.heard[id] = time.Now()
}

// there says whether the node answers now, before it is asked for what must not
// be asked twice: on a connection to a machine that was unplugged since, a
// request would be neither refused nor answered.
func (h *hosts) there(ctx context.Context, id string) error {
	h.mu.Lock()
	lately := time.Since(h.heard[id]) < time.Second
	h.mu.Unlock()
	if lately || id == h.api.cfg.Self {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := h.do(ctx, http.MethodGet, id, pathHere, nil)
	return err
}

// askAll finds out which nodes do not answer now, of those that are thought to, unless that
// is being found out already.
func (h *hosts) askAll(ctx context.Context) {
	if !h.asking.CompareAndSwap(false, true) {
		return
	}
	defer h.asking.Store(false)
	var asking sync.WaitGroup
	for _, one := range h.all() {
		if one.id != h.api.cfg.Self && h.answers(one.id) {
			asking.Go(func() {
				if _, err := h.get(ctx, one.id, pathHere, nil); err != nil && ctx.Err() == nil {
					h.unreached(one.id)
				}
			})
		}
	}
	asking.Wait()
}

// Reachable says whether the node could be connected to when it was last tried:
// gossip needs seconds to notice that it cannot.
func (a *API) Reachable(id string) bool {
	a.hosts.mu.Lock()
	defer a.hosts.mu.Unlock()
	return !a.hosts.cut[id]
}

func (h *hosts) found(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.missed, id)
	delete(h.cut, id)
}

// run probes the hosts that did not answer.
func (h *hosts) run(ctx context.Context, running *sync.WaitGroup) {
	for {
		select {
		case id := <-h.silent:
			running.Go(func() { h.probe(ctx, id) })
		case <-ctx.Done():
			return
		}
	}
}

func (h *hosts) probe(ctx context.Context, id string) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		var gone bool // for good
		h.api.cfg.Log.View(func(l *ledger.Ledger) { gone = l.GoneNode(id) != nil })
		if !gone {
			if _, err := h.get(ctx, id, "/_ping", nil); err != nil {
				continue
			}
		}
		h.found(id)
		return
	}
}

// statusError is an engine's own refusal.
type statusError struct {
	status  int
	message string
}

// Error returns the engine's own sentence.
func (e *statusError) Error() string { return e.message }

// get asks one node's engine and returns the body of a 200.
func (h *hosts) get(ctx context.Context, id, path string, query url.Values) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return h.do(ctx, http.MethodGet, id, path, query)
}

func (h *hosts) do(ctx context.Context, method, id, path string, query url.Values) ([]byte, error) {
	_, body, err := h.exchange(ctx, method, id, path, query)
	return body, err
}

func (h *hosts) exchange(ctx context.Context, method, id, path string, query url.Values) (http.Header, []byte, error) {
	u := url.URL{Scheme: "http", Host: "ddocker", Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, nil, err
	}
	resp, err := h.transport(id).RoundTrip(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	h.hear(id)
	h.upgraded(id, resp.Header.Get("Api-Version"))
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, nil, err
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		var m struct{ Message string }
		if json.Unmarshal(body, &m); m.Message == "" {
			m.Message = http.StatusText(resp.StatusCode)
		}
		return nil, nil, &statusError{resp.StatusCode, m.Message}
	}
	return resp.Header, body, nil
}

func (h *hosts) transport(id string) http.RoundTripper {
	if id == h.api.cfg.Self {
		return inProcess{h.api.local}
	}
	return h.api.cfg.Peer(id)
}

// answer is what one host said.
type answer struct {
	host
	header http.Header
	body   []byte
	err    error
}

var errSilent = errors.New("does not answer")

// each asks all hosts the same at once, and returns one answer a host, by name.
func (h *hosts) each(ctx context.Context, path string, query url.Values) []answer {
	list := h.all()
	answers := make([]answer, len(list))
	var asking sync.WaitGroup
	for i, one := range list {
		answers[i] = answer{host: one, err: errSilent}
		if !h.answers(one.id) {
			continue
		}
		asking.Go(func() {
			a := &answers[i]
			soon, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			a.header, a.body, a.err = h.exchange(soon, http.MethodGet, one.id, path, query)
			if a.err != nil && ctx.Err() == nil && !answered(a.err) {
				h.miss(one.id)
			}
		})
	}
	asking.Wait()
	return answers
}

// answered says whether the error is an engine's own, and not of the way to it.
func answered(err error) bool {
	var refused *statusError
	return errors.As(err, &refused) && refused.status != http.StatusBadGateway
}

// name returns what people call the node.
func (h *hosts) name(id string) string {
	name := id
	h.api.cfg.Log.View(func(l *ledger.Ledger) {
		if n := l.Node(id); n != nil {
			name = n.Name
		}
	})
	return name
}

// HasImage asks one node's engine for an image, by name or ID. It ends within a
// second.
func (a *API) HasImage(ctx context.Context, node, ref string) bool {
	if !reference.MatchString(ref) {
		return false
	}
	_, err := a.hosts.get(ctx, node, "/images/"+ref+"/json", nil)
	return err == nil
}

// unreachable is the answer for a container whose host is away.
func (a *API) unreachable(w http.ResponseWriter, name, node string) {
	fail(w, http.StatusServiceUnavailable, "container %s is on host %s, which does not answer: see \"ddocker nodes\"", name, a.hosts.name(node))
}

// inProcess carries requests to a handler of this process, whose answers are
// short enough to be kept whole.
type inProcess struct{ handler http.Handler }

// RoundTrip has the handler answer, and returns when it has.
func (p inProcess) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	defer func() {
		switch v := recover(); v {
		case nil:
		case http.ErrAbortHandler:
			resp, err = nil, errors.New("ask this node's engine: its answer broke off")
		default:
			panic(v)
		}
	}()
	// Under a server, which this stands for, a proxy tells of a broken answer by
	// a panic; else not at all.
	r = r.WithContext(context.WithValue(r.Context(), http.ServerContextKey, new(http.Server)))
	w := &record{header: http.Header{}, status: http.StatusOK}
	p.handler.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, fmt.Errorf("ask this node's engine: %w", err)
	}
	return w.response(r), nil
}
