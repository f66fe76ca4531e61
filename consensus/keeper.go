package consensus

import (
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// diskPause is between two tries to write what raft cannot do without.
const diskPause = time.Second

// keeper is where raft keeps its log and its votes. One that takes nothing, mostly because
// it is full, ends no node: while entries are refused this node is fed as one that hears no
// leader. Two things raft cannot do without, and would not try again:
//   - a term: raft would panic. It keeps terms from several goroutines, and one that went on
//     with an older term than another has kept meanwhile would take it back, and could vote
//     twice.
//   - entries in the place of others that were cut off: raft goes on believing that it has
//     those, and would acknowledge what follows them.
//
// There the goroutine of raft's waits for ever; raft on this node promises nobody anything
// more, and when there is room again the agent has to start anew.
type keeper struct {
	raft.LogStore
	raft.StableStore
	log     *slog.Logger
	refuses atomic.Bool   // the last thing that was to be written
	cut     atomic.Bool   // the end of the log was, and nothing has come in its place yet
	terms   sync.Mutex    // held while one is written
	ended   chan struct{} // closed when raft is to end
	anew    chan struct{} // 1 buffered: there is room again, and raft waits for ever
}

func newKeeper(s *Stores, log *slog.Logger) *keeper {
	return &keeper{LogStore: s.log, StableStore: s.stable, log: log, ended: make(chan struct{}), anew: make(chan struct{}, 1)}
}

// StoreLog implements raft.LogStore.
func (k *keeper) StoreLog(entry *raft.Log) error { return k.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore.
func (k *keeper) StoreLogs(entries []*raft.Log) error {
	err := k.note(k.LogStore.StoreLogs(entries))
	if err == nil {
		k.cut.Store(false)
	} else if k.cut.Load() {
		k.halt()
	}
	return err
}

// DeleteRange implements raft.LogStore.
func (k *keeper) DeleteRange(first, last uint64) error {
	end, err := k.LastIndex()
	if err == nil {
		err = k.note(k.LogStore.DeleteRange(first, last))
	}
	if err == nil && last >= end {
		k.cut.Store(true)
	}
	return err
}

// SetUint64 implements raft.StableStore.
func (k *keeper) SetUint64(key []byte, value uint64) error {
	k.terms.Lock()
	err := k.note(k.StableStore.SetUint64(key, value))
	k.terms.Unlock()
	if err != nil {
		k.halt()
	}
	return nil
}

// halt does not return: when raft ends, the goroutine of raft's that called it ends as well.
func (k *keeper) halt() {
	t := time.NewTicker(diskPause)
	defer t.Stop()
	for told := false; ; {
		select {
		case <-t.C:
		case <-k.ended:
			runtime.Goexit()
		}
		if !told && k.writable() == nil {
			told = true
			select {
			case k.anew <- struct{}{}:
			default: // another goroutine has said so
			}
		}
	}
}

// writable says why nothing can be written.
func (k *keeper) writable() error {
	k.terms.Lock()
	defer k.terms.Unlock()
	term, err := k.GetUint64(keyTerm)
	if err != nil {
		return nil // there is none yet
	}
	return k.StableStore.SetUint64(keyTerm, term)
}

// note tells once when the disk begins to refuse, and when it ceases to.
func (k *keeper) note(err error) error {
	switch refused := err != nil; {
	case k.refuses.Swap(refused) == refused:
	case refused:
		k.log.Error("the log of this host cannot be written, it neither votes nor leads until it can: is there room in the data directory?", "err", err)
	default:
		k.log.Info("the log of this host can be written again")
	}
	return err
}
