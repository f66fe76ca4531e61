package consensus

import (
	"bytes"
	"context"
	"sync"
	"time"

	"ddocker/consensus/ledger"
)

// parcel is a snapshot of the ledger as bytes, shared by those who come for it at about
// the same time. The zero parcel is ready for use.
type parcel struct {
	mu    sync.Mutex // guards what follows
	index uint64
	data  []byte // nil: none
	drop  *time.Timer
}

// parcelLife is how long a snapshot is kept for who fetches it in pieces.
const parcelLife = time.Minute

// serveFeed answers a node that is not reached by raft.
func (c *Consensus) serveFeed(ctx context.Context, w *want) answer {
	if w == nil {
		return answer{Error: "the question asks for nothing"}
	}
	own := c.byRaft()
	if !own.holds(c.cfg.ID) {
		known := c.outlook()
		known.Leader = "" // whoever is fed knows it at second hand
		return answer{Retry: "the node does not follow the log", Helping: &helping{outlook: known}}
	}
	if w.Snapshot != 0 {
		return answer{Helping: &helping{outlook: own, Piece: c.parcel.piece(w.Snapshot, w.Offset)}}
	}
	entries, ok := c.awaitFood(ctx, w)
	h := &helping{outlook: c.byRaft(), Entries: entries}
	if !ok {
		p, err := c.pack(w.After)
		if err != nil {
			return answer{Retry: err.Error()}
		}
		h.Piece = p
	}
	return answer{Helping: h}
}

// awaitFood returns the commands that the asker lacks, or waits until there are some,
// there is another leader or another configuration, or it is time to say that there is
// nothing new.
func (c *Consensus) awaitFood(ctx context.Context, w *want) (entries []entry, ok bool) {
	hold := feedHold
	if w.Leader == "" {
		hold = feedHurry
	}
	ctx, cancel := context.WithTimeout(ctx, hold)
	defer cancel()
	for {
		changed, elected := c.Changed(), c.elected.next()
		entries, ok = c.fsm.since(w.After)
		o := c.byRaft()
		if !ok || len(entries) > 0 || !w.Wait || o.Leader != w.Leader || o.Conf > w.Conf {
			return entries, ok
		}
		select {
		case <-changed:
		case <-elected:
		case <-c.stopped:
			return nil, true
		case <-ctx.Done():
			return nil, true
		}
	}
}

// pack returns the first piece of a snapshot from which the commands remembered go on.
func (c *Consensus) pack(after uint64) (*piece, error) {
	p := &c.parcel
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := c.fsm.since(p.index); p.data == nil || !ok || p.index <= after {
		var snapshot ledger.Snapshot
		var index uint64
		c.View(func(l *ledger.Ledger) { snapshot, index = l.Snapshot(), l.Index() })
		var out bytes.Buffer
		if _, err := snapshot.WriteTo(&out); err != nil {
			return nil, err
		}
		p.index, p.data = index, out.Bytes()
	}
	if p.drop != nil {
		p.drop.Stop()
	}
	p.drop = time.AfterFunc(parcelLife, p.clear)
	return p.cut(0), nil
}

func (p *parcel) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.data = nil
}

// piece returns the piece at an offset; nil: there is no such snapshot any more.
func (p *parcel) piece(index uint64, offset int) *piece {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.data == nil || p.index != index || offset < 0 || offset >= len(p.data) {
		return nil
	}
	return p.cut(offset)
}

// cut is piece for who holds mu and knows that there is one.
func (p *parcel) cut(offset int) *piece {
	end := min(offset+maxPiece, len(p.data))
	return &piece{Index: p.index, Size: len(p.data), Offset: offset, Data: p.data[offset:end]}
}
