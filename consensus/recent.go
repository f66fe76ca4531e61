package consensus

import (
	"sort"
	"time"
)

// How many commands are remembered for those who are fed.
const (
	maxRecent      = 2048
	maxRecentBytes = 4 << 20
	maxHelping     = 1 << 20 // bytes of commands in one answer; one command may have more
)

// entry is a committed command.
type entry struct {
	Index uint64    `json:"index"`
	At    time.Time `json:"at"` // the leader's time
	Data  []byte    `json:"data"`
}

// recent are the newest commands of a ledger, oldest first. The zero recent is ready
// for use.
type recent struct {
	after   uint64 // the command before the first
	entries []entry
	bytes   int
}

// add remembers a command, whose predecessor was applied at index before.
func (r *recent) add(before uint64, e entry) {
	if len(r.entries) == 0 {
		r.after = before
	}
	r.entries = append(r.entries, e)
	r.bytes += len(e.Data)
	drop := 0
	for len(r.entries)-drop > maxRecent || r.bytes > maxRecentBytes {
		r.after = r.entries[drop].Index
		r.bytes -= len(r.entries[drop].Data)
		r.entries[drop].Data = nil
		drop++
	}
	r.entries = r.entries[drop:]
}

// since returns the commands after index, as many as fit one answer; false: the first
// of them is no longer remembered.
func (r *recent) since(index uint64) ([]entry, bool) {
	if len(r.entries) == 0 || index < r.after {
		return nil, false
	}
	first := sort.Search(len(r.entries), func(i int) bool { return r.entries[i].Index > index })
	end, size := first, 0
	for end < len(r.entries) && (end == first || size+len(r.entries[end].Data) <= maxHelping) {
		size += len(r.entries[end].Data)
		end++
	}
	return append([]entry(nil), r.entries[first:end]...), true
}
