package vnet

import (
	"net/netip"
	"slices"
	"time"
)

// segment is a packet, or a piece of a stream, of which one without bytes is
// the end.
type segment struct {
	at    time.Time // of arrival
	from  netip.AddrPort
	bytes []byte
}

// inbox is what is on its way to a reader, in the order of arrival, and what
// those who wait at its end must know.
type inbox struct {
	segments              []segment
	readUntil, writeUntil time.Time
	closed                bool
	changed               chan struct{} // closed and replaced at every change
}

func newInbox() inbox { return inbox{changed: make(chan struct{})} }

// pulse wakes all who wait. Whoever calls a method of an inbox holds Net.mu.
func (b *inbox) pulse() {
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *inbox) push(s segment) {
	i := len(b.segments)
	for i > 0 && b.segments[i-1].at.After(s.at) {
		i--
	}
	b.segments = slices.Insert(b.segments, i, s)
	b.pulse()
}

// await repeats try, with mu held, until it is done. Between tries it sleeps,
// without mu, until b changes or the time comes that try has returned.
func (n *Net) await(b *inbox, try func() (done bool, wake time.Time)) {
	for {
		n.mu.Lock()
		done, wake := try()
		changed := b.changed
		n.mu.Unlock()
		if done {
			return
		}
		var timer <-chan time.Time
		if !wake.IsZero() {
			timer = time.After(time.Until(wake))
		}
		select {
		case <-changed:
		case <-timer:
		}
	}
}

// setDeadlines replaces the deadlines given.
func (n *Net) setDeadlines(b *inbox, read, write *time.Time) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if read != nil {
		b.readUntil = *read
	}
	if write != nil {
		b.writeUntil = *write
	}
	b.pulse()
	return nil
}

// past reports whether a deadline, zero for none, has come.
func past(t time.Time) bool { return !t.IsZero() && !time.Now().Before(t) }

// next returns the first segment if it has arrived, else when to look again.
func (b *inbox) next() (*segment, time.Time) {
	if len(b.segments) == 0 {
		return nil, b.readUntil
	}
	s := &b.segments[0]
	switch {
	case past(s.at):
		return s, time.Time{}
	case b.readUntil.IsZero() || s.at.Before(b.readUntil):
		return nil, s.at
	}
	return nil, b.readUntil
}
