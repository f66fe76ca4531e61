package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"time"
)

const (
	// stallTimeout is how long a node that is asked may send nothing.
	stallTimeout = 30 * time.Second
	// maxErrorText bounds what is read of a refusal, in bytes.
	maxErrorText = 1 << 10
)

// answer is a node's reply, whose body is read under a watch: it breaks off when
// nothing comes for stallTimeout.
type answer struct {
	*http.Response
	node   string
	ctx    context.Context
	cancel context.CancelCauseFunc
	watch  *time.Timer
}

// question is what a node is asked for.
type question struct {
	path    string
	part    string        // a Range; empty for all
	silence time.Duration // how long the node may say nothing before it answers
}

// get asks a node. One that works on its answer for long breaks its silence by
// saying so.
func (m *Mover) get(ctx context.Context, node string, q question) (*answer, error) {
	way := m.cfg.Peer(node)
	if way == nil {
		return nil, errors.New("there is no way to it")
	}
	a := &answer{node: node}
	a.ctx, a.cancel = context.WithCancelCause(ctx)
	a.watch = time.AfterFunc(q.silence, func() { a.cancel(errStalled) })
	trace := &httptrace.ClientTrace{Got1xxResponse: func(int, textproto.MIMEHeader) error {
		a.watch.Reset(stallTimeout)
		return nil
	}}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(a.ctx, trace), http.MethodGet, "http://node"+q.path, nil)
	if err == nil {
		if q.part != "" {
			req.Header.Set("Range", q.part)
		}
		a.Response, err = way.RoundTrip(req)
	}
	a.watch.Stop()
	if err != nil {
		err = a.cause(err)
		a.cancel(nil)
		return nil, err
	}
	return a, nil
}

// cause returns why a call was broken off, if it was.
func (a *answer) cause(err error) error {
	if cause := context.Cause(a.ctx); cause != nil {
		return cause
	}
	return err
}

// Read reads the body.
func (a *answer) Read(p []byte) (int, error) {
	a.watch.Reset(stallTimeout)
	n, err := a.Body.Read(p)
	a.watch.Stop()
	if err != nil && err != io.EOF {
		err = a.cause(err)
	}
	return n, err
}

// Close ends the call.
func (a *answer) Close() {
	a.watch.Stop()
	a.cancel(nil)
	a.Body.Close()
}

// refusal is the error of an answer that is none.
func (a *answer) refusal() error {
	text, _ := io.ReadAll(io.LimitReader(a, maxErrorText)) // what came is enough
	err := fmt.Errorf("%s: %s", a.Status, strings.TrimSpace(string(text)))
	if a.StatusCode == http.StatusNotFound {
		return fmt.Errorf("%w there (%w)", ErrUnknown, err)
	}
	return err
}
