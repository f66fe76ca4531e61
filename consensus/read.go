package consensus

import (
	"context"
	"fmt"

	"github.com/hashicorp/raft"
)

// Read returns when View shows every write that was acknowledged, to anybody,
// before the call. It needs a leader with a quorum and holds for one as Propose
// does; after that it waits for this replica as long as ctx lets it.
func (c *Consensus) Read(ctx context.Context) error {
	ans, err := c.atLeader(ctx, request{Op: opRead})
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	return c.Wait(ctx, ans.Index)
}

// lead returns the term in which this node leads and its ledger holds all that
// was committed before. It fails on any other node.
func (c *Consensus) lead(ctx context.Context) (term uint64, err error) {
	r := c.raft.Load()
	if r == nil || r.State() != raft.Leader {
		return 0, raft.ErrNotLeader
	}
	term = r.CurrentTerm()
	if c.ready.Load() == term {
		return term, nil
	}
	err = c.commits.follow(ctx, func() raft.Future { return r.Barrier(attemptTimeout) })
	if err != nil {
		return 0, fmt.Errorf("apply what earlier leaders left: %w", err)
	}
	if r.CurrentTerm() != term {
		return 0, raft.ErrLeadershipLost
	}
	c.ready.Store(term)
	return term, nil
}

// readIndex returns an index that covers every write acknowledged before the
// call: the leader applies before it acknowledges, so it is the leader's own,
// once a quorum has said that there was no later leader yet.
func (c *Consensus) readIndex(ctx context.Context) (uint64, error) {
	term, err := c.lead(ctx)
	if err != nil {
		return 0, err
	}
	index := c.Applied()
	if err := c.fsm.halted(); err != nil { // it may have been acknowledged by an earlier leader
		return 0, err
	}
	confirmed, err := c.round.join(ctx, c.confirm)
	if err != nil {
		return 0, err
	}
	if confirmed != term {
		return 0, raft.ErrLeadershipLost
	}
	return index, nil
}

// confirm returns this node's term once a quorum of voters, itself included,
// has said that it is in no later one: when confirm was called, no later
// leader had been elected. raft's VerifyLeader does not serve, because it
// takes non-voters for voters. It takes a second at most.
func (c *Consensus) confirm() (term uint64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), helloTimeout)
	defer cancel()
	term = c.term()
	others := c.otherVoters()
	if !c.answer(ctx, others, (len(others)+1)/2, func(ans answer) bool { return ans.Term <= term }) || c.term() != term {
		return 0, raft.ErrLeadershipLost
	}
	return term, nil
}

// answer asks all these nodes at once, and says whether so many answer as they should, as
// soon as that is known, or within a second.
func (c *Consensus) answer(ctx context.Context, ids []string, missing int, should func(answer) bool) bool {
	said := make(chan bool, len(ids))
	for _, id := range ids {
		go func() {
			ans, err := c.ask(ctx, id, helloTimeout, request{Op: opHello})
			said <- err == nil && ans.Retry == "" && should(ans)
		}()
	}
	for range ids {
		if missing > 0 && <-said {
			missing--
		}
	}
	return missing <= 0
}

func (c *Consensus) term() uint64 {
	if r := c.raft.Load(); r != nil {
		return r.CurrentTerm()
	}
	return 0
}
