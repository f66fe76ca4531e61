package consensus

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"ddocker/consensus/ledger"
	"ddocker/crash"
)

// fsm is the ledger as raft drives it, or another server that feeds this node. Both
// tell of one history of committed commands, so whoever comes second with a part of it
// changes nothing. The ledger's index counts commands only: raft's own entries pass it
// by.
type fsm struct {
	changed signal
	conf    atomic.Uint64 // the place in the log of raft's configuration; raft itself does not tell
	stored  func() uint64 // the same, as the stores know it
	crash   crash.Point

	mu     sync.RWMutex // guards what follows
	book   *ledger.Ledger
	recent recent
	// halt is why the log is followed no further; nil: it is.
	halt error
}

func newFSM(stores *Stores, point crash.Point) *fsm {
	return &fsm{book: ledger.New(), stored: stores.lastConf, crash: point}
}

// Apply writes one committed command into the ledger. One of a newer version halts
// it: nothing after that is applied, or left out of raft's log for a snapshot, so
// that a newer ddocker on this machine finds it.
func (f *fsm) Apply(log *raft.Log) any {
	defer f.changed.fire()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.take(entry{log.Index, log.AppendedAt, log.Data})
}

// StoreConfiguration implements raft.ConfigurationStore.
func (f *fsm) StoreConfiguration(index uint64, _ raft.Configuration) {
	f.crash.At(crash.VoteLearnt)
	f.learnConf(index)
}

func (f *fsm) learnConf(index uint64) {
	for {
		old := f.conf.Load()
		if index <= old || f.conf.CompareAndSwap(old, index) {
			return
		}
	}
}

// errTaken answers for a command that the ledger had from elsewhere.
var errTaken = errors.New("the command was carried out before")

// take writes one command into the ledger. Its caller holds mu.
func (f *fsm) take(e entry) any {
	before := f.book.Index()
	switch {
	case f.halt != nil:
		return f.halt
	case e.Index <= before:
		return errTaken
	}
	res := f.book.Apply(e.Index, e.At, e.Data)
	if res.Refusal != nil && f.heed(res.Refusal) {
		return f.halt
	}
	f.recent.add(before, e)
	f.crash.At(crash.LogApplied)
	return res
}

// feed writes commands that another server tells of.
func (f *fsm) feed(entries []entry) error {
	defer f.changed.fire()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range entries {
		f.take(e)
	}
	return f.halt
}

// since returns the commands after index, some megabytes at most; false: they are no
// longer remembered.
func (f *fsm) since(index uint64) ([]entry, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if index >= f.book.Index() {
		return nil, true
	}
	return f.recent.since(index)
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

// Restore replaces the ledger by a snapshot; a bad one leaves it as it was, and so does
// one of an earlier state.
func (f *fsm) Restore(r io.ReadCloser) error {
	defer r.Close()
	book := ledger.New()
	err := book.Restore(r)
	f.learnConf(f.stored()) // raft's snapshots come with their configuration
	defer f.changed.fire()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.heed(err) { // now, or by a newer snapshot that was tried before
		return f.halt
	}
	if err == nil && book.Index() > f.book.Index() {
		f.book, f.recent = book, recent{}
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
