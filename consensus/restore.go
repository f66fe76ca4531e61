package consensus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"ddocker/consensus/ledger"
)

// leap is by how much a ledger that does not follow from the one before is put further
// on in the log than anything that anybody can have: replicas tell by the place what is
// newer.
const leap = 1 << 20

// restoreTimeout is how long replacing the ledger may take.
const restoreTimeout = time.Minute

// Restore replaces the cluster's ledger by a snapshot, as Snapshot of a ledger writes
// it. It may be called on the leader only; on others it fails with raft's ErrNotLeader.
func (c *Consensus) Restore(ctx context.Context, snapshot []byte) error {
	r := c.raft.Load()
	if r == nil || r.State() != raft.Leader {
		return fmt.Errorf("restore snapshot: %w", raft.ErrNotLeader)
	}
	book := ledger.New()
	if err := book.Restore(bytes.NewReader(snapshot)); err != nil {
		return fmt.Errorf("restore snapshot: %w", err)
	}
	if len(book.NodeIDs()) == 0 {
		return errors.New("restore snapshot: it has no nodes")
	}
	c.View(book.Outlive)
	index := max(r.LastIndex(), book.Index()) + leap
	var moved bytes.Buffer
	if _, err := book.Snapshot().At(index + 1).WriteTo(&moved); err != nil { // raft leaves one place free
		return fmt.Errorf("restore snapshot: %w", err)
	}
	meta := &raft.SnapshotMeta{Version: raft.SnapshotVersionMax, Index: index, Size: int64(moved.Len())}
	err := await(ctx, restoreTimeout, func() raft.Future { return restoring{r.Restore(meta, &moved, restoreTimeout)} })
	if err != nil {
		return fmt.Errorf("restore snapshot: %w", err)
	}
	return nil
}

// restoring is an answer of raft as a future.
type restoring struct{ err error }

// Error returns the answer.
func (r restoring) Error() error { return r.err }
