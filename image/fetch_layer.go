package image

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"slices"
	"time"
)

// joinTimeout is how long a receiver may take to say whether it forwards a layer.
const joinTimeout = 5 * time.Second

// What the path of a layer may end with.
const (
	asItIs   = ""          // or be told who forwards it
	directly = "?direct=1" // from that node itself
	joining  = "?join=1"   // from where that node is: it is a receiver
)

// layer brings one layer: to w, to whoever follows, and into a hash, in one pass.
func (t *transfer) layer(ctx context.Context, l Layer, w io.Writer) (err error) {
	defer func() { t.err = errors.Join(t.err, err) }()
	t.flight.news.step(l.DiffID, StatusComing, l.Size)
	t.senders = nil
	sum := sha256.New()
	if l.Size > 0 {
		err = t.receive(ctx, l, sum, w)
	}
	if err != nil {
		return err
	}
	if got := digestOf(sum.Sum(nil)); got != l.DiffID {
		if len(t.senders) == 0 {
			t.senders = []string{t.author}
		}
		err := &damagedError{layer: l.DiffID, got: got}
		t.roster.blame(t.senders, err)
		return err
	}
	t.roster.progress()
	t.verified[l.DiffID] = true
	t.flight.news.step(l.DiffID, StatusDownloaded, 0)
	return nil
}

// receive lets the layer flow through a window: one goroutine fills it, this one
// hashes and writes.
func (t *transfer) receive(ctx context.Context, l Layer, sum hash.Hash, w io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	fl := t.openFlow(part{t.image.ID, l.Chain}, l.Size)
	full := make(chan struct{})
	go func() {
		defer close(full)
		if err := t.fill(ctx, fl, l); err != nil {
			fl.fail(err)
		}
	}()
	err := t.drain(ctx, fl, l, sum, w)
	if err != nil {
		fl.fail(err)
	}
	cancel()
	<-full
	t.closeFlow(part{t.image.ID, l.Chain}, fl)
	return err
}

func (m *Mover) openFlow(p part, size int64) *flow {
	var fl *flow
	if size < windowSize {
		fl = newFlow(size, make([]byte, size), func([]byte) {})
	} else {
		ring := m.rings.Get().(*[]byte)
		fl = newFlow(size, *ring, func([]byte) { m.rings.Put(ring) })
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.flows[p] = fl
	return fl
}

// closeFlow lets nobody follow the flow any more. Those who do go on to its end.
func (m *Mover) closeFlow(p part, fl *flow) {
	m.mu.Lock()
	delete(m.flows, p)
	m.mu.Unlock()
	fl.leave()
}

// drain writes the layer as it comes.
func (t *transfer) drain(ctx context.Context, fl *flow, l Layer, sum hash.Hash, w io.Writer) error {
	for done := int64(0); ; {
		p, err := fl.next(ctx)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		sum.Write(p)
		if _, err := w.Write(p); err != nil {
			return err
		}
		fl.taken(len(p))
		done += int64(len(p))
		t.flight.news.move(l.DiffID, done, l.Size)
	}
}

// fill gets the layer from one holder after another, each going on at the byte
// where the last one was lost. Only the first request may be led to a receiver:
// nobody follows this flow yet, so receivers never wait for each other in a circle.
func (t *transfer) fill(ctx context.Context, fl *flow, l Layer) error {
	way := asItIs
	if t.roster.again {
		way = directly
	}
	for at := int64(0); at < l.Size; at = fl.position() {
		node, err := t.roster.next()
		if err != nil {
			return err
		}
		err = t.stretch(ctx, fl, l, node, way)
		way = directly
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			t.cfg.Logger.Debug("a layer goes on from elsewhere", "layer", l.DiffID, "lost", node, "err", err)
			t.roster.fail(node, fl.position()-at, err)
		default:
			t.roster.good(node)
		}
	}
	return nil
}

