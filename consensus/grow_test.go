package consensus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/test/vnet"
)

// load is writers, one through each node, that note what was acknowledged.
type load struct {
	c    *cluster
	mu   sync.Mutex // guards made
	made []string
	ends map[*node]func()
}

// write has a node write until it is to leave. Not one write may fail.
func (w *load) write(nd *node) {
	ctx, end := context.WithCancel(context.Background())
	done := make(chan struct{})
	w.ends[nd] = func() { end(); <-done }
	go func() {
		defer close(done)
		for k := 0; ctx.Err() == nil; k++ {
			hash := fmt.Sprint(nd.id, "-", k)
			res, _, err := nd.Propose(context.Background(), ledger.Command{ID: hash, AddToken: &ledger.Token{Hash: hash, Uses: 1, Expires: time.Now().Add(time.Hour)}})
			if err != nil || res.Refusal != nil {
				w.c.t.Errorf("a write by %s at %v: %v, %v\n%v", nd.id, time.Now(), res.Refusal, err, w.c)
				return
			}
			w.mu.Lock()
			w.made = append(w.made, hash)
			w.mu.Unlock()
			pause(ctx, 100*time.Millisecond)
		}
	}()
}

// lost returns the acknowledged writes that a node's ledger does not have.
func (w *load) lost(nd *node) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	missing := slices.Clone(w.made)
	nd.View(func(l *ledger.Ledger) {
		have := map[string]bool{}
		for _, t := range l.Tokens() {
			have[t.Hash] = true
		}
		missing = slices.DeleteFunc(missing, func(hash string) bool { return have[hash] })
	})
	return missing
}

func (nd *node) votes() bool { return slices.Contains(nd.Status().Voters, nd.id) }

// leave takes a node out of the cluster as "ddocker leave" does.
func (c *cluster) leave(nd *node) {
	c.t.Helper()
	if nd.votes() {
		nd.propose(ledger.Command{Vote: &ledger.Vote{Node: nd.id, Want: ledger.Never}})
	}
	c.eventually(nd.id+" votes no more", func() bool { return !nd.votes() })
	res, _, err := nd.Propose(context.Background(), ledger.Command{ID: "leave " + nd.id, Remove: &ledger.Remove{Node: nd.id, Left: true}})
	gone := false
	nd.View(func(l *ledger.Ledger) { gone = l.GoneNode(nd.id) != nil })
	if !gone && (err != nil || res.Refusal != nil) {
		c.t.Errorf("%s leaves: %v, %v", nd.id, res.Refusal, err)
	}
	nd.halt()
	c.mu.Lock()
	c.nodes = slices.DeleteFunc(c.nodes, func(o *node) bool { return o == nd })
	c.mu.Unlock()
}

func TestAClusterGrowsToNineAndShrinksToOneUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { growAndShrink(t, rand.New(rand.NewPCG(1, 9))) })
}

func growAndShrink(t *testing.T, chance *rand.Rand) {
	c := &cluster{t: t, net: vnet.New(1)}
	first := c.add("n1", "10.0.0.1")
	first.open()
	if err := first.Found(t.Context()); err != nil {
		t.Fatal(err)
	}
	first.run()
	first.register()
	w := &load{c: c, ends: map[*node]func(){}}
	w.write(first)
	for _, i := range chance.Perm(8) {
		time.Sleep(time.Duration(chance.IntN(3000)) * time.Millisecond)
		nd := c.add(fmt.Sprint("n", i+2), fmt.Sprint("10.0.0.", i+2))
		nd.start()
		nd.register()
		w.write(nd)
	}
	c.eventually("all nine are in their places", c.complete)
	for len(c.nodes) > 1 {
		time.Sleep(time.Duration(chance.IntN(3000)) * time.Millisecond)
		nd := c.nodes[chance.IntN(len(c.nodes))]
		w.ends[nd]()
		c.leave(nd)
		if len(c.nodes) == 1 || chance.IntN(2) == 0 {
			c.eventually("those that stay are in their places", c.complete)
		}
	}
	last := c.nodes[0]
	w.ends[last]()
	if err := last.Read(t.Context()); err != nil {
		t.Error(err)
	}
	if lost := w.lost(last); len(lost) > 0 {
		t.Errorf("%d of %d acknowledged writes are lost: %v", len(lost), len(w.made), lost[:min(5, len(lost))])
	}
	if len(w.made) < 300 {
		t.Errorf("only %d writes", len(w.made))
	}
	last.halt()
}

