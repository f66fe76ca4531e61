package image

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"
)

const (
	// windowSize is how much of a layer that comes in is kept, in bytes, for the
	// engine here and for those that it is forwarded to.
	windowSize = 4 << 20
	// chunkSize bounds one read or write of a layer, in bytes.
	chunkSize = 256 << 10
	// patience is how long a layer waits for one reader, while others could go on,
	// before they are parted.
	patience = 5 * time.Second
	// mostFollowers bounds who reads one flow. In a chain it is one.
	mostFollowers = 8
)

var (
	// errSlow parts a follower from a flow when one of them is much slower.
	errSlow = errors.New("the host that forwards the layer is much faster or slower")
	// errPassed says that a flow is past what is asked for, or not yet there.
	errPassed = errors.New("not within what is being forwarded")
)

// flow is a layer that comes in: a bounded window over its bytes. One goroutine
// fills it (space, then filled), one takes the bytes for the engine here (next,
// then taken), and followers copy them out to be forwarded. The filler waits for
// the slowest of them, but for followers only so long.
type flow struct {
	size int64

	mu        sync.Mutex // guards what follows; never held across a wait
	ring      []byte
	floor     int64         // the lowest byte that is still in ring
	end       int64         // bytes that came
	own       int64         // bytes that the engine here took
	stuck     time.Duration // how long the engine here has taken nothing
	followers map[*follower]bool
	err       error         // why no more bytes come
	waiters   chan struct{} // closed at the next change, nil if nobody waits
	users     int           // who may still use ring
	free      func([]byte)  // gets ring when nobody does
}

// newFlow makes a flow for a layer of size bytes, which is more than 0. Its window
// is ring, given to free when nobody uses it any more.
func newFlow(size int64, ring []byte, free func([]byte)) *flow {
	return &flow{size: size, ring: ring, free: free, followers: map[*follower]bool{}, users: 2}
}

// wake is called with f.mu held, after a change.
func (f *flow) wake() {
	if f.waiters != nil {
		close(f.waiters)
		f.waiters = nil
	}
}

// changed is called with f.mu held. What it returns is closed at the next change.
func (f *flow) changed() <-chan struct{} {
	if f.waiters == nil {
		f.waiters = make(chan struct{})
	}
	return f.waiters
}

// leave is called once by each user of the flow. The last one gives the window
// back.
func (f *flow) leave() {
	f.mu.Lock()
	f.users--
	ring := f.ring
	if f.users == 0 {
		f.ring = nil
	} else {
		ring = nil
	}
	f.mu.Unlock()
	if ring != nil {
		f.free(ring)
	}
}

// fail tells all readers that no more bytes come. The first error stays.
func (f *flow) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
		f.wake()
	}
}

// position returns how many bytes came.
func (f *flow) position() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.end
}

// space returns where the next bytes go, at most chunkSize. It waits for the
// engine here as long as that takes, and for followers as long as patience lasts.
func (f *flow) space(ctx context.Context) ([]byte, error) {
	for {
		f.mu.Lock()
		if f.err != nil {
			defer f.mu.Unlock()
			return nil, f.err
		}
		low, slow := f.slowest()
		if room := low + int64(len(f.ring)) - f.end; room > 0 {
			defer f.mu.Unlock()
			at := f.end % int64(len(f.ring))
			n := min(room, chunkSize, int64(len(f.ring))-at, f.size-f.end)
			f.floor = max(f.floor, f.end+n-int64(len(f.ring)))
			return f.ring[at : at+n], nil
		}
		changed, limit := f.changed(), f.patienceWith(slow)
		f.mu.Unlock()
		waited, err := pause(ctx, changed, limit)
		if err != nil {
			return nil, err
		}
		f.charge(slow, waited)
	}
}

// slowest is called with f.mu held. It returns from which byte on the window is
// needed, and the follower that needs it; nil if the engine here does.
func (f *flow) slowest() (low int64, slow *follower) {
	low = f.own
	for fo := range f.followers {
		if fo.pos < low {
			low, slow = fo.pos, fo
		}
	}
	return low, slow
}

// patienceWith is called with f.mu held. It returns when to look again whether the
// slow reader is still to be waited for; 0 is never.
func (f *flow) patienceWith(slow *follower) time.Duration {
	switch {
	case slow != nil:
		return max(patience-slow.lag, patience/50)
	case len(f.followers) > 0:
		return max(patience-f.stuck, patience/50)
	}
	return 0
}

