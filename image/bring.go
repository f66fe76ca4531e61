package image

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"ddocker/crash"
)

// Want is one wish for an image.
type Want struct {
	// ID is the image's.
	ID string
	// Holders returns the IDs of the nodes that may have it, best first. It is
	// asked anew before each try.
	Holders func() []string
	// Keep gives the image a name. It runs when the image is here and verified,
	// and before Bring returns. Its error undoes what was brought. Nil: the image
	// stays without one.
	Keep func(context.Context) error
	// Report is told how far the image is, in the goroutine of Bring. It does not
	// hold up the transfer. Nil: nobody wants to know.
	Report func(Progress)
}

// Bring has an image here when it returns nil, verified and kept. It does nothing
// where the engine has it already, except Keep. Wants for one image at the same
// time share one load, which goes on while one of them is left: the ctx of all
// others may end. *NoRoomError and *HoldersError are among its errors; after any
// of them nothing that was brought is left.
func (m *Mover) Bring(ctx context.Context, want Want) error {
	if !isDigest(want.ID) {
		return fmt.Errorf("bring image %q: not an image's ID", want.ID)
	}
	for {
		f, c, err := m.join(want)
		if err != nil {
			return err
		}
		if c != nil {
			return m.accompany(ctx, f, c)
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// flight is one image on its way here, or being settled.
type flight struct {
	id     string
	news   board
	ctx    context.Context
	cancel context.CancelCauseFunc
	done   chan struct{} // closed at its end

	// Guarded by Mover.mu.
	callers []*caller
	sealed  bool // nobody joins any more
	landing bool // its outcome is being dealt with, whoever leaves
}

// caller is one Bring that waits for a flight. Its outcome is there when the
// flight is done.
type caller struct {
	want Want
	err  error
}

func newFlight(id string) *flight {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &flight{id: id, ctx: ctx, cancel: cancel, done: make(chan struct{})}
}

// join has a want join the flight of its image, begun if there is none. Without a
// caller, the flight is about to end: wait for that, and try again.
func (m *Mover) join(want Want) (*flight, *caller, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return nil, nil, fmt.Errorf("bring image %s: %w", short(want.ID), errStopped)
	}
	f := m.flights[want.ID]
	if f != nil && f.sealed {
		return f, nil, nil
	}
	c := &caller{want: want}
	if f == nil {
		f = newFlight(want.ID)
		m.flights[want.ID] = f
		m.calls.Go(func() { m.fly(f) })
	}
	f.callers = append(f.callers, c)
	return f, c, nil
}

// accompany reports on a flight until it ends or the caller leaves.
func (m *Mover) accompany(ctx context.Context, f *flight, c *caller) error {
	r := reader{board: &f.news}
	for over := false; ; {
		news, more := r.news()
		for _, p := range news {
			if c.want.Report != nil {
				c.want.Report(p)
			}
		}
		if over {
			return c.err
		}
		select {
		case <-more:
		case <-f.done:
			over = true
		case <-ctx.Done():
			m.leave(f, c)
			return context.Cause(ctx)
		}
	}
}

// leave takes a caller from a flight. The last one ends it and waits until nothing
// of it is left; but an image that has come by then is kept all the same.
func (m *Mover) leave(f *flight, c *caller) {
	m.mu.Lock()
	if f.landing {
		m.mu.Unlock()
		return
	}
	f.callers = slices.DeleteFunc(f.callers, func(other *caller) bool { return other == c })
	last := len(f.callers) == 0
	if last {
		f.sealed = true
	}
	m.mu.Unlock()
	if last {
		f.cancel(errLeft)
		<-f.done
	}
}

// seal lets nobody join any more and returns who did.
func (m *Mover) seal(f *flight) []*caller {
	m.mu.Lock()
	defer m.mu.Unlock()
	f.sealed, f.landing = true, true
	return slices.Clone(f.callers)
}

// land ends a flight.
func (m *Mover) land(f *flight) {
	m.mu.Lock()
	delete(m.flights, f.id)
	m.mu.Unlock()
	f.cancel(nil)
	close(f.done)
}

// fly brings the image and has it kept by all who wait for it.
func (m *Mover) fly(f *flight) {
	defer m.land(f)
	brought, err := m.obtain(f)
	callers := m.seal(f)
	kept := false
	for _, c := range callers {
		c.err = err
		if err == nil && c.want.Keep != nil {
			c.err = c.want.Keep(f.ctx)
		}
		kept = kept || c.err == nil
	}
	if !brought {
		return
	}
	if kept {
		m.cfg.Crash.At(crash.ImageNamed)
		err = m.journal.write(record{ID: f.id, Used: time.Now()})
	} else {
		err = m.scrap(f.ctx, f.id, f.ctx.Err() != nil)
	}
	m.cfg.Crash.At(crash.ImageKept)
	if err != nil {
		m.cfg.Logger.Warn("an image that was brought is not settled yet", "image", f.id, "kept", kept, "err", err)
	}
}

// obtain has the image in the engine when it returns nil, without a name. Brought
// says that it was not there before, or that nobody saw the end of its load.
func (m *Mover) obtain(f *flight) (brought bool, err error) {
	before, interrupted := m.journal.find(f.id)
	interrupted = interrupted && before.Loading
	_, err = m.diffIDs(f.ctx, f.id)
	switch {
	case err == nil:
		return interrupted, nil
	case !errors.Is(err, ErrUnknown):
		return false, fmt.Errorf("look for image %s here: %w", short(f.id), err)
	}
	select {
	case m.slots <- struct{}{}:
		defer func() { <-m.slots }()
	case <-f.ctx.Done():
		return false, context.Cause(f.ctx)
	}
	m.cfg.Crash.At(crash.ImageWanted)
	r := newRoster(f.id, m.cfg.Self, func() []string { return m.holders(f) })
	for {
		author, err := m.attempt(f, r)
		if cause := context.Cause(f.ctx); err != nil && cause != nil {
			return false, cause
		}
		switch err.(type) { // as it is: what is wrapped is only a reason
		case nil:
			return true, nil
		case *damagedError: // whoever sent it has been blamed
		case *disputedError:
			r.ban(author, err)
		default:
			return false, err
		}
		r.again = true
		m.cfg.Logger.Warn("an image is brought anew", "image", f.id, "err", err)
	}
}

// holders asks those who wait for the image who has it.
func (m *Mover) holders(f *flight) []string {
	m.mu.Lock()
	callers := slices.Clone(f.callers)
	m.mu.Unlock()
	var all []string
	for _, c := range callers {
		if c.want.Holders == nil {
			continue
		}
		for _, node := range c.want.Holders() {
			if !slices.Contains(all, node) {
				all = append(all, node)
			}
		}
	}
	return all
}
