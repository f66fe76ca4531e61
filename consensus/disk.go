package consensus

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
)

// Disk is what stores in memory lie on. It can be full, and the clock of the machine
// that writes on it can be wrong. Its methods may be called from any goroutine.
type Disk struct {
	full atomic.Bool
	off  atomic.Int64
}

// Fill makes the disk full, or gives it room again.
func (d *Disk) Fill(full bool) { d.full.Store(full) }

// SetClock lets the machine's clock be ahead of the true time, or behind it: what it
// appends to the log as leader is stamped so.
func (d *Disk) SetClock(ahead time.Duration) { d.off.Store(int64(ahead)) }

func (d *Disk) room(file string) error {
	if d.full.Load() {
		return fmt.Errorf("write %s: %w", file, syscall.ENOSPC)
	}
	return nil
}

// NewStoresOn returns empty stores in memory on a disk that has faults.
func NewStoresOn(d *Disk) *Stores {
	return d.under(NewStores())
}

func (d *Disk) under(s *Stores) *Stores {
	copy := s.copy
	s.copy = func() *Stores { return d.under(copy()) }
	s.log, s.stable = diskLog{s.log, d}, diskStable{s.stable, d}
	return s
}

type diskLog struct {
	raft.LogStore
	disk *Disk
}

// StoreLogs stamps entries by the machine's clock if they are its own: of this very moment.
func (l diskLog) StoreLogs(entries []*raft.Log) error {
	if err := l.disk.room(logFile); err != nil {
		return err
	}
	now := time.Now()
	for _, e := range entries {
		if e.AppendedAt.Equal(now) {
			e.AppendedAt = now.Add(time.Duration(l.disk.off.Load()))
		}
	}
	return l.LogStore.StoreLogs(entries)
}

// StoreLog is StoreLogs of one.
func (l diskLog) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

type diskStable struct {
	raft.StableStore
	disk *Disk
}

// Set keeps a vote.
func (s diskStable) Set(key, val []byte) error {
	if err := s.disk.room(logFile); err != nil {
		return err
	}
	return s.StableStore.Set(key, val)
}

// SetUint64 keeps a term.
func (s diskStable) SetUint64(key []byte, val uint64) error {
	if err := s.disk.room(logFile); err != nil {
		return err
	}
	return s.StableStore.SetUint64(key, val)
}
