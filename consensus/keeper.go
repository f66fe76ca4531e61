package consensus

import (
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// diskPause is between two tries to write what raft cannot do without.
const diskPause = time.Second

// keeper is where raft keeps its log and its votes. One that takes nothing, mostly because
// it is full, ends no node: while entries are refused this node is fed as one that hears no
// leader, and a term, which raft would panic without, is tried again until it is kept.
// Until then raft on this node does nothing, and promises nobody anything.
type keeper struct {
	raft.LogStore
	raft.StableStore
	log     *slog.Logger
	refuses atomic.Bool   // the last thing that was to be written
	ended   chan struct{} // closed when raft is to end
}

func newKeeper(s *Stores, log *slog.Logger) *keeper {
	return &keeper{LogStore: s.log, StableStore: s.stable, log: log, ended: make(chan struct{})}
}

// StoreLog implements raft.LogStore.
func (k *keeper) StoreLog(entry *raft.Log) error { return k.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore.
func (k *keeper) StoreLogs(entries []*raft.Log) error { return k.note(k.LogStore.StoreLogs(entries)) }

// SetUint64 implements raft.StableStore. It returns when the value is kept; where raft
// ends first, the goroutine of raft's that called it ends as well.
func (k *keeper) SetUint64(key []byte, value uint64) error {
	for {
		if k.note(k.StableStore.SetUint64(key, value)) == nil {
			return nil
		}
		t := time.NewTimer(diskPause)
		select {
		case <-t.C:
		case <-k.ended:
			t.Stop()
			runtime.Goexit()
		}
	}
}

// writable says why nothing can be written.
func (k *keeper) writable() error {
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
