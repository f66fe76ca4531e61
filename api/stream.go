package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// stream passes the request to the engine that has the container. Its answer lasts
// as long as the container may; if the way there ends earlier, the client is told why.
func (a *API) stream(w http.ResponseWriter, c *call) {
	if t, ok := a.located(w, c, c.ref); ok {
		a.sendStream(w, c, t.Node, t.Container)
	}
}

func (a *API) sendStream(w http.ResponseWriter, c *call, node, ref string) {
	s := &stream{api: a, call: c, node: node}
	ctx, cut := context.WithCancelCause(context.WithValue(c.Context(), streamKey{}, s))
	s.cut = cut
	a.streams.begin(s)
	defer a.streams.end(s)
	defer s.spare.Wait()
	defer cut(nil)
	out := *c
	out.Request = c.WithContext(ctx)
	a.send(w, &out, node, ref)
}

const pathWait = "/containers/{}/wait"

// streamKey is the context key of the stream that a request opens.
type streamKey struct{}

// stream is an answer that goes on.
type stream struct {
	api  *API
	call *call  // the client's
	node string // it comes from; "" is from several
	cut  context.CancelCauseFunc

	lapsed atomic.Bool // the client's right to it
	spare  sync.WaitGroup
}

// Causes of the end of a stream that nobody else ended.
var (
	errDead     = errors.New("gossip and the node itself say that it is dead")
	errStopping = errors.New("this agent is stopping")
	errLapsed   = errors.New("the user was removed, or may do something else now")
)

// watch has the reader of an answer told when it breaks off. It is called by
// whatever proxy gets the answer on this node.
func (s *stream) watch(r *http.Response) {
	switch r.StatusCode {
	case http.StatusSwitchingProtocols:
		if way, ok := r.Body.(io.ReadWriteCloser); ok && r.Header.Get("Upgrade") == "tcp" {
			s.spareWay(r.Request.Context())
			r.Body = &hijacked{watched{ReadCloser: way, stream: s, frames: newFrames(r, s.call.version), end: io.EOF}, way}
		}
	case http.StatusOK:
		r.Body = &watched{ReadCloser: r.Body, stream: s, frames: newFrames(r, s.call.version)}
	}
}

// spareWay has a connection to the node ready when the stream has taken over the one
// that there was: docker exec asks for the exit code next, and would wait for TLS.
func (s *stream) spareWay(ctx context.Context) {
	if s.node != s.api.cfg.Self {
		s.spare.Go(func() { s.api.hosts.get(ctx, s.node, pathHere, nil) }) // an error is a way that is not ready
	}
}

// watched is the body of a stream.
type watched struct {
	io.ReadCloser
	stream *stream
	frames frames
	end    error  // after the last words; nil: what broke it
	words  []byte // that are left to say
	broken bool
	over   atomic.Bool
}

// Read reads the stream and, if that breaks off, the sentence that says so.
func (b *watched) Read(p []byte) (int, error) {
	if !b.broken {
		n, err := b.ReadCloser.Read(p)
		b.frames.pass(p[:n])
		if err == nil {
			return n, nil
		}
		if err == io.EOF || b.stream.call.Context().Err() != nil {
			b.over.Store(true)
			return n, err
		}
		b.breakOff(err)
		if n > 0 {
			return n, nil
		}
	}
	if len(b.words) == 0 {
		b.over.Store(true)
		return 0, b.end
	}
	n := copy(p, b.words)
	b.words = b.words[n:]
	return n, nil
}

func (b *watched) breakOff(err error) {
	b.broken = true
	if b.end == nil {
		b.end = err
	}
	sentence := b.stream.sentence()
	c := b.stream.call
	if c.row.path == pathWait {
		// Not JSON: docker then takes the body for the error's text, and fails.
		b.words, b.end = []byte(sentence+"\n"), io.EOF
		return
	}
	b.words = b.frames.words(sentence)
	if c.row.path == pathExecStart && (!b.frames.begun || len(b.words) == 0) {
		b.stream.api.execs.breakOff(c.ref, sentence)
	}
}

// hijacked is a watched connection.
type hijacked struct {
	watched
	way io.ReadWriteCloser
}

