package gossip

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"
)

// record is a load as it travels, in big-endian order without padding. The
// later (Epoch, Seq) of a node wins.
type record struct {
	Version uint8
	Node    nodeKey
	Epoch   uint64 // when the node's gossip started, in Unix milliseconds
	Seq     uint32 // counts the node's loads since
	Load    Load
}

const (
	recordVersion = 1
	recordSize    = 43
)

// nodeKey stands for a node ID, which may be long: the start of its SHA-256.
type nodeKey [8]byte

func keyOf(id string) nodeKey {
	sum := sha256.Sum256([]byte(id))
	return nodeKey(sum[:8])
}

func (r record) after(o record) bool {
	return r.Epoch > o.Epoch || r.Epoch == o.Epoch && r.Seq > o.Seq
}

// encode appends r to b.
func (r record) encode(b []byte) []byte {
	b, err := binary.Append(b, binary.BigEndian, r)
	if err != nil {
		panic(err) // a record has fields of fixed size alone
	}
	return b
}

var errRecord = errors.New("decode load: unknown version or wrong length")

func decodeRecord(b []byte) (record, error) {
	var r record
	if len(b) != recordSize || b[0] != recordVersion {
		return r, errRecord
	}
	_, err := binary.Decode(b, binary.BigEndian, &r)
	return r, err
}

// board holds the last record of each node.
type board struct {
	self nodeKey

	mu      sync.Mutex
	epoch   uint64
	records map[nodeKey]record
}

func newBoard(id string, epoch uint64) *board {
	return &board{self: keyOf(id), epoch: epoch, records: map[nodeKey]record{}}
}

// set stamps this node's next record.
func (b *board) set(l Load) {
	b.mu.Lock()
	defer b.mu.Unlock()
	seq := b.records[b.self].Seq + 1
	b.records[b.self] = record{recordVersion, b.self, b.epoch, seq, l}
}

// merge keeps r if it is later than what is known, and reports whether it is
// news for others too.
func (b *board) merge(r record) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.Node == b.self {
		b.outrun(r)
		return false
	}
	old, known := b.records[r.Node]
	if known && !r.after(old) || !known && len(b.records) >= maxMembers {
		return false
	}
	b.records[r.Node] = r
	return true
}

// outrun moves this node's epoch beyond old, a record of its own from before a
// restart, should the clock have been set back since. The caller holds mu.
func (b *board) outrun(old record) {
	if old.Epoch <= b.epoch {
		return
	}
	b.epoch = old.Epoch + 1
	if mine, ok := b.records[b.self]; ok {
		mine.Epoch = b.epoch
		b.records[b.self] = mine
	}
}

// drop forgets the load of a node.
func (b *board) drop(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.records, keyOf(id))
}

func (b *board) mine() (record, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, ok := b.records[b.self]
	return r, ok
}

func (b *board) get(id string) (Load, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, ok := b.records[keyOf(id)]
	return r.Load, ok
}

// encode returns all records, one after the other.
func (b *board) encode() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	state := make([]byte, 0, len(b.records)*recordSize)
	for _, r := range b.records {
		state = r.encode(state)
	}
	return state
}