func TestAMinorityWithReadersAnswersAndReservesNothing(t *testing.T) {
	inCluster(t, 11, func(t *testing.T, c *cluster) {
		readers := c.wantReaders(4)
		var few, many []*node
		for i, nd := range append(c.others(readers[0]), readers[0]) { // voters first
			side := &many
			if nd == readers[0] || nd == readers[1] || i < 2 {
				side = &few
			}
			*side = append(*side, nd)
		}
		index := few[0].propose(write(1))
		for _, nd := range c.nodes {
			if err := nd.Wait(t.Context(), index); err != nil {
				t.Fatal(err)
			}
		}
		for _, a := range few {
			for _, b := range many {
				c.cut(a, b)
			}
		}
		time.Sleep(10 * time.Second) // a leader among the few gives up, and the others elect
		for _, nd := range few {
			res, _, err := nd.Propose(t.Context(), ledger.Command{ID: "r" + nd.id, Reserve: &ledger.Reserve{Placement: nd.id, Name: nd.id, Candidates: []string{nd.id}}})
			var none *NoLeaderError
			if !errors.As(err, &none) || !strings.Contains(err.Error(), "the cluster has no leader") {
				t.Errorf("a reservation by %s of the few: %+v, %v", nd.id, res, err)
			}
			if err := nd.Read(t.Context()); err == nil {
				t.Errorf("%s of the few promises that it knows the newest", nd.id)
			}
			if nd.value() != 1 || len(nd.Servers()) != 7 {
				t.Errorf("%s of the few shows %d and %d servers", nd.id, nd.value(), len(nd.Servers()))
			}
		}
		for i, nd := range many {
			v := uint16(100 + i)
			index := nd.propose(write(v))
			if err := nd.Wait(t.Context(), index); err != nil || nd.value() != v {
				t.Errorf("%s of the many has %d after its write of %d: %v", nd.id, nd.value(), v, err)
			}
		}
		c.net.Heal()
		last := uint16(99 + len(many))
		for _, nd := range few {
			c.eventually(nd.id+" has what the many decided", func() bool { return nd.value() == last })
			nd.propose(write(last))
		}
		c.eventually("all are in their places", c.complete)
	})
}

// A removed node ends as soon as it hears of that, whatever it voted on; whoever asks for its
// removal is to see to its vote first.
func TestNobodyIsRemovedWhoseVoteIsNeeded(t *testing.T) {
	remove := func(nd *node) ledger.Command {
		return ledger.Command{Remove: &ledger.Remove{Node: nd.id}}
	}
	for name, c := range map[string]struct {
		nodes, voters int
		of            func(c *cluster) (by *node, gone []*node) // the last of them is needed
	}{
		"the only voter": {2, 1, func(c *cluster) (*node, []*node) {
			return c.others(c.leader())[0], []*node{c.leader()}
		}},
		"the second of three at once": {5, 3, func(c *cluster) (*node, []*node) {
			voters := slices.DeleteFunc(c.others(c.leader()), func(nd *node) bool { return !nd.votes() })
			return c.leader(), voters
		}},
		"one of two that are left": {3, 3, func(c *cluster) (*node, []*node) {
			c.others(c.leader())[1].crash()
			return c.leader(), c.others(c.leader())[:1]
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, c.nodes, func(t *testing.T, cl *cluster) {
				cl.eventually("all have their votes", func() bool { return len(cl.leader().Status().Voters) == c.voters })
				by, gone := c.of(cl)
				last := gone[len(gone)-1]
				for _, nd := range gone[:len(gone)-1] {
					by.propose(remove(nd))
					nd.crash()
				}
				if why := by.refused(remove(last)); !strings.Contains(why, "raft demote") {
					t.Fatalf("it is removed: %q", why)
				}
				by.propose(ledger.Command{Vote: &ledger.Vote{Node: last.id, Want: ledger.Never}})
				cl.within(5*time.Minute, "it is removed", func() bool { return by.refused(remove(last)) == "" })
				last.crash()
				cl.eventually("the rest goes on", func() bool { return cl.leader() != nil && cl.leader() != last })
				by.propose(write(1))
			})
		})
	}
}
