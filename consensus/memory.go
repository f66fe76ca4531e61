package consensus

import (
	"bytes"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// NewStores returns empty stores in memory.
func NewStores() *Stores {
	return storesOf(raft.NewInmemStore(), &memorySnapshots{}, &fedMemory{})
}

func storesOf(log *raft.InmemStore, snapshots *memorySnapshots, fed *fedMemory) *Stores {
	s := &Stores{log: log, stable: log, snapshots: snapshots, fed: fed, close: func() error { return nil }}
	s.copy = func() *Stores {
		c := raft.NewInmemStore()
		copyLog(c, log)
		// After the log: what was cut off it is in the snapshot, and the term of every
		// entry is known.
		kept := &memorySnapshots{}
		kept.latest.Store(snapshots.latest.Load())
		copyVotes(c, log)
		state, _ := fed.load()
		return storesOf(c, kept, &fedMemory{state: state})
	}
	return s
}

// Copy returns what a crash leaves of stores in memory: what their Consensus still
// writes the copy does not have. Nil for stores of files.
func (s *Stores) Copy() *Stores {
	if s.copy == nil {
		return nil
	}
	return s.copy()
}

// Nothing of these fails in memory, but to find what is not there.

func copyLog(to, from *raft.InmemStore) {
	first, _ := from.FirstIndex()
	last, _ := from.LastIndex()
	for at := max(first, 1); at <= last; at++ {
		e := new(raft.Log)
		if from.GetLog(at, e) == nil {
			to.StoreLog(e)
		}
	}
}

func copyVotes(to, from *raft.InmemStore) {
	for _, key := range []string{"CurrentTerm", "LastVoteTerm"} { // raft's names
		n, _ := from.GetUint64([]byte(key))
		to.SetUint64([]byte(key), n)
	}
	if vote, err := from.Get([]byte("LastVoteCand")); err == nil {
		to.Set([]byte("LastVoteCand"), vote)
	}
}

// memorySnapshots keeps one snapshot, the latest that was written to its end.
type memorySnapshots struct {
	latest atomic.Pointer[memorySnapshot]
}

// memorySnapshot is a snapshot, and raft's sink while it is written.
type memorySnapshot struct {
	of       *memorySnapshots
	meta     raft.SnapshotMeta
	contents bytes.Buffer
}

// Create implements raft.SnapshotStore.
func (m *memorySnapshots) Create(version raft.SnapshotVersion, index, term uint64, conf raft.Configuration, confIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	return &memorySnapshot{of: m, meta: raft.SnapshotMeta{
		Version: version, ID: fmt.Sprintf("%d-%d", term, index), Index: index, Term: term,
		Configuration: conf, ConfigurationIndex: confIndex,
	}}, nil
}

// List implements raft.SnapshotStore.
func (m *memorySnapshots) List() ([]*raft.SnapshotMeta, error) {
	s := m.latest.Load()
	if s == nil {
		return nil, nil
	}
	meta := s.meta
	return []*raft.SnapshotMeta{&meta}, nil
}

// Open implements raft.SnapshotStore.
func (m *memorySnapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	s := m.latest.Load()
	if s == nil || s.meta.ID != id {
		return nil, nil, fmt.Errorf("there is no snapshot %s", id)
	}
	meta := s.meta
	return &meta, io.NopCloser(bytes.NewReader(s.contents.Bytes())), nil
}

// Write implements raft.SnapshotSink.
func (s *memorySnapshot) Write(p []byte) (int, error) { return s.contents.Write(p) }

// Close has the snapshot kept.
func (s *memorySnapshot) Close() error {
	s.meta.Size = int64(s.contents.Len())
	s.of.latest.Store(s)
	return nil
}

// ID implements raft.SnapshotSink.
func (s *memorySnapshot) ID() string { return s.meta.ID }

// Cancel implements raft.SnapshotSink.
func (s *memorySnapshot) Cancel() error { return nil }
