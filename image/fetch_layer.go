package image

import (
	"cmp"
	"context"
	"crypto/sha256"
	"io"
)

// layer brings one layer: to w, to whoever follows, and into a hash, in one pass.
func (t *transfer) layer(ctx context.Context, l Layer, w io.Writer) (err error) {
	defer func() { t.err = cmp.Or(t.err, err) }()
	t.flight.news.step(l.DiffID, StatusComing, l.Size)
	t.senders = nil
	sum := sha256.New()
	if l.Size > 0 {
		err = t.receive(ctx, l, io.MultiWriter(sum, w))
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
// writes.
func (t *transfer) receive(ctx context.Context, l Layer, w io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in := intake{transfer: t, layer: l, flow: t.openFlow(part{t.image.ID, l.Chain}, l.Size)}
	full := make(chan struct{})
	go func() {
		defer close(full)
		if err := in.fill(ctx); err != nil {
			in.flow.fail(err)
		}
		in.flow.leave()
	}()
	err := in.drain(ctx, w)
	if err != nil {
		in.flow.fail(err)
	}
	cancel()
	<-full
	t.closeFlow(part{t.image.ID, l.Chain}, in.flow)
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