// charge counts a wait against whoever was waited for. A follower is dropped when
// it took patience and more than half of the time since it came; all followers are
// when the engine here took nothing for so long: they find another way.
func (f *flow) charge(slow *follower, waited time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if slow != nil {
		slow.lag += waited
		if slow.lag >= patience && 2*slow.lag > time.Since(slow.since) {
			f.drop(slow)
		}
		return
	}
	if f.stuck += waited; f.stuck >= patience {
		for fo := range f.followers {
			f.drop(fo)
		}
	}
}

// drop is called with f.mu held.
func (f *flow) drop(fo *follower) {
	fo.dropped = true
	delete(f.followers, fo)
	f.wake()
}

// pause waits for a change, for at most limit unless that is 0, and returns how
// long it waited.
func pause(ctx context.Context, changed <-chan struct{}, limit time.Duration) (time.Duration, error) {
	began := time.Now()
	var over <-chan time.Time
	if limit > 0 {
		t := time.NewTimer(limit)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-changed:
	case <-over:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	return time.Since(began), nil
}

// filled says that the first n bytes of the last space are there.
func (f *flow) filled(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.end += int64(n)
	f.wake()
}

// next returns bytes for the engine here. They stay what they are until taken.
// After the last byte the error is io.EOF.
func (f *flow) next(ctx context.Context) ([]byte, error) {
	for {
		f.mu.Lock()
		if n := f.end - f.own; n > 0 {
			defer f.mu.Unlock()
			at := f.own % int64(len(f.ring))
			return f.ring[at:min(at+n, at+chunkSize, int64(len(f.ring)))], nil
		}
		if err := f.over(f.own); err != nil {
			defer f.mu.Unlock()
			return nil, err
		}
		changed := f.changed()
		f.mu.Unlock()
		if _, err := pause(ctx, changed, 0); err != nil {
			return nil, err
		}
	}
}

// over is called with f.mu held. It returns why a reader at pos gets no more.
func (f *flow) over(pos int64) error {
	if pos == f.size {
		return io.EOF
	}
	return f.err
}

// taken says that the engine here has n more bytes.
func (f *flow) taken(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.own += int64(n)
	f.stuck = 0
	f.wake()
}

// follower is somebody whom a flow is forwarded to.
type follower struct {
	flow    *flow
	pos     int64
	since   time.Time
	lag     time.Duration // how long the flow waited for it
	dropped bool
}

// follow begins to forward the flow from byte from on. Where the window is past
// that and late is set, it begins at the newest byte instead: the follower gets
// what is before from elsewhere, and the flow waits for it meanwhile.
func (f *flow) follow(from int64, late bool) (*follower, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.users == 0 || f.err != nil || from > f.end || len(f.followers) >= mostFollowers:
		return nil, errPassed
	case from < f.floor && !late:
		return nil, errPassed
	case from < f.floor:
		from = f.end
	}
	fo := &follower{flow: f, pos: from, since: time.Now()}
	f.followers[fo] = true
	f.users++
	return fo, nil
}

// read copies bytes of the layer to p, which is not empty. After the last byte the
// error is io.EOF.
func (fo *follower) read(ctx context.Context, p []byte) (int, error) {
	f := fo.flow
	for {
		f.mu.Lock()
		if fo.dropped {
			f.mu.Unlock()
			return 0, errSlow
		}
		if n := int(min(f.end-fo.pos, int64(len(p)))); n > 0 {
			defer f.mu.Unlock()
			at := int(fo.pos % int64(len(f.ring)))
			n = min(n, len(f.ring)-at)
			copy(p, f.ring[at:at+n])
			fo.pos += int64(n)
			f.wake()
			return n, nil
		}
		if err := f.over(fo.pos); err != nil {
			f.mu.Unlock()
			return 0, err
		}
		changed := f.changed()
		f.mu.Unlock()
		if _, err := pause(ctx, changed, 0); err != nil {
			return 0, err
		}
	}
}

// close ends the forwarding.
func (fo *follower) close() {
	fo.flow.mu.Lock()
	fo.flow.drop(fo)
	fo.flow.mu.Unlock()
	fo.flow.leave()
}
