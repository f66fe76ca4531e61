package consensus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// progress remembers since when this leader has tried in vain to commit
// something. The zero progress is ready for use.
type progress struct {
	mu    sync.Mutex // guards what follows
	open  int        // futures not yet answered
	since time.Time  // zero: nothing was tried since the last success
}

// follow waits for a future that ends with an entry committed.
func (p *progress) follow(ctx context.Context, start func() raft.Future) error {
	return await(ctx, attemptTimeout, func() raft.Future {
		p.begin()
		return ending{start(), p}
	})
}

func (p *progress) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open++
	if p.since.IsZero() {
		p.since = time.Now()
	}
}

// end takes any answer for progress, also the one that this node leads no more, but for a
// full queue and a transfer of leadership: raft may take one for under way for ever, and
// lead on without committing anything (hashicorp/raft#696).
func (p *progress) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open--
	switch {
	case errors.Is(err, raft.ErrEnqueueTimeout), errors.Is(err, raft.ErrLeadershipTransferInProgress):
	case p.open == 0:
		p.since = time.Time{}
	default:
		p.since = time.Now()
	}
}

func (p *progress) stalled(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.since.IsZero() && now.Sub(p.since) >= stallTimeout
}

// ending is a future whose answer is told to a progress.
type ending struct {
	raft.Future
	to *progress
}

// Error waits for the answer.
func (e ending) Error() error {
	err := e.Future.Error()
	e.to.end(err)
	return err
}

// ErrRoomAgain ends a Consensus whose disk was full when raft had to keep a term there.
var ErrRoomAgain = errors.New("there is room for the log of this host again: the agent has to start anew, as it does by itself where something watches over it")

// watch returns an error once the log can be followed no further, once there is room again
// for what raft could not keep, or once this node leads and commits nothing more, over its
// disk or a transfer of leadership: raft would lead on for ever (hashicorp/raft#666).
func (c *Consensus) watch(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-c.keeper.anew:
			return ErrRoomAgain
		case <-ctx.Done():
			return nil
		}
		if err := c.fsm.halted(); err != nil {
			return err
		}
		if c.commits.stalled(time.Now()) && c.stuck(ctx) {
			return fmt.Errorf("lead cluster: nothing was committed for %v although a quorum answers: is the disk of this host stalled?", stallTimeout)
		}
	}
}

// stuck makes sure of a stall: this node leads, commits nothing, and a quorum
// holds it for the leader.
func (c *Consensus) stuck(ctx context.Context) bool {
	r := c.raft.Load()
	if r.State() != raft.Leader {
		return false
	}
	err := c.commits.follow(ctx, func() raft.Future { return r.Barrier(attemptTimeout) })
	if err == nil || ctx.Err() != nil || r.State() != raft.Leader {
		return false
	}
	_, err = c.confirm()
	return err == nil
}
