package consensus

import (
	"errors"
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
}

// Apply writes one committed command into the ledger.
func (f *fsm) Apply(entry *raft.Log) any {
	f.mu.Lock()
	res := f.book.Apply(entry.Index, entry.AppendedAt, entry.Data)
	f.mu.Unlock()
	f.changed.fire()
	return res
}

// Snapshot returns the ledger of now, to be written while it goes on.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return snapshot{f.book.Snapshot()}, nil
}

// Restore replaces the ledger by a snapshot; a bad one leaves it as it was.
func (f *fsm) Restore(r io.ReadCloser) error {
	defer r.Close()
	book := ledger.New()
	if err := book.Restore(r); err != nil {
		return err
	}
	f.mu.Lock()
	f.book = book
	f.mu.Unlock()
	f.changed.fire()
	return nil
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
