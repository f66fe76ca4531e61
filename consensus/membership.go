package consensus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"ddocker/consensus/ledger"
	"ddocker/crash"
)

const (
	appointEvery  = time.Second            // how often the leader looks
	appointPause  = 100 * time.Millisecond // after an event, so that many count as one
	maxCandidates = 8                      // nodes asked whether they are up to date
	maxLag        = 64                     // commands a node may be behind and count as up to date
)

// zoneLabel is the label of a node that says which others fail together with it.
const zoneLabel = "zone"

// feedsSince is the version of entries from which on ddocker can be fed.
const feedsSince = 5

// registry is what a leader remembers of its peers between two looks.
type registry struct {
	peers    map[string]peer
	examined time.Time // when non-voters were last asked whether they are up to date
}

func newRegistry() *registry { return &registry{peers: map[string]peer{}} }

// appoint carries out, on the leader, whatever plan finds due.
func (c *Consensus) appoint(ctx context.Context) {
	tick := time.NewTicker(appointEvery)
	defer tick.Stop()
	known := newRegistry()
	for ctx.Err() == nil {
		elected, changed := c.elected.next(), c.Changed()
		if !c.IsLeader() {
			known, changed = newRegistry(), nil
		} else if err := c.appointAll(ctx, known); err != nil {
			c.log.Debug("servers not changed", "error", err)
		}
		select {
		case <-tick.C:
		case <-elected:
		case <-changed:
			pause(ctx, appointPause)
		case <-ctx.Done():
		}
	}
}

// appointAll makes one change after another until none is due.
func (c *Consensus) appointAll(ctx context.Context, known *registry) error {
	for {
		if _, err := c.lead(ctx); err != nil {
			return err // a ledger that lacks entries would look as if nodes had left
		}
		conf := c.raft.Load().GetConfiguration()
		if err := conf.Error(); err != nil {
			return fmt.Errorf("read raft configuration: %w", err)
		}
		s := c.scene(ctx, conf.Configuration(), known)
		next, ok := plan(s)
		if !ok {
			return nil
		}
		if err := c.make(ctx, next); err != nil {
			return fmt.Errorf("%s server %s: %w", next.Kind, next.ID, err)
		}
		if next.Kind == changeDemote {
			known.unproven(next.ID)
		}
		c.log.Info("raft server changed", "change", string(next.Kind), "node", next.ID)
	}
}

// scene looks at everything that plan needs and brings known up to date.
func (c *Consensus) scene(ctx context.Context, conf raft.Configuration, known *registry) scene {
	s := scene{Now: time.Now(), Self: c.cfg.ID, Servers: map[string]bool{}, Traits: map[string]trait{}, Peers: known.peers}
	c.View(func(l *ledger.Ledger) {
		s.Nodes = l.NodeIDs()
		for _, n := range l.Nodes() {
			s.Traits[n.Node] = trait{Zone: n.Labels[zoneLabel], Want: n.Vote, Bound: n.Speaks < feedsSince}
		}
	})
	for _, srv := range conf.Servers {
		s.Servers[string(srv.ID)] = srv.Suffrage == raft.Voter
	}
	alive := map[string]bool{}
	for _, m := range c.cfg.Members() {
		alive[m.ID] = m.Alive
	}
	for _, id := range append(s.servers(), s.Nodes...) {
		_, reachable := c.cfg.Resolve(id)
		known.see(id, alive[id], reachable, s.Now)
	}
	if s.Now.Sub(known.examined) >= appointEvery/2 {
		known.examined = s.Now
		c.examine(ctx, s)
	}
	return s
}

// see notes how a node looks at now.
func (k *registry) see(id string, alive, reachable bool, now time.Time) {
	p, met := k.peers[id]
	p.Reachable = reachable
	if !met || p.Alive != alive {
		p.Alive, p.Since = alive, now
	}
	if !alive {
		p.FitSince = time.Time{}
	}
	k.peers[id] = p
}

// unproven forgets that a node was up to date: it has yet to show that it knows of its
// demotion.
func (k *registry) unproven(id string) {
	p := k.peers[id]
	p.FitSince = time.Time{}
	k.peers[id] = p
}

