package consensus

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/hashicorp/raft"

	"ddocker/consensus/ledger"
)

// fsm is the ledger as raft drives it. The ledger's index counts commands
// only: raft's own entries pass it by.
type fsm struct {
	changed signal

	mu   sync.RWMutex // guards what follows
	book *ledger.Ledger
	// halt is why the log is followed no further; nil: it is.
	halt error
}

// Apply writes one committed command into the ledger. One of a newer version halts
// it: nothing after that is applied, or left out of raft's log for a snapshot, so
// that a newer ddocker on this machine finds it.
func (f *fsm) Apply(entry *raft.Log) any {
	defer f.changed.fire()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.halt != nil {
		return f.halt
	}
	res := f.book.Apply(entry.Index, entry.AppendedAt, entry.Data)
	if res.Refusal != nil && f.heed(res.Refusal) {
		return f.halt
	}
	return res
}

// heed halts for what only a newer ddocker can read. Its caller holds mu.
func (f *fsm) heed(err error) bool {
	refusal := (*ledger.Refusal)(nil)
	if f.halt == nil && errors.As(err, &refusal) && refusal.Code == ledger.Newer {
		f.halt = fmt.Errorf("follow the log: %w", refusal)
	}
	return f.halt != nil
}

// halted returns why the log is followed no further, or nil.
func (f *fsm) halted() error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.halt
}

// Snapshot returns the ledger of now, to be written while it goes on.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.halt != nil {
		return nil, f.halt
	}
	return snapshot{f.book.Snapshot()}, nil
}

// Restore replaces the ledger by a snapshot; a bad one leaves it as it was.
func (f *fsm) Restore(r io.ReadCloser) error {
	defer r.Close()
	book := ledger.New()
	err := book.Restore(r)
	defer f.changed.fire()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.heed(err) { // now, or by a newer snapshot that was tried before
		return f.halt
	}
	if err == nil {
		f.book = book
	}
	return err
}

func (f *fsm) view(look func(*ledger.Ledger)) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	look(f.book)
}

func (f *fsm) applied() (index uint64) {
	f.view(func(l *ledger.Ledger) { index = l.Index() })
	return index
}

// snapshot is the ledger at one index. It is a value with nothing to release.
type snapshot struct{ book ledger.Snapshot }

// Persist writes the snapshot to raft's sink and commits or cancels it.
func (s snapshot) Persist(sink raft.SnapshotSink) error {
	if _, err := s.book.WriteTo(sink); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

// Release implements raft.FSMSnapshot.
func (snapshot) Release() {}
