package consensus

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// Bolt finds out when its pages make no sense, not when a byte in them is another: a term
// read as a larger one makes a node the leader of all, with whatever it has. So everything
// is kept with its sum. What was kept by a ddocker that knew none has none; one that knows
// none reads past them.

// sumMark is before the sum of a value: no address has it, and a number has 8 bytes.
const sumMark = 0xc5

// summed is a log and its votes with the sums of all that is in them.
type summed struct{ *raftboltdb.BoltStore }

// StoreLog implements raft.LogStore.
func (s summed) StoreLog(entry *raft.Log) error { return s.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore.
func (s summed) StoreLogs(entries []*raft.Log) error {
	kept := make([]*raft.Log, len(entries))
	for i, e := range entries { // which raft goes on using
		with := *e
		with.Extensions = sumOf(e)
		kept[i] = &with
	}
	return s.BoltStore.StoreLogs(kept)
}

// GetLog implements raft.LogStore.
func (s summed) GetLog(index uint64, entry *raft.Log) error {
	if err := s.BoltStore.GetLog(index, entry); err != nil {
		return err
	}
	if len(entry.Extensions) > 0 && !slices.Equal(entry.Extensions, sumOf(entry)) {
		return fmt.Errorf("%w: entry %d is not what was kept", errDamage, index)
	}
	entry.Extensions = nil
	return nil
}

func sumOf(e *raft.Log) []byte {
	var head []byte
	at := e.AppendedAt
	for _, n := range []uint64{e.Index, e.Term, uint64(e.Type), uint64(at.Unix()), uint64(at.Nanosecond())} {
		head = binary.BigEndian.AppendUint64(head, n)
	}
	return binary.BigEndian.AppendUint32(nil, crc32.Update(crc32.ChecksumIEEE(head), crc32.IEEETable, e.Data))
}

// Set implements raft.StableStore.
func (s summed) Set(key, value []byte) error {
	return s.BoltStore.Set(key, binary.BigEndian.AppendUint32(append(slices.Clone(value), sumMark), sumOfValue(key, value)))
}

// SetUint64 implements raft.StableStore.
func (s summed) SetUint64(key []byte, n uint64) error {
	return s.Set(key, binary.BigEndian.AppendUint64(nil, n))
}

// Get implements raft.StableStore. A value without a sum is that of an older ddocker.
func (s summed) Get(key []byte) ([]byte, error) {
	value, err := s.BoltStore.Get(key)
	end := len(value) - 5
	if err != nil || end < 0 || value[end] != sumMark {
		return value, err
	}
	if binary.BigEndian.Uint32(value[end+1:]) != sumOfValue(key, value[:end]) {
		return nil, fmt.Errorf("%w: %s is not what was kept", errDamage, key)
	}
	return value[:end], nil
}

// GetUint64 implements raft.StableStore.
func (s summed) GetUint64(key []byte) (uint64, error) {
	value, err := s.Get(key)
	if err == nil && len(value) != 8 {
		err = fmt.Errorf("%w: %s has %d bytes", errDamage, key, len(value))
	}
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(value), nil
}

func sumOfValue(key, value []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE(key), crc32.IEEETable, value)
}

// What raft keeps beside the log.
var (
	keyTerm     = []byte("CurrentTerm")
	keyVoteTerm = []byte("LastVoteTerm")
	keyVote     = []byte("LastVoteCand")
)

// readVotes reads the term and the votes. Where there is a log there is a term, none
// earlier than that of the last entry.
func readVotes(store summed, last uint64) error {
	term, err := store.GetUint64(keyTerm)
	if lost := err != nil && !isDamage(err); lost && last > 0 {
		return fmt.Errorf("%w: there is no term: %w", errDamage, err)
	}
	_, err2 := store.GetUint64(keyVoteTerm)
	_, err3 := store.Get(keyVote)
	for _, err := range []error{err, err2, err3} {
		if isDamage(err) {
			return err
		}
	}
	var entry raft.Log
	if err := store.GetLog(last, &entry); err == nil && entry.Term > term {
		return fmt.Errorf("%w: term %d is earlier than that of entry %d, %d", errDamage, term, last, entry.Term)
	}
	return nil
}

// known says whether the log's file has nothing but what is kept there by its name.
func known(bucket, key []byte) error {
	switch string(bucket) {
	case "logs":
		if len(key) == 8 {
			return nil
		}
	case "conf":
		for _, name := range [][]byte{keyTerm, keyVoteTerm, keyVote} {
			if slices.Equal(key, name) {
				return nil
			}
		}
	}
	return fmt.Errorf("%w: key %x of %q is nothing that is kept", errDamage, key, bucket)
}
