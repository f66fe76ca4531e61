package ledger

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"ddocker/settings"
)

// Snapshot is the ledger's state at one moment, unchanged by later commands.
type Snapshot struct {
	head       head
	nodes      []*Node
	placements []*Placement
	memos      []memo
	images     []*Image
	objects    []*Object
}

// head is a snapshot's first record: its version, which is the ledger's level, how many records follow, and
// what is small.
type head struct {
	Version    int               `json:"v"`
	Index      uint64            `json:"index"`
	Settings   settings.Settings `json:"settings"`
	Tokens     []Token           `json:"tokens,omitempty"`
	Expired    []string          `json:"expired,omitempty"`
	Nodes      int               `json:"nodes"`
	Placements int               `json:"placements"`
	Memos      int               `json:"memos"`
	Images     int               `json:"images,omitempty"`
	Removals   []Removal         `json:"removals,omitempty"`
	Objects    int               `json:"objects,omitempty"`
	Leftovers  []Leftover        `json:"leftovers,omitempty"`
	Users      []*User           `json:"users,omitempty"`
	Lost       []Lost            `json:"lost,omitempty"`
	Gone       []Departed        `json:"gone,omitempty"`
	Rotations  []Rotation        `json:"rotations,omitempty"`
	Spilled    bool              `json:"spilled,omitempty"`
}

type nodeRecord struct {
	Register Register          `json:"register"`
	Observed Observe           `json:"observed"`
	Evicted  []Holding         `json:"evicted,omitempty"`
	Drained  string            `json:"drained,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	Vote     Suffrage          `json:"vote,omitempty"`
}

// Snapshot copies the ledger's index of itself, not the records: the cost is a
// pointer a record.
func (l *Ledger) Snapshot() Snapshot {
	s := Snapshot{
		nodes:      slices.SortedFunc(maps.Values(l.nodes), func(a, b *Node) int { return cmp.Compare(a.Node, b.Node) }),
		placements: slices.SortedFunc(maps.Values(l.placements), func(a, b *Placement) int { return cmp.Compare(a.ID, b.ID) }),
		images:     l.Images(),
		objects:    l.allObjects(),
	}
	for _, id := range l.memos.order {
		s.memos = append(s.memos, l.memos.byID[id])
	}
	s.head = head{
		Version: l.level, Index: l.index, Settings: l.settings, Tokens: l.Tokens(), Expired: slices.Clone(l.expired),
		Nodes: len(s.nodes), Placements: len(s.placements), Memos: len(s.memos),
		Images: len(s.images), Removals: l.removals,
		Objects: len(s.objects), Leftovers: l.leftovers,
		Users: l.Users(), Lost: l.lost, Gone: l.gone, Rotations: l.rotations, Spilled: l.spilled,
	}
	return s
}

// WriteTo writes the snapshot as one JSON record a line: the head, then nodes,
// placements, remembered results, images and objects. Equal states write equal bytes.
func (s Snapshot) WriteTo(w io.Writer) (int64, error) {
	count := &counter{w: w}
	buffered := bufio.NewWriterSize(count, 64<<10)
	out := json.NewEncoder(buffered)
	err := out.Encode(s.head)
	for _, n := range s.nodes {
		err = errors.Join(err, out.Encode(nodeRecord{n.Register, n.Observed, n.evicted, n.Drained, n.Labels, n.Vote}))
	}
	for _, p := range s.placements {
		err = errors.Join(err, out.Encode(p))
	}
	for i := range s.memos {
		err = errors.Join(err, out.Encode(&s.memos[i]))
	}
	for _, i := range s.images {
		err = errors.Join(err, out.Encode(i))
	}
	for _, o := range s.objects {
		err = errors.Join(err, out.Encode(o))
	}
	if err = errors.Join(err, buffered.Flush()); err != nil {
		return count.n, fmt.Errorf("write ledger snapshot: %w", err)
	}
	return count.n, nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