// examine asks the non-voters that have lived longest whether they are up to
// date, and notes it.
func (c *Consensus) examine(ctx context.Context, s scene) {
	ids := slices.DeleteFunc(s.servers(), func(id string) bool { return s.Servers[id] || !s.alive(id) })
	slices.SortStableFunc(ids, func(a, b string) int { return s.Peers[a].Since.Compare(s.Peers[b].Since) })
	ids = ids[:min(len(ids), maxCandidates)]
	current := make([]bool, len(ids))
	mine := c.Applied()
	var asked sync.WaitGroup
	for i, id := range ids {
		asked.Go(func() {
			ans, err := c.ask(ctx, id, helloTimeout, request{Op: opHello})
			current[i] = err == nil && ans.Retry == "" && ans.Applied+maxLag >= mine
		})
	}
	asked.Wait()
	for i, id := range ids {
		p := s.Peers[id]
		switch {
		case !current[i]:
			p.FitSince = time.Time{}
		case p.FitSince.IsZero():
			p.FitSince = s.Now
		}
		s.Peers[id] = p
	}
}

// make carries out one change. Only the leader makes any, and one after another, so the
// configuration is still the one that it was planned for.
func (c *Consensus) make(ctx context.Context, next change) error {
	r, id := c.raft.Load(), raft.ServerID(next.ID)
	addr, err := c.serverAddr(id)
	if err != nil && next.Kind != changeDemote && next.Kind != changeRemove {
		return err
	}
	done, err := c.alone(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := c.upheld(ctx, next); err != nil {
		return err
	}
	steps := changeSteps()[next.Kind]
	c.cfg.Crash.At(steps[0])
	err = await(ctx, changeTimeout, func() raft.Future {
		switch next.Kind {
		case changeAdd:
			return r.AddNonvoter(id, addr, 0, changeTimeout)
		case changePromote:
			return r.AddVoter(id, addr, 0, changeTimeout)
		case changeDemote:
			return r.DemoteVoter(id, 0, changeTimeout)
		case changeRemove:
			return r.RemoveServer(id, 0, changeTimeout)
		}
		return r.LeadershipTransferToServer(id, addr)
	})
	c.cfg.Crash.At(steps[1])
	return err
}

// upheld makes sure that of those who vote after the change a quorum answers now. Servers go
// by a configuration from when it is in their logs: one that never becomes committed, because
// somebody whom plan took for alive is not, would stay without a leader for good.
func (c *Consensus) upheld(ctx context.Context, next change) error {
	if next.Kind == changeYield || next.Kind == changeAdd {
		return nil
	}
	others := slices.DeleteFunc(c.otherVoters(), func(id string) bool { return id == next.ID })
	if next.Kind == changePromote {
		others = append(others, next.ID)
	}
	voters := len(others) + 1
	stays := false
	c.View(func(l *ledger.Ledger) {
		if stays = l.Node(next.ID) != nil; stays { // who was removed since is about to end
			others = slices.DeleteFunc(others, func(id string) bool { return l.Node(id) == nil })
		}
	})
	if next.Kind == changePromote && !stays {
		return errors.New("it has been removed")
	}
	if !c.answer(ctx, others, voters/2, func(answer) bool { return true }) {
		return fmt.Errorf("too few of the %d that would vote then answer", voters)
	}
	return nil
}

// changeSteps are the steps before and after each change.
func changeSteps() map[changeKind][2]crash.Step {
	return map[changeKind][2]crash.Step{
		changeAdd:     {crash.VoteAdding, crash.VoteAdded},
		changePromote: {crash.VotePromoting, crash.VotePromoted},
		changeDemote:  {crash.VoteDemoting, crash.VoteDemoted},
		changeRemove:  {crash.VoteRemoving, crash.VoteRemoved},
		changeYield:   {crash.VoteYielding, crash.VoteYielded},
	}
}

// TransferLeadership has the leader hand over to the voter id, or to the voter
// that is most up to date when id is empty. It may be called on any node and
// holds for a leader as Propose does.
func (c *Consensus) TransferLeadership(ctx context.Context, id string) error {
	if _, err := c.atLeader(ctx, request{Op: opTransfer, Node: id}); err != nil {
		return fmt.Errorf("transfer leadership: %w", err)
	}
	return nil
}

func (c *Consensus) transfer(ctx context.Context, r *raft.Raft, id string) error {
	voters := c.otherVoters()
	switch {
	case r.State() != raft.Leader:
		return raft.ErrNotLeader
	case id == c.cfg.ID:
		return nil
	case len(voters) == 0:
		return refusal("no other node votes")
	case id != "" && !slices.Contains(voters, id):
		return refusal(fmt.Sprintf("node %s does not vote", id))
	}
	start := r.LeadershipTransfer
	if id != "" {
		addr, err := c.serverAddr(raft.ServerID(id))
		if err != nil {
			return refusal(err.Error())
		}
		start = func() raft.Future { return r.LeadershipTransferToServer(raft.ServerID(id), addr) }
	}
	if err := await(ctx, attemptTimeout, start); err != nil {
		return refusal(err.Error())
	}
	return nil
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
