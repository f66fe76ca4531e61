package consensus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"ddocker/consensus/ledger"
)

// The ledger's level is the highest version that entries of the log may have: a node that
// meets a higher one than it reads goes no further. A cluster is upgraded node by node, and
// while one of them is behind, commands that it would not read are refused where they are
// proposed. When none is, the leader raises the level, at once where a command needs it.
//
// A replica's level is never too high, so that whoever looks at its own may trust it.

// liftEvery is how often the leader looks whether all nodes read more than the level.
const liftEvery = 10 * time.Second

// level is this replica's.
func (c *Consensus) level() (level int) {
	c.View(func(l *ledger.Ledger) { level = l.Level() })
	return level
}

// gate has the level let the command through, or says why it does not.
func (c *Consensus) gate(ctx context.Context, cmd *ledger.Command) (*ledger.Refusal, error) {
	need := cmd.Since()
	if need <= c.level() {
		return nil, nil
	}
	req := request{Op: opRaise, To: need}
	if cmd.Remove != nil {
		req.Node = cmd.Remove.Node
	}
	ans, err := c.atLeader(ctx, req)
	var said refusal
	if errors.As(err, &said) { // a leader that knows no levels
		leader, _ := c.Leader()
		return notYet(need, []string{c.nameInLedger(leader)}), nil
	}
	return ans.Result.Refusal, err
}

func notYet(level int, hosts []string) *ledger.Refusal {
	return &ledger.Refusal{Code: ledger.Conflict, Message: fmt.Sprintf(
		"that can be done when all hosts run a ddocker that reads version %d of the log: upgrade it on %s", level, strings.Join(hosts, ", "))}
}

// raise raises the level, on the leader, if all nodes read it. A node that is to be removed
// is not asked, and then neither are those that do not answer: of two that are gone for
// good, neither could be removed.
func (c *Consensus) raise(ctx context.Context, r *raft.Raft, to int, removed string) (answer, error) {
	if _, err := c.lead(ctx); err != nil {
		return answer{}, err
	}
	if to <= c.level() {
		return answer{}, nil
	}
	if behind := c.behind(ctx, to, removed); len(behind) > 0 {
		return answer{Result: ledger.Result{Refusal: notYet(to, behind)}}, nil
	}
	data, err := ledger.Encode(ledger.Command{Raise: &ledger.Raise{To: to}})
	if err != nil {
		return answer{}, err
	}
	c.log.Info("the log is written in a newer version from now on: older ddockers can no longer take part", "version", to)
	return c.apply(ctx, r, data)
}

// behind returns the names of the nodes that do not say, now or in the ledger, that they
// read the version.
func (c *Consensus) behind(ctx context.Context, version int, removed string) (names []string) {
	var nodes []*ledger.Node
	c.View(func(l *ledger.Ledger) { nodes = l.Behind(version) })
	alive := map[string]bool{c.cfg.ID: true}
	for _, m := range c.cfg.Members() {
		alive[m.ID] = alive[m.ID] || m.Alive
	}
	reads := make([]bool, len(nodes))
	var asked sync.WaitGroup
	for i, n := range nodes {
		if removed != "" && (n.Node == removed || !alive[n.Node]) {
			reads[i] = true
			continue
		}
		asked.Go(func() {
			ans, err := c.ask(ctx, n.Node, helloTimeout, request{Op: opHello})
			reads[i] = err == nil && ans.Speaks >= version
		})
	}
	asked.Wait()
	for i, n := range nodes {
		if !reads[i] {
			names = append(names, n.Name)
		}
	}
	return names
}

// lift raises the level, on the leader, as soon as all nodes read more.
func (c *Consensus) lift(ctx context.Context) {
	tick := time.NewTicker(liftEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if !c.IsLeader() || c.level() >= c.speaks {
			continue
		}
		attempt, end := context.WithTimeout(ctx, attemptTimeout)
		ans, err := c.raise(attempt, c.raft.Load(), c.speaks, "")
		if end(); err != nil || ans.Result.Refusal != nil {
			c.log.Debug("the level of the log is not raised", "refusal", ans.Result.Refusal, "err", err)
		}
	}
}