// Write passes on what the client sends. What can no more be passed on is dropped
// until the client has been told.
func (h *hijacked) Write(p []byte) (int, error) {
	n, err := h.way.Write(p)
	if err != nil && !h.over.Load() {
		return len(p), nil
	}
	return n, err
}

// CloseWrite tells the container that there is no more to read.
func (h *hijacked) CloseWrite() error {
	if half, ok := h.way.(interface{ CloseWrite() error }); ok {
		if err := half.CloseWrite(); err != nil && h.over.Load() {
			return err
		}
	}
	return nil
}

// sentence says why the stream broke off, as far as that can be found out.
func (s *stream) sentence() string {
	return fmt.Sprintf("ddocker: %s; the container may still run there: see \"ddocker nodes\"", s.cause())
}

func (s *stream) cause() string {
	name := s.api.hosts.name(s.node)
	if s.lapsed.Load() {
		return s.call.caller.Name + " was removed from the cluster's users, or has another role now"
	}
	if s.api.streams.stopping.Load() {
		return fmt.Sprintf("the agent of host %s, which passed on what came from host %s, is stopping", s.api.cfg.Name, name)
	}
	if s.node == s.api.cfg.Self {
		return fmt.Sprintf("the Docker Engine of host %s broke off", name)
	}
	ctx, cancel := context.WithTimeout(s.call.Context(), patience)
	defer cancel()
	if _, err := s.api.hosts.do(ctx, http.MethodGet, s.node, pathHere, nil); err != nil {
		var late net.Error
		if errors.As(err, &late) && late.Timeout() || errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH) {
			return fmt.Sprintf("host %s stopped answering", name)
		}
		return fmt.Sprintf("the agent of host %s stopped answering", name) // its machine refused
	}
	if _, err := s.api.hosts.do(ctx, http.MethodGet, s.node, "/_ping", nil); err != nil {
		return fmt.Sprintf("the Docker Engine of host %s stopped answering", name)
	}
	return fmt.Sprintf("the connection to host %s broke off", name)
}

// streams are those that are open.
type streams struct {
	stopping atomic.Bool

	mu   sync.Mutex // guards what follows
	open map[*stream]bool
}

func (s *streams) begin(one *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[*stream]bool{}
	}
	s.open[one] = true
	if s.stopping.Load() {
		one.cut(errStopping)
	}
}

func (s *streams) end(one *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, one)
}

// from returns the open streams, by the node they come from.
func (s *streams) from() map[string][]*stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := map[string][]*stream{}
	for one := range s.open {
		from[one.node] = append(from[one.node], one)
	}
	return from
}

const (
	// deadEvery is how often streams are looked after whose node gossip calls dead:
	// it knows sooner than the connection; and those whose client may be nobody any more.
	deadEvery = time.Second
	// partingTime is how long an agent that stops waits for clients to be told.
	partingTime = 500 * time.Millisecond
)

// lapse ends the streams of those who are no users any more, or have another role: they
// may open others, if they may.
func (s *streams) lapse(a *API) {
	for _, open := range s.from() {
		for _, one := range open {
			if now, err := a.cfg.Caller(one.call.Request); err != nil || now.Role != one.call.caller.Role {
				one.lapsed.Store(true)
				one.cut(errLapsed)
			}
		}
	}
}

// run ends streams that come from nodes which have died or go to nobody, and all when
// ctx ends.
func (s *streams) run(ctx context.Context, a *API) {
	tick := time.NewTicker(deadEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.part()
			return
		}
		s.lapse(a)
		for node, open := range s.from() {
			if node == "" || node == a.cfg.Self || a.cfg.Alive(node) {
				continue
			}
			if _, err := a.hosts.get(ctx, node, pathHere, nil); err == nil {
				continue
			}
			for _, one := range open {
				one.cut(errDead)
			}
		}
	}
}

// part ends all streams and gives their clients a moment to hear of it.
func (s *streams) part() {
	s.stopping.Store(true)
	for _, open := range s.from() {
		for _, one := range open {
			one.cut(errStopping)
		}
	}
	limit := time.NewTimer(partingTime)
	defer limit.Stop()
	tick := time.NewTicker(partingTime / 20)
	defer tick.Stop()
	for len(s.from()) > 0 {
		select {
		case <-tick.C:
		case <-limit.C:
			return
		}
	}
}
