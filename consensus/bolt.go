package consensus

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// errDamage marks what bolt says by panicking, or what a reader finds missing.
var errDamage = errors.New("unreadable log")

func isDamage(err error) bool {
	for _, damage := range []error{
		errDamage,
		bolterrors.ErrInvalid, bolterrors.ErrChecksum, bolterrors.ErrVersionMismatch,
		bolterrors.ErrKeyRequired, bolterrors.ErrKeyTooLarge, bolterrors.ErrValueTooLarge,
		bolterrors.ErrBucketExists, bolterrors.ErrBucketNotFound, bolterrors.ErrIncompatibleValue,
	} {
		if errors.Is(err, damage) {
			return true
		}
	}
	return false
}

// openBolt opens the log and reads all of it. Bolt panics, or reads beyond the
// end of its mapping, where the file is damaged: both come back as errDamage. Entries up
// to covered are in a snapshot.
func openBolt(path string, covered uint64) (store summed, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			store, err = summed{}, fmt.Errorf("%w: %v", errDamage, p)
		}
	}()
	if err := rewrite(path); err != nil {
		return summed{}, err
	}
	store.BoltStore, err = raftboltdb.New(raftboltdb.Options{
		Path: path, BoltOptions: boltOptions(), MsgpackUseNewTimeFormat: true,
	})
	if err != nil {
		return summed{}, err
	}
	if err := readAll(store, covered); err != nil {
		return summed{}, errors.Join(err, store.Close())
	}
	return store, nil
}

// rewrite copies what the log holds into a new file that takes its place.
// Opening a file for writing has bolt look for free pages in a goroutine, where
// nobody can catch its panic: so no file that may be damaged is opened that way.
func rewrite(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil // bolt makes it
	}
	if err != nil {
		return err
	}
	if least := 4 * int64(os.Getpagesize()); info.Size() < least {
		return fmt.Errorf("%w: the file has %d bytes, a new one has %d", errDamage, info.Size(), least)
	}
	old, err := bbolt.Open(path, 0, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return err
	}
	defer old.Close()
	if err := old.View(walk); err != nil {
		return err
	}
	fresh := path + ".new"
	if err := errors.Join(os.RemoveAll(fresh), copyTo(fresh, old)); err != nil {
		return errors.Join(err, os.RemoveAll(fresh)) // the disk may be full
	}
	return replace(path, fresh)
}

// walk reads every key on every way to it. Keys that do not ascend would send
// a reader in circles.
func walk(tx *bbolt.Tx) error {
	return tx.ForEach(func(name []byte, bucket *bbolt.Bucket) error {
		var last []byte
		return bucket.ForEach(func(key, value []byte) error {
			if bytes.Compare(last, key) >= 0 || bucket.Get(key) == nil {
				return fmt.Errorf("%w: key %x is out of place", errDamage, key)
			}
			if len(value) > maxBody {
				return fmt.Errorf("%w: key %x has %d bytes", errDamage, key, len(value))
			}
			last = key
			return known(name, key)
		})
	})
}

// copyTo writes all that db holds into a new file and to the disk.
func copyTo(path string, db *bbolt.DB) error {
	fresh, err := bbolt.Open(path, 0o600, boltOptions())
	if err != nil {
		return err
	}
	defer fresh.Close()
	const perTransaction = 1 << 20 // bytes
	return bbolt.Compact(fresh, db, perTransaction)
}

// replace renames a file over another for good.
func replace(path, fresh string) error {
	if err := os.Rename(fresh, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

func boltOptions() *bbolt.Options {
	return &bbolt.Options{Timeout: time.Second, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType}
}

// readAll reads every entry of a log, at most some ten thousand. Where raft restored a
// snapshot the log has a gap, which ends where the newest snapshot does, at covered.
func readAll(store summed, covered uint64) error {
	first, err := store.FirstIndex()
	if err != nil {
		return fmt.Errorf("%w: %w", errDamage, err)
	}
	last, err := store.LastIndex()
	if err != nil {
		return fmt.Errorf("%w: %w", errDamage, err)
	}
	for index := first; index != 0 && index <= last; index++ {
		var entry raft.Log
		err := store.GetLog(index, &entry)
		if errors.Is(err, raft.ErrLogNotFound) && index <= covered {
			index = covered
			continue
		}
		if err != nil {
			return fmt.Errorf("%w: entry %d of %d to %d: %w", errDamage, index, first, last, err)
		}
		if entry.Index != index {
			return fmt.Errorf("%w: entry %d calls itself %d", errDamage, index, entry.Index)
		}
	}
	return readVotes(store, last)
}