// stretch gets the rest of the layer from a holder, or from whom it leads to.
func (t *transfer) stretch(ctx context.Context, fl *flow, l Layer, node, way string) error {
	s, err := t.open(ctx, node, l, fl.position(), l.Size, way)
	var led *ledError
	if errors.As(err, &led) {
		err = t.follow(ctx, fl, l, node, led.to)
		if err == nil || ctx.Err() != nil {
			return err
		}
		t.cfg.Logger.Debug("a layer is not forwarded", "layer", l.DiffID, "by", led.to, "err", err)
		s, err = t.open(ctx, node, l, fl.position(), l.Size, directly)
	}
	if err != nil {
		return err
	}
	defer s.Close()
	return t.pour(ctx, fl, s, l.Size)
}

// follow gets the layer from a receiver of it. What the receiver no longer has in
// its window comes from the holder first.
func (t *transfer) follow(ctx context.Context, fl *flow, l Layer, holder, receiver string) error {
	if receiver == t.cfg.Self || t.roster.strikes[receiver] > 0 {
		return errors.New("not to be asked")
	}
	s, err := t.open(ctx, receiver, l, fl.position(), l.Size, joining)
	if err != nil {
		return err
	}
	defer s.Close()
	if s.at > fl.position() {
		before, err := t.open(ctx, holder, l, fl.position(), s.at, directly)
		if err != nil {
			return err
		}
		err = t.pour(ctx, fl, before, s.at)
		before.Close()
		if err != nil {
			return err
		}
	}
	return t.pour(ctx, fl, s, l.Size)
}

// pour fills the flow from a stream up to a byte of the layer.
func (t *transfer) pour(ctx context.Context, fl *flow, s *stream, to int64) error {
	if !slices.Contains(t.senders, s.node) {
		t.senders = append(t.senders, s.node)
	}
	for at := fl.position(); at < to; {
		p, err := fl.space(ctx)
		if err != nil {
			return err
		}
		n, err := s.Read(p[:min(int64(len(p)), to-at)])
		if n > 0 {
			fl.filled(n)
			at += int64(n)
		}
		if err != nil && at < to {
			return fmt.Errorf("lost at byte %d of %d: %w", at, to, err)
		}
	}
	return nil
}

// stream is a layer on its way from a node, from byte at on.
type stream struct {
	*answer
	at int64
}

// ledError says that another node forwards the layer.
type ledError struct{ to string }

func (e *ledError) Error() string { return "node " + e.to + " forwards it" }

// open asks a node for the bytes of a layer between two offsets.
func (t *transfer) open(ctx context.Context, node string, l Layer, from, to int64, way string) (*stream, error) {
	silence := stallTimeout
	if way == joining {
		silence = joinTimeout
	}
	asked := http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", from, to-1)}}
	a, err := t.get(ctx, node, "/rpc/image/"+t.image.ID+"/layer/"+l.Chain+way, asked, silence)
	if err != nil {
		return nil, err
	}
	switch to := a.Header.Get(forwarderHeader); {
	case a.StatusCode == http.StatusTemporaryRedirect && to != "" && way == asItIs:
		err = &ledError{to}
	case a.StatusCode != http.StatusPartialContent:
		err = a.refusal()
	default:
		at, rangeErr := t.ranged(a, l, from, way)
		if rangeErr == nil {
			return &stream{a, at}, nil
		}
		err = rangeErr
	}
	a.Close()
	return nil, err
}

// ranged checks what part of the layer an answer says it is.
func (t *transfer) ranged(a *answer, l Layer, from int64, way string) (at int64, err error) {
	var last, size int64
	if _, err := fmt.Sscanf(a.Header.Get("Content-Range"), "bytes %d-%d/%d", &at, &last, &size); err != nil {
		return 0, lie("it answers %.80q for a part of a layer", a.Header.Get("Content-Range"))
	}
	switch other := at != from && (way != joining || at < from || at >= l.Size); {
	case size != l.Size && a.node == t.author:
		return 0, lie("layer %s has %d bytes now and %d before", short(l.DiffID), size, l.Size)
	case size != l.Size:
		return 0, &disputedError{fmt.Errorf("it says that layer %s has %d bytes, node %s says %d", short(l.DiffID), size, t.author, l.Size)}
	case other:
		return 0, lie("it sends a layer from byte %d, not %d", at, from)
	}
	return at, nil
}
