package consensus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"ddocker/consensus/ledger"
	"ddocker/crash"
)

// What one node may ask another. Any node answers hello and any server feed; the others
// are for the leader.
const (
	opHello    = "hello"
	opFeed     = "feed"
	opPropose  = "propose"
	opRead     = "read"
	opTransfer = "transfer"
	opRaise    = "raise"
)

// request is the body of a forwarded call.
type request struct {
	Op   string `json:"op"`
	Data []byte `json:"data,omitempty"` // propose: the encoded command
	Node string `json:"node,omitempty"` // transfer: to whom; empty for any. raise: who is to be removed
	To   int    `json:"to,omitempty"`   // raise: the level
	Want *want  `json:"want,omitempty"` // feed
}

// answer is what comes back.
type answer struct {
	// Retry says why the request was not carried out, or may not have been.
	Retry  string `json:"retry,omitempty"`
	Leader string `json:"leader,omitempty"` // with Retry: who leads, if known
	Maybe  bool   `json:"maybe,omitempty"`  // with Retry: the command is in a log, and may be committed later
	Error  string `json:"error,omitempty"`  // carried out, and failed

	Index   uint64        `json:"index,omitempty"`   // propose, read
	Result  ledger.Result `json:"result,omitzero"`   // propose
	Term    uint64        `json:"term,omitempty"`    // hello: the node's term
	Applied uint64        `json:"applied,omitempty"` // hello: the last command in the node's ledger
	Speaks  int           `json:"speaks,omitempty"`  // hello: the newest version of entries that the node reads
	Helping *helping      `json:"helping,omitempty"` // feed
}

func (a answer) failure() error {
	if a.Error == "" {
		return nil
	}
	return refusal(a.Error)
}

// Serve answers what another node's Forward carried here, and refuses what is not for
// that node to propose. It returns within three seconds; an error means that the body
// made no sense.
func (c *Consensus) Serve(ctx context.Context, from string, body []byte) ([]byte, error) {
	if len(body) > maxBody {
		return nil, fmt.Errorf("serve consensus call from %s: %d bytes are too many", from, len(body))
	}
	var req request
	if err := json.Unmarshal(body, &req); err != nil {
		return nil, fmt.Errorf("serve consensus call from %s: %w", from, err)
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	return json.Marshal(c.carryOut(ctx, from, req))
}

// ask sends a request to one node, which may be this one.
func (c *Consensus) ask(ctx context.Context, id string, limit time.Duration, req request) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if id == c.cfg.ID {
		return c.carryOut(ctx, id, req), nil
	}
	body, err := json.Marshal(req)
	if err != nil {
		return answer{}, fmt.Errorf("encode consensus call: %w", err)
	}
	body, err = c.cfg.Forward(ctx, id, body)
	if err != nil {
		return answer{}, err
	}
	var ans answer
	if err := json.Unmarshal(body, &ans); err != nil {
		return answer{}, fmt.Errorf("decode answer of %s: %w", id, err)
	}
	return ans, nil
}

func (c *Consensus) carryOut(ctx context.Context, from string, req request) answer {
	r := c.raft.Load()
	if r == nil {
		return answer{Retry: "the node is starting"}
	}
	var ans answer
	var err error
	switch req.Op {
	case opHello:
		return answer{Term: r.CurrentTerm(), Applied: c.Applied(), Speaks: c.speaks}
	case opFeed:
		return c.serveFeed(ctx, req.Want)
	case opPropose:
		ans, err = c.accept(ctx, r, from, req.Data)
	case opRead:
		ans.Index, err = c.readIndex(ctx)
	case opTransfer:
		err = c.transfer(ctx, r, req.Node)
	case opRaise:
		ans, err = c.raise(ctx, r, req.To, req.Node)
	default:
		return answer{Error: fmt.Sprintf("the node knows no call %q: upgrade ddocker on it", req.Op)}
	}
	if refused := (refusal)(""); errors.As(err, &refused) {
		return answer{Error: err.Error()}
	}
	if err != nil {
		leader, _ := c.Leader()
		appended := req.Op == opPropose && !errors.Is(err, raft.ErrNotLeader)
		return answer{Retry: err.Error(), Leader: leader, Maybe: appended}
	}
	return ans
}

