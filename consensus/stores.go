package consensus

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

const (
	logFile       = "raft.db"
	snapshotsDir  = "snapshots" // the name is raft's
	fedFile       = "fed"       // the ledger of a node that holds no log
	keepSnapshots = 3
	cachedEntries = 512
)

// Stores are a node's log, votes and snapshots. Those of NewStores live in
// memory and outlive the Consensus that used them, as a disk does.
type Stores struct {
	log       raft.LogStore
	stable    raft.StableStore
	snapshots raft.SnapshotStore
	fed       fedStore
	close     func() error
	copy      func() *Stores // nil but for stores in memory
}

// lastConf returns the place in the log of the newest configuration stored.
func (s *Stores) lastConf() (index uint64) {
	if list, err := s.snapshots.List(); err == nil && len(list) > 0 {
		index = list[0].ConfigurationIndex
	}
	first, _ := s.log.FirstIndex() // 0: there is no log, or none that can be read
	last, _ := s.log.LastIndex()
	for at := last; at > index && at >= first && at > 0; at-- {
		var e raft.Log
		if s.log.GetLog(at, &e) != nil {
			break // what is before is in a snapshot
		}
		if e.Type == raft.LogConfiguration {
			return at
		}
	}
	return index
}

// DamagedError means that a node's log could not be read and was set aside. A
// node that lost its log may have lost a vote it cast: it must not come back
// under its old ID.
type DamagedError struct {
	Dir   string // the data directory, now without log and snapshots
	Aside string // where they are
	Err   error  // what was found
}

// Error says what to do next.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("the log in %s is damaged (%v) and was moved to %s; join this host again as a new node: "+
		"run `ddocker node rm` with its name and `ddocker token` on another host, then `ddocker agent --join HOST --token TOKEN` here", e.Dir, e.Err, e.Aside)
}

// Unwrap returns what was found.
func (e *DamagedError) Unwrap() error { return e.Err }

// OpenStores opens or makes the stores of a directory, and holds its lock until
// they are closed, by Close or at the end of Consensus.Run. A directory that
// another process holds is refused, and a log that cannot be read is set aside:
// see DamagedError. It reads the whole log and writes
// it anew, some ten thousand entries at most.
func OpenStores(dir string, logger *slog.Logger) (*Stores, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	stores, err := openFiles(dir, newRaftLogger(logger))
	if err != nil {
		lock.Close()
		return nil, err
	}
	closeFiles := stores.close
	stores.close = func() error { return errors.Join(closeFiles(), lock.Close()) }
	return stores, nil
}

// Close closes stores that no Consensus runs on.
func (s *Stores) Close() error { return s.close() }

func openFiles(dir string, logger hclog.Logger) (*Stores, error) {
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(dir, keepSnapshots, logger)
	if err != nil {
		return nil, fmt.Errorf("open snapshots: %w", err)
	}
	covered := uint64(0)
	if list, err := snapshots.List(); err == nil && len(list) > 0 {
		covered = list[0].Index
	}
	bolt, err := openBolt(filepath.Join(dir, logFile), covered)
	if isDamage(err) {
		return nil, setAside(dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	cached, err := raft.NewLogCache(cachedEntries, bolt)
	if err != nil {
		return nil, errors.Join(err, bolt.Close())
	}
	return &Stores{log: cached, stable: bolt, snapshots: snapshots, fed: fedOnDisk(filepath.Join(dir, fedFile)), close: bolt.Close}, nil
}

// setAside moves log and snapshots into a directory of their own and returns
// the DamagedError that tells of it.
func setAside(dir string, found error) error {
	aside, err := os.MkdirTemp(dir, "damaged-"+time.Now().UTC().Format("20060102T150405")+"-")
	if err != nil {
		return fmt.Errorf("set damaged log aside: %w", err)
	}
	for _, name := range []string{logFile, snapshotsDir, fedFile} {
		err := os.Rename(filepath.Join(dir, name), filepath.Join(aside, name))
		if err != nil && !(name == fedFile && errors.Is(err, os.ErrNotExist)) {
			return fmt.Errorf("set damaged log aside: %w", err)
		}
	}
	return &DamagedError{Dir: dir, Aside: aside, Err: found}
}
