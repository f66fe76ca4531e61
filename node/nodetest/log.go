// Package nodetest has the twins of what a node stands on, for tests in virtual
// time: a log without raft and a machine without /proc.
//
//	log := nodetest.NewLog()
//	n := node.New(node.Config{Log: log.Replica(), Machine: &nodetest.Machine{}, …})
//
// Every replica of a Log may lag behind, as a follower's does, until somebody
// reads or waits; and a replica that is cut off proposes and reads nothing.
package nodetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"ddocker/consensus/ledger"
)

// ErrCut is what a replica answers that is cut off.
var ErrCut = errors.New("the log has no leader")

// Log is the agreed history. It never forgets.
type Log struct {
	mu      sync.Mutex // guards what follows, and all of its replicas
	entries []entry
	newest  *ledger.Ledger
	all     []*Replica
}

type entry struct {
	at   time.Time
	data []byte
}

// NewLog returns an empty history.
func NewLog() *Log { return &Log{newest: ledger.New()} }

// Len returns how many entries the history has.
func (l *Log) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.entries)
}

// Replica returns a new replica that is up to date and stays so.
func (l *Log) Replica() *Replica {
	r := &Replica{log: l, ledger: ledger.New(), changed: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	r.apply(len(l.entries))
	l.all = append(l.all, r)
	return r
}

// Replica is one node's copy of a Log. It is a node's Log and the API's.
type Replica struct {
	log       *Log
	ledger    *ledger.Ledger
	applied   int
	lags, cut bool
	hook      func(ledger.Command)
	changed   chan struct{} // closed and replaced when something is applied
}

// Lag makes the replica apply entries only when somebody reads or waits.
func (r *Replica) Lag() {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	r.lags = true
}

// Cut takes the leader away from the replica, or gives it back.
func (r *Replica) Cut(cut bool) {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	r.cut = cut
}

// Before has do called with every command before it is proposed here. It may
// itself propose, on another replica.
func (r *Replica) Before(do func(ledger.Command)) {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	r.hook = do
}

// Propose carries the command out. It fails only while the replica is cut off.
func (r *Replica) Propose(_ context.Context, c ledger.Command) (ledger.Result, uint64, error) {
	data, err := ledger.Encode(c)
	if err != nil {
		return ledger.Result{}, 0, err
	}
	r.log.mu.Lock()
	hook := r.hook
	r.log.mu.Unlock()
	if hook != nil {
		hook(c)
	}
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	if r.cut {
		return ledger.Result{}, 0, ErrCut
	}
	l := r.log
	l.entries = append(l.entries, entry{time.Now(), data})
	index := len(l.entries)
	result := l.newest.Apply(uint64(index), l.entries[index-1].at, data)
	for _, one := range l.all {
		if !one.lags {
			one.apply(index)
		}
	}
	return result, uint64(index), nil
}

// Read catches up. It fails only while the replica is cut off.
func (r *Replica) Read(context.Context) error {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	if r.cut {
		return ErrCut
	}
	r.apply(len(r.log.entries))
	return nil
}

// Wait catches up to the index, at once. An index that is not in the log is an
// error.
func (r *Replica) Wait(_ context.Context, index uint64) error {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	if index > uint64(len(r.log.entries)) {
		return fmt.Errorf("wait for index %d: the log ends at %d", index, len(r.log.entries))
	}
	r.apply(int(index))
	return nil
}

// View lends the replica's ledger, behind as it may be.
func (r *Replica) View(look func(*ledger.Ledger)) {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	look(r.ledger)
}

// Changed returns a channel that is closed when the replica next applies an entry.
func (r *Replica) Changed() <-chan struct{} {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	return r.changed
}

// apply runs with the log's mutex held.
func (r *Replica) apply(upTo int) {
	if r.applied < upTo {
		close(r.changed)
		r.changed = make(chan struct{})
	}
	for ; r.applied < upTo; r.applied++ {
		e := r.log.entries[r.applied]
		r.ledger.Apply(uint64(r.applied+1), e.at, e.data)
	}
}