// accept applies a command, unless it is another node's and not for that one to propose, or
// takes away who is needed.
func (c *Consensus) accept(ctx context.Context, r *raft.Raft, from string, data []byte) (answer, error) {
	var cmd ledger.Command
	if err := json.Unmarshal(data, &cmd); err != nil {
		return answer{Error: fmt.Sprintf("what node %s proposed is no command: %v", from, err)}, nil
	}
	removes := cmd.Remove != nil && !cmd.Remove.Left // who leaves has given its vote back before
	if from == c.cfg.ID && !removes {
		return c.apply(ctx, r, data)
	}
	// The ledger of a new leader may not yet tell who holds what.
	if _, err := c.lead(ctx); err != nil {
		return answer{}, fmt.Errorf("%w: %v", raft.ErrNotLeader, err)
	}
	var no *ledger.Refusal
	c.View(func(l *ledger.Ledger) { no = l.MayPropose(from, &cmd) })
	if no == nil && removes {
		done, err := c.alone(ctx)
		if err != nil {
			return answer{}, fmt.Errorf("%w: %v", raft.ErrNotLeader, err)
		}
		defer done()
		// A removal before this one may still be on its way through the log.
		if err := c.commits.follow(ctx, func() raft.Future { return r.Barrier(attemptTimeout) }); err != nil {
			return answer{}, fmt.Errorf("%w: %v", raft.ErrNotLeader, err)
		}
		no = c.needed(ctx, cmd.Remove.Node)
		if no != nil && (ctx.Err() != nil || r.State() != raft.Leader) {
			return answer{}, raft.ErrNotLeader // nobody had the time to answer
		}
	}
	if no != nil {
		c.log.Warn("a proposal is refused", "from", from, "why", no.Message)
		return answer{Result: ledger.Result{Refusal: no}}, nil
	}
	return c.apply(ctx, r, data)
}

// alone has the caller alone remove nodes and change who votes until done, as far as this
// node leads: each has to see who is gone.
func (c *Consensus) alone(ctx context.Context) (done func(), err error) {
	select {
	case c.changing <- struct{}{}:
		return func() { <-c.changing }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for another change of who is there: %w", ctx.Err())
	}
}

// needed refuses to remove a node that votes, unless the voters that stay and answer are a
// quorum: a removed node ends as soon as it hears of that, and to take its vote then needs
// one. That a voter answers does not say that its disk has room.
func (c *Consensus) needed(ctx context.Context, node string) *ledger.Refusal {
	votes, voters, name := false, 0, node
	var stay []string
	servers := c.servers()
	c.View(func(l *ledger.Ledger) {
		for _, s := range servers {
			id, n := string(s.ID), l.Node(string(s.ID))
			switch {
			case s.Suffrage != raft.Voter:
				continue
			case id == node && n != nil: // else it is removed already
				votes, name = true, n.Name
			case n != nil:
				stay = append(stay, id)
			}
			voters++
		}
	})
	if !votes || c.answer(ctx, stay, voters/2+1, func(answer) bool { return true }) {
		return nil
	}
	return &ledger.Refusal{Code: ledger.Conflict, Message: fmt.Sprintf(
		"host %s votes on the log, and too few other voters answer to go on without it: run \"ddocker raft demote %s\" first, or try again in a moment", name, name)}
}

// apply appends a command to the log and waits until the leader's ledger has it.
func (c *Consensus) apply(ctx context.Context, r *raft.Raft, data []byte) (answer, error) {
	if r.State() != raft.Leader {
		return answer{}, raft.ErrNotLeader
	}
	c.cfg.Crash.At(crash.LogAsked)
	var future raft.ApplyFuture
	err := c.commits.follow(ctx, func() raft.Future {
		future = r.Apply(data, attemptTimeout)
		return future
	})
	if err != nil {
		return answer{}, err
	}
	c.cfg.Crash.At(crash.LogCommitted)
	if r.LastIndex() == future.Index() { // else the next entry, or its nudge, tells of it
		c.nudge.tell(future.Index())
	}
	res, ok := future.Response().(ledger.Result)
	if err, failed := future.Response().(error); failed {
		return answer{}, err
	}
	if !ok {
		return answer{}, fmt.Errorf("unexpected result %T", future.Response())
	}
	return answer{Index: future.Index(), Result: res}, nil
}

// refusal is a reason for which asking again is useless.
type refusal string

// Error returns the reason.
func (r refusal) Error() string { return string(r) }
