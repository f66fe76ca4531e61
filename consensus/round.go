package consensus

import (
	"context"
	"sync"
)

// round lets callers share a question to the voters. A caller is answered by a
// question asked after it came; one is under way at a time, and all who come
// meanwhile share the next. The zero round is ready for use.
type round struct {
	mu   sync.Mutex // guards what follows
	last *question
}

type question struct {
	asked bool // guarded by round.mu
	done  chan struct{}
	term  uint64 // these two are for readers after done
	err   error
}

func (r *round) join(ctx context.Context, ask func() (uint64, error)) (term uint64, err error) {
	q := r.ticket(ask)
	select {
	case <-q.done:
		return q.term, q.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (r *round) ticket(ask func() (uint64, error)) *question {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil || r.last.asked {
		before := r.last
		r.last = &question{done: make(chan struct{})}
		go r.put(r.last, before, ask)
	}
	return r.last
}

func (r *round) put(q, before *question, ask func() (uint64, error)) {
	defer close(q.done)
	if before != nil {
		<-before.done
	}
	r.mu.Lock()
	q.asked = true
	r.mu.Unlock()
	q.term, q.err = ask()
}
