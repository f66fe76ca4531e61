package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"ddocker/crash"
)

// joinTimeout is how long a receiver may take to say whether it forwards a layer.
const joinTimeout = 5 * time.Second

// What the path of a layer may end with.
const (
	asItIs   = ""          // or be told who forwards it
	directly = "?direct=1" // from that node itself
	joining  = "?join=1"   // from where that node is: it is a receiver
)

// intake is one layer that comes in, through its flow.
type intake struct {
	*transfer
	layer Layer
	flow  *flow
}

// rest is what is still to come.
func (in *intake) rest() span { return span{in.flow.position(), in.layer.Size} }

// drain writes the layer as it comes.
func (in *intake) drain(ctx context.Context, w io.Writer) error {
	for done := int64(0); ; {
		p, err := in.flow.next(ctx)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := w.Write(p); err != nil {
			return err
		}
		in.cfg.Crash.At(crash.ImageComing)
		in.flow.taken(len(p))
		done += int64(len(p))
		in.flight.news.move(in.layer.DiffID, done, in.layer.Size)
	}
}

// fill gets the layer from one holder after another, each going on at the byte
// where the last one was lost. Only the first request may be led to a receiver:
// nobody follows this flow yet, so receivers never wait for each other in a circle.
func (in *intake) fill(ctx context.Context) error {
	way := asItIs
	if in.roster.again {
		way = directly
	}
	for at := int64(0); at < in.layer.Size; at = in.flow.position() {
		node, err := in.roster.next()
		if err != nil {
			return err
		}
		err = in.stretch(ctx, node, way)
		way = directly
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			in.cfg.Logger.Debug("a layer goes on from elsewhere", "layer", in.layer.DiffID, "lost", node, "err", err)
			in.roster.fail(node, in.flow.position()-at, err)
		default:
			in.roster.good(node)
		}
	}
	return nil
}

// stretch gets the rest of the layer from a holder, or from whom it leads to.
func (in *intake) stretch(ctx context.Context, node, way string) error {
	s, err := in.open(ctx, node, in.rest(), way)
	var led *ledError
	if errors.As(err, &led) {
		err = in.follow(ctx, node, led.to)
		if err == nil || ctx.Err() != nil {
			return err
		}
		in.cfg.Logger.Debug("a layer is not forwarded", "layer", in.layer.DiffID, "by", led.to, "err", err)
		s, err = in.open(ctx, node, in.rest(), directly)
	}
	if err != nil {
		return err
	}
	defer s.Close()
	return in.pour(ctx, s, in.layer.Size)
}

// follow gets the layer from a receiver of it. What the receiver no longer has in
// its window comes from the holder first.
func (in *intake) follow(ctx context.Context, holder, receiver string) error {
	if receiver == in.cfg.Self || in.roster.strikes[receiver] > 0 {
		return errors.New("not to be asked")
	}
	s, err := in.open(ctx, receiver, in.rest(), joining)
	if err != nil {
		return err
	}
	defer s.Close()
	if s.at > in.flow.position() {
		before, err := in.open(ctx, holder, span{in.flow.position(), s.at}, directly)
		if err != nil {
			return err
		}
		err = in.pour(ctx, before, s.at)
		before.Close()
		if err != nil {
			return err
		}
	}
	return in.pour(ctx, s, in.layer.Size)
}

// pour fills the flow from a stream up to a byte of the layer.
func (in *intake) pour(ctx context.Context, s *stream, to int64) error {
	if !slices.Contains(in.senders, s.node) {
		in.senders = append(in.senders, s.node)
	}
	for at := in.flow.position(); at < to; {
		p, err := in.flow.space(ctx)
		if err != nil {
			return err
		}
		n, err := s.Read(p[:min(int64(len(p)), to-at)])
		if n > 0 {
			in.flow.filled(n)
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

// open asks a node for a part of the layer.
func (in *intake) open(ctx context.Context, node string, asked span, way string) (*stream, error) {
	q := question{
		path: "/rpc/image/" + in.image.ID + "/layer/" + in.layer.Chain + way,
		part: fmt.Sprintf("bytes=%d-%d", asked.from, asked.to-1), silence: stallTimeout,
	}
	if way == joining {
		q.silence = joinTimeout
	}
	a, err := in.get(ctx, node, q)
	if err != nil {
		return nil, err
	}
	switch to := a.Header.Get(forwarderHeader); {
	case a.StatusCode == http.StatusTemporaryRedirect && to != "" && way == asItIs:
		err = &ledError{to}
	case a.StatusCode != http.StatusPartialContent:
		err = a.refusal()
	default:
		at, rangeErr := in.ranged(a, asked.from, way)
		if rangeErr == nil {
			return &stream{a, at}, nil
		}
		err = rangeErr
	}
	a.Close()
	return nil, err
}

// ranged checks what part of the layer an answer says it is.
func (in *intake) ranged(a *answer, from int64, way string) (at int64, err error) {
	var last, size int64
	if _, err := fmt.Sscanf(a.Header.Get("Content-Range"), "bytes %d-%d/%d", &at, &last, &size); err != nil {
		return 0, lie("it answers %.80q for a part of a layer", a.Header.Get("Content-Range"))
	}
	switch other := at != from && (way != joining || at < from || at >= in.layer.Size); {
	case size != in.layer.Size && a.node == in.author:
		return 0, lie("layer %s has %d bytes now and %d before", short(in.layer.DiffID), size, in.layer.Size)
	case size != in.layer.Size:
		return 0, &disputedError{fmt.Errorf("it says that layer %s has %d bytes, node %s says %d", short(in.layer.DiffID), size, in.author, in.layer.Size)}
	case other:
		return 0, lie("it sends a layer from byte %d, not %d", at, from)
	}
	return at, nil
}
