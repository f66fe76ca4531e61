package enginetest

import (
	"context"
	"net/http"
	"time"
)

// Op is a kind of request, for the knobs.
type Op string

// The kinds of requests. Read is everything that changes nothing.
const (
	Create Op = "create"
	Start  Op = "start"
	Stop   Op = "stop" // and kill
	Remove Op = "remove"
	Rename Op = "rename"
	Update Op = "update"
	Exec   Op = "exec"   // create, start and resize of one
	Change Op = "change" // of images: tag, push, removal and prune
	Commit Op = "commit"
	Load   Op = "load" // and import, once the engine has the whole archive
	Pull   Op = "pull"
	Read   Op = "read" // and save
)

// SetLatency makes each op take d more before it happens, from now on.
func (t *Twin) SetLatency(op Op, d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.latency[op] = d
}

// Hang makes the engine accept connections and requests, and answer none.
func (t *Twin) Hang() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gate == nil {
		t.gate = make(chan struct{})
	}
}

// Unhang ends a Hang: what was asked meanwhile is done now, whether its caller
// still waits or not.
func (t *Twin) Unhang() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gate != nil {
		close(t.gate)
		t.gate = nil
	}
}

// FailAfterSuccess makes the next op that succeeds answer 500 nevertheless.
// Further calls add up.
func (t *Twin) FailAfterSuccess(op Op) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lies[op]++
}

// Lies returns how many of those are still to come.
func (t *Twin) Lies() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, some := range t.lies {
		n += some
	}
	return n
}

// SetDisk makes loads and imports, each of them, fail once they have brought more
// than free bytes: no space left on device. It is 1 GiB before.
func (t *Twin) SetDisk(free int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.disk = free
}

// Restart is a crash and restart of the engine with live restore: connections
// are cut, changes under way are dropped, containers run on. The connections go
// first: nobody gets a last word of requests that the end of the life ends.
func (t *Twin) Restart() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for conn := range t.conns {
		conn.Conn.Close() // its own Close takes the lock
	}
	clear(t.conns)
	close(t.life)
	t.life = make(chan struct{})
}

// reply is what the engine answers: a status and what goes into JSON, or no
// body when that is nil.
type reply struct {
	status int
	body   any
}

func (r reply) succeeded() bool {
	s, messages := r.body.(stream)
	return r.status < http.StatusMultipleChoices && !(messages && s.complains())
}

// perform carries do out under the lock, after the op's latency and not while
// the engine hangs. It returns false when there is nobody to answer any more:
// the caller has gone, whom do does not need, or the engine restarted.
func (t *Twin) perform(ctx context.Context, op Op, do func() reply) (reply, bool) {
	t.mu.Lock()
	if t.gate == nil && t.latency[op] == 0 {
		defer t.mu.Unlock()
		return t.finish(op, do), true
	}
	life := t.life
	t.mu.Unlock()
	done := make(chan reply, 1)
	t.tasks.Go(func() {
		if t.await(life, op) {
			t.mu.Lock()
			defer t.mu.Unlock()
			if life == t.life {
				done <- t.finish(op, do)
			}
		}
	})
	select {
	case r := <-done:
		return r, true
	case <-ctx.Done():
	case <-life:
	}
	return reply{}, false
}

// finish runs with the lock held.
func (t *Twin) finish(op Op, do func() reply) reply {
	r := do()
	if r.succeeded() && t.lies[op] > 0 {
		t.lies[op]--
		return refuse(http.StatusInternalServerError, "server error after the fact")
	}
	return r
}

// lifetime returns the life that the engine is in, which ends with a restart, and
// how many bytes its disk takes.
func (t *Twin) lifetime() (life chan struct{}, disk int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.life, t.disk
}

// await returns true when op's time has come, false when the engine's life
// ended before.
func (t *Twin) await(life chan struct{}, op Op) bool {
	t.mu.Lock()
	timer := time.NewTimer(t.latency[op])
	t.mu.Unlock()
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-life:
		return false
	}
	return t.pass(life)
}

// pass waits while the engine hangs. It returns false when the engine's life
// ended before.
func (t *Twin) pass(life chan struct{}) bool {
	for {
		t.mu.Lock()
		gate := t.gate
		t.mu.Unlock()
		if gate == nil {
			return true
		}
		select {
		case <-gate:
		case <-life:
			return false
		}
	}
}
