package consensus

import (
	"context"
	crypto "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"ddocker/consensus/ledger"
)

// Propose has the cluster carry out a command and returns its result and log
// index; the command is then durable, but this replica may not have applied it
// yet (see Wait). The command is sent again until one answer comes back, so it
// must have a request ID unless repeating it does no harm. One that would override what
// was decided after it gets an ID here, unless its caller, who may propose it again,
// gave it one: an attempt that nobody waits for any more may still arrive.
//
// While no leader answers Propose holds the command for five seconds and then
// returns a *NoLeaderError. A refusal by the ledger, or of what not all nodes
// could read in the log, is in the result.
func (c *Consensus) Propose(ctx context.Context, cmd ledger.Command) (ledger.Result, uint64, error) {
	if no, err := c.gate(ctx, &cmd); err != nil || no != nil {
		return ledger.Result{Refusal: no}, 0, err
	}
	if cmd.ID == "" && cmd.Overrides() {
		cmd.ID = crypto.Text()
	}
	data, err := ledger.Encode(cmd.At(c.level()))
	if err != nil {
		return ledger.Result{}, 0, err
	}
	if len(data) > maxCommand {
		return ledger.Result{}, 0, fmt.Errorf("propose: the command has %d bytes, at most %d are allowed", len(data), maxCommand)
	}
	ans, err := c.atLeader(ctx, request{Op: opPropose, Data: data})
	if err != nil {
		return ledger.Result{}, 0, err
	}
	return ans.Result, ans.Index, nil
}

// atLeader has the leader answer a request, wherever it is and as often as it
// moves, for five seconds and one attempt.
func (c *Consensus) atLeader(ctx context.Context, req request) (answer, error) {
	until := time.Now().Add(holdLeaderless)
	hint := ""
	var last error
	maybe := false
	if err := c.queue(ctx, until); err != nil {
		return answer{}, err
	}
	defer func() { <-c.asking }()
	for {
		elected := c.elected.next()
		if id := c.whoLeads(hint); id != "" {
			attempt, end := context.WithCancel(ctx)
			if req.Op != opTransfer { // which deposes the leader itself
				go c.endWhenDeposed(attempt, end, id, elected)
			}
			ans, err := c.ask(attempt, id, attemptTimeout, req)
			end()
			if err == nil && ans.Retry == "" {
				return ans, ans.failure()
			}
			hint, last = ans.Leader, err
			if err == nil {
				last, maybe = errors.New(ans.Retry), maybe || ans.Maybe
			}
		}
		if err := c.hold(ctx, elected, until); err != nil {
			if errors.Is(err, errHeldLong) {
				err = c.noLeader(last, maybe)
			}
			return answer{}, err
		}
	}
}

// queue waits for its turn to ask the leader. A thousand at once would cost it, with a
// connection each, the time in which it has to be heard.
func (c *Consensus) queue(ctx context.Context, until time.Time) error {
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	select {
	case c.asking <- struct{}{}:
		return nil
	case <-t.C:
		return c.noLeader(fmt.Errorf("%d others ask it at once", cap(c.asking)), false)
	case <-c.stopped:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// endWhenDeposed ends an attempt at a node as soon as another is known to lead:
// a leader whose machine died answers nobody, and would be waited for in vain.
func (c *Consensus) endWhenDeposed(attempt context.Context, end func(), id string, elected <-chan struct{}) {
	for {
		select {
		case <-elected:
		case <-attempt.Done():
			return
		}
		elected = c.elected.next()
		if leader, ok := c.Leader(); ok && leader != id {
			end()
			return
		}
	}
}

// errHeldLong ends a hold for a leader.
var errHeldLong = errors.New("held for long enough")

// hold waits for a while, or for news of a leader.
func (c *Consensus) hold(ctx context.Context, elected <-chan struct{}, until time.Time) error {
	if !time.Now().Before(until) {
		return errHeldLong
	}
	pause := time.NewTimer(50*time.Millisecond + rand.N(100*time.Millisecond))
	defer pause.Stop()
	select {
	case <-pause.C:
		return nil
	case <-elected:
		return nil
	case <-c.stopped:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// whoLeads returns the node to ask: the leader, whom another node said to lead,
// or, for a node that raft has not reached yet, any live member.
func (c *Consensus) whoLeads(hint string) string {
	if id, ok := c.Leader(); ok {
		return id
	}
	if hint != "" {
		return hint
	}
	var alive []string
	for _, m := range c.cfg.Members() {
		if m.Alive && m.ID != c.cfg.ID {
			alive = append(alive, m.ID)
		}
	}
	if len(alive) == 0 {
		return ""
	}
	return alive[rand.N(len(alive))]
}
