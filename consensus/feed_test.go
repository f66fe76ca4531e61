package consensus

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/test/vnet"
)

// readers returns the running nodes that hold no log.
func (c *cluster) readers() []*node {
	return slices.DeleteFunc(slices.Clone(c.nodes), func(n *node) bool {
		return n.host == nil || slices.ContainsFunc(n.Servers(), func(s Server) bool { return s.ID == n.id })
	})
}

// wantReaders waits until so many nodes hold no log, and returns them.
func (c *cluster) wantReaders(want int) []*node {
	c.t.Helper()
	c.eventually("so many nodes hold no log", func() bool { return len(c.readers()) == want })
	return c.readers()
}

func TestANodeWithoutTheLogReadsAndWritesLikeAnyOther(t *testing.T) {
	inCluster(t, 9, func(t *testing.T, c *cluster) {
		for i, n := range c.wantReaders(2) {
			index := n.propose(write(uint16(100 + i)))
			soon, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			defer cancel()
			if err := n.Wait(soon, index); err != nil || n.value() != uint16(100+i) {
				t.Errorf("%s has %d after its own write, error %v", n.id, n.value(), err)
			}
			if err := n.Read(t.Context()); err != nil {
				t.Error(err)
			}
			st, of := n.Status(), c.leader().Status()
			if st.Leader != of.ID || st.Term != of.Term || !slices.Equal(st.Voters, of.Voters) || len(n.Servers()) != 7 || st.State != "Reader" {
				t.Errorf("%s tells %+v, the leader %+v", n.id, st, of)
			}
			if last := n.raft.Load().LastIndex(); last != 0 {
				t.Errorf("%s has a log up to %d", n.id, last)
			}
		}
	})
}

func TestReadersAreFedByDifferentServersAndOutliveThem(t *testing.T) {
	inCluster(t, 9, func(t *testing.T, c *cluster) {
		readers := c.wantReaders(2)
		for round := range 3 {
			dead := c.leader()
			dead.crash()
			began := time.Now()
			for _, n := range readers {
				v := uint16(10*round + 1)
				n.propose(write(v))
				if err := n.Read(t.Context()); err != nil || n.value() != v {
					t.Errorf("%s reads %d, error %v", n.id, n.value(), err)
				}
			}
			if took := time.Since(began); took > 6*time.Second {
				t.Errorf("after the leader died that took %v", took)
			}
			dead.start()
			c.eventually("all servers are back", func() bool { return c.complete() })
		}
	})
}

func TestAReaderThatWasAwayLongTakesASnapshotInPieces(t *testing.T) {
	inCluster(t, 8, func(t *testing.T, c *cluster) {
		n := c.wantReaders(1)[0]
		n.crash()
		l := c.leader()
		for i := range 60 { // 60 nodes with long names make more than one piece
			l.propose(ledger.Command{ID: strings.Repeat("x", 100_000) + string(rune('0'+i)), Configure: nil, AddToken: &ledger.Token{Hash: strings.Repeat("h", 80_000) + string(rune('0'+i)), Uses: 1, Expires: time.Now().Add(time.Hour)}})
		}
		index := l.propose(write(77))
		n.start()
		if err := n.Wait(t.Context(), index); err != nil || n.value() != 77 {
			t.Errorf("it has %d, error %v", n.value(), err)
		}
		var tokens int
		n.View(func(l *ledger.Ledger) { tokens = len(l.Tokens()) })
		if tokens != 60 {
			t.Errorf("it has %d tokens", tokens)
		}
	})
}

func TestAReaderKnowsTheClusterAlsoWhenItStartsAlone(t *testing.T) {
	for name, stop := range map[string]func(*node){"stopped": (*node).halt, "killed": (*node).crash} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, 8, func(t *testing.T, c *cluster) {
				n := c.wantReaders(1)[0]
				for v := range 300 {
					n.propose(write(uint16(v)))
				}
				time.Sleep(2 * keepEvery)
				n.propose(write(500))
				time.Sleep(time.Second)
				stop(n)
				if n.Fresh() {
					t.Error("it is fresh")
				}
				for _, o := range c.nodes {
					o.halt()
				}
				n.start()
				if v := n.value(); v != 500 && (name == "stopped" || v != 299) {
					t.Errorf("it shows %d", v)
				}
				_, _, err := n.Propose(t.Context(), write(1))
				if err == nil || !strings.Contains(err.Error(), "0 of 5 voters answer") {
					t.Errorf("a write: %v", err)
				}
			})
		})
	}
}

func TestAReaderThatIsCutOffFromTheLeaderIsFedByAnother(t *testing.T) {
	inCluster(t, 8, func(t *testing.T, c *cluster) {
		n, l := c.wantReaders(1)[0], c.leader()
		c.cut(n, l)
		index := l.propose(write(9))
		if err := n.Wait(t.Context(), index); err != nil || n.value() != 9 {
			t.Errorf("it has %d, error %v", n.value(), err)
		}
		if id, _ := n.Leader(); id != l.id {
			t.Errorf("it takes %q for the leader", id)
		}
	})
}

func TestWhoBecomesAServerGoesOnWithWhatItWasFed(t *testing.T) {
	inCluster(t, 8, func(t *testing.T, c *cluster) {
		n := c.wantReaders(1)[0]
		n.propose(write(5))
		dead := c.others(c.leader())[0]
		dead.crash()
		c.within(5*time.Minute, "it follows the log", func() bool {
			return slices.ContainsFunc(n.byRaft().Servers, func(s Server) bool { return s.ID == n.id })
		})
		v := n.propose(write(6))
		if err := n.Wait(t.Context(), v); err != nil || n.value() != 6 {
			t.Errorf("it has %d, error %v", n.value(), err)
		}
	})
}

func TestServersRememberWhatTheyAreAskedForAndNoMore(t *testing.T) {
	var r recent
	if _, ok := r.since(0); ok {
		t.Error("nothing is remembered, and told")
	}
	before := uint64(3)
	for i := range uint64(maxRecent + 10) {
		r.add(before, entry{Index: 5 + 2*i, Data: []byte{1}})
		before = 5 + 2*i
	}
	for _, c := range []struct {
		after uint64
		first uint64
		ok    bool
	}{{3, 0, false}, {21, 0, false}, {23, 25, true}, {24, 25, true}, {before - 1, before, true}} {
		got, ok := r.since(c.after)
		if ok != c.ok || ok && got[0].Index != c.first {
			t.Errorf("after %d: %v, %v", c.after, got, ok)
		}
	}
	r.add(before, entry{Index: before + 1, Data: make([]byte, maxRecentBytes-5)})
	if r.bytes > maxRecentBytes || len(r.entries) > 6 {
		t.Errorf("%d entries with %d bytes are remembered", len(r.entries), r.bytes)
	}
}

func TestANodeThatIsNoServerSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, net: vnet.New(1)}
		n := c.add("n1", "10.0.0.1")
		n.start()
		synctest.Wait()
		ans := n.serveFeed(t.Context(), &want{})
		if ans.Retry == "" || ans.Helping.Leader != "" {
			t.Errorf("it answers %+v", ans)
		}
		n.halt()
	})
}
