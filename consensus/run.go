package consensus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Run takes part in the cluster until ctx ends, until the log holds what only a
// newer ddocker can read, or until this node leads and its disk has stalled; the
// latter two are errors. It then hands leadership over and
// returns when all it started has ended, within three seconds. Run it once.
func (c *Consensus) Run(ctx context.Context) error {
	defer close(c.stopped)
	transport := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		ServerAddressProvider:   resolver(c.serverAddr),
		Logger:                  c.raftLog,
		Stream:                  c.streams,
		MaxPool:                 3,
		MaxRPCsInFlight:         1, // pipelining can deadlock: hashicorp/raft#612
		Timeout:                 rpcTimeout,
		MsgpackUseNewTimeFormat: true,
	})
	r, err := (*raft.Raft)(nil), c.keeper.writable()
	if err == nil {
		r, err = raft.NewRaft(c.raftConfig(), c.fsm, c.keeper, c.keeper, c.stores.snapshots, transport)
	}
	if err != nil {
		c.streams.hangUp()
		return errors.Join(fmt.Errorf("start raft: %w", err), c.fsm.halted(), transport.Close(), c.stores.close())
	}
	r.RegisterObserver(raft.NewObserver(nil, false, c.observe))
	c.nudge = c.newNudge(transport)
	c.raft.Store(r)

	life, end := context.WithCancelCause(ctx)
	var tasks, feeding sync.WaitGroup
	tasks.Go(func() { c.appoint(life) })
	tasks.Go(func() { c.announce(life) })
	tasks.Go(func() { c.lift(life) })
	feeding.Go(func() { c.stayFed(life) })
	tasks.Go(func() { end(c.watch(life)) })
	<-life.Done()
	feeding.Wait()
	if ctx.Err() != nil { // and raft is well
		c.handOver(r)
		c.keep(r)
	}
	err = c.stop(r)
	tasks.Wait()
	c.nudge.stop()
	if ctx.Err() == nil {
		err = errors.Join(context.Cause(life), err)
	}
	return err
}

// observe is raft's filter of events, and their only listener: it may not block.
func (c *Consensus) observe(o *raft.Observation) bool {
	switch o.Data.(type) {
	case raft.LeaderObservation, raft.RaftState:
		c.elected.fire()
	}
	return false
}

// announce logs every change of leader and, on the leader, makes it ready.
func (c *Consensus) announce(ctx context.Context) {
	last := ""
	for {
		elected := c.elected.next()
		id, _ := c.Leader()
		if id != last && id != "" {
			c.log.Info("the cluster has a leader", "leader", id, "self", id == c.cfg.ID)
		}
		if last = id; id == c.cfg.ID {
			c.settle(ctx)
		}
		select {
		case <-elected:
		case <-ctx.Done():
			return
		}
	}
}

// settle lets the fresh leader apply what earlier leaders left. Whoever needs
// it done calls lead, so a failure here costs nothing.
func (c *Consensus) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	if _, err := c.lead(ctx); err != nil {
		c.log.Debug("not ready to lead", "error", err)
	}
}

// handOver makes another voter lead before this node goes. A transfer can
// deadlock (hashicorp/raft#696), so it is given its time and no more.
func (c *Consensus) handOver(r *raft.Raft) {
	if r.State() != raft.Leader || len(c.otherVoters()) == 0 {
		return
	}
	if err := await(context.Background(), transferTimeout, r.LeadershipTransfer); err != nil {
		c.log.Debug("leadership not handed over", "error", err)
	}
}

// keep leaves a snapshot behind: what raft's log alone holds a node learns again
// only from a leader, and without a quorum there is none.
func (c *Consensus) keep(r *raft.Raft) {
	if !c.byRaft().holds(c.cfg.ID) {
		c.keepAll()
		return
	}
	if err := await(context.Background(), stopTimeout, func() raft.Future { return r.Snapshot() }); err != nil {
		c.log.Debug("no snapshot left behind", "error", err)
	}
}

// stop ends raft and everything on the network and the disk that it used.
func (c *Consensus) stop(r *raft.Raft) error {
	shutdown := r.Shutdown()
	c.streams.hangUp() // raft's calls in flight fail now, not at their deadline
	close(c.keeper.ended)
	if err := await(context.Background(), stopTimeout, func() raft.Future { return shutdown }); err != nil {
		return fmt.Errorf("stop raft: %w", err)
	}
	return c.stores.close()
}

// await waits for a future of raft, none of which knows a context. When it
// gives up, the goroutine that waits ends with the future.
func await(ctx context.Context, limit time.Duration, start func() raft.Future) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- start().Error() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
