package consensus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/test/vnet"
)

func TestAFounderLeadsAlone(t *testing.T) {
	inCluster(t, 1, func(t *testing.T, c *cluster) {
		n := c.nodes[0]
		n.propose(write(7))
		if n.value() != 7 || n.Fresh() {
			t.Errorf("value %d, fresh %v", n.value(), n.Fresh())
		}
		if got, want := n.Servers(), []Server{{"n1", Leading}}; !slices.Equal(got, want) {
			t.Errorf("servers %v, want %v", got, want)
		}
		if err := n.Found(t.Context()); err == nil {
			t.Error("a node that has a cluster founded another")
		}
	})
}

func TestThreeNodesVoteAndFourDoNotAllVote(t *testing.T) {
	for _, nodes := range []int{2, 3, 4, 7} {
		t.Run(fmt.Sprint(nodes), func(t *testing.T) {
			inCluster(t, nodes, func(t *testing.T, c *cluster) {
				c.eventually("all replicas equal", func() bool {
					return !slices.ContainsFunc(c.nodes, func(n *node) bool { return n.Applied() != c.nodes[0].Applied() })
				})
			})
		})
	}
}

func TestAnyNodeProposesAndReadsItsOwnWrite(t *testing.T) {
	inCluster(t, 4, func(t *testing.T, c *cluster) {
		for i, n := range c.nodes {
			v := uint16(100 + i)
			index := n.propose(write(v))
			if err := n.Wait(t.Context(), index); err != nil {
				t.Fatal(err)
			}
			if n.value() != v {
				t.Errorf("%s sees %d after its write of %d", n.id, n.value(), v)
			}
			for _, o := range c.nodes {
				if err := o.Read(t.Context()); err != nil {
					t.Fatal(err)
				}
				if o.value() != v {
					t.Errorf("%s reads %d after the write of %d", o.id, o.value(), v)
				}
			}
		}
	})
}

func TestARefusalIsAResultOnEveryNode(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *cluster) {
		for _, n := range c.nodes {
			res, _, err := n.Propose(t.Context(), ledger.Command{UseToken: &ledger.UseToken{Hash: "never made"}})
			if err != nil || res.Refusal == nil || res.Refusal.Code != ledger.Unknown {
				t.Errorf("%s: refusal %v, error %v", n.id, res.Refusal, err)
			}
		}
	})
}

func TestAnOversizedCommandIsNotSent(t *testing.T) {
	inCluster(t, 1, func(t *testing.T, c *cluster) {
		big := ledger.Command{Register: &ledger.Register{Node: "n1", Name: strings.Repeat("x", maxCommand)}}
		if _, _, err := c.nodes[0].Propose(t.Context(), big); err == nil {
			t.Error("it was taken")
		}
	})
}

// Every use of the token is proposed from every node, all at once, with the
// same request IDs, while leaders crash. Were one applied twice, the token
// would be spent too early; were one lost, it would not be spent in the end.
func TestACommandIsCarriedOutOnceAcrossLeaderLoss(t *testing.T) {
	const uses = 60
	inCluster(t, 4, func(t *testing.T, c *cluster) {
		c.nodes[0].propose(ledger.Command{AddToken: &ledger.Token{Hash: "t", Uses: uses, Expires: time.Now().Add(time.Hour)}})
		use := func(n *node, id string) ledger.Result {
			for {
				res, _, err := n.Propose(context.Background(), ledger.Command{ID: id, UseToken: &ledger.UseToken{Hash: "t"}})
				if err == nil {
					return res
				}
				time.Sleep(100 * time.Millisecond)
			}
		}
		old := c.leader()
		proposers := c.others(old)
		var clients sync.WaitGroup
		for i := range uses {
			for _, n := range proposers {
				clients.Go(func() {
					time.Sleep(time.Duration(i) * 50 * time.Millisecond)
					if res := use(n, fmt.Sprint("r", i)); res.Refusal != nil {
						t.Errorf("use %d: %v", i, res.Refusal)
					}
				})
			}
		}
		time.Sleep(time.Second)
		old.crash()
		clients.Wait()
		if res := use(proposers[0], "one too many"); res.Refusal == nil {
			t.Error("the token was used more often than it may be")
		}
	})
}

func TestALeaderThatIsCutOffNeitherReadsNorWrites(t *testing.T) {
	inCluster(t, 5, func(t *testing.T, c *cluster) {
		old := c.leader()
		rest := c.others(old)
		for _, n := range rest[:2] { // the two non-voters stay with it
			for _, stays := range []*node{old, rest[2], rest[3]} {
				c.cut(stays, n)
			}
		}
		// Before its lease ends it holds itself for the leader, and the
		// non-voters agree.
		if _, err := old.readIndex(t.Context()); err == nil {
			t.Error("it reads by its lease alone")
		}
		c.eventually("the others elect", func() bool { return rest[0].IsLeader() || rest[1].IsLeader() })
		rest[0].propose(write(9))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := old.Read(ctx); err == nil {
			t.Errorf("the old leader reads %d", old.value())
		}
		c.net.Heal()
		if err := old.Read(t.Context()); err != nil || old.value() != 9 {
			t.Errorf("healed, the old leader reads %d, error %v", old.value(), err)
		}
	})
}

// Followers learn only later that an entry is committed. Whoever of them is
// elected in between must not answer from what it has applied.
func TestAFreshLeaderReadsWhatTheOldOneAcknowledged(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *cluster) {
		for v := uint16(1); v <= 5; v++ {
			old := c.leader()
			rest := c.others(old)
			old.propose(write(v))
			old.crash()
			for c.leader() == nil {
				time.Sleep(50 * time.Microsecond)
			}
			fresh := c.leader()
			index, err := fresh.readIndex(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := rest[0].Wait(t.Context(), index); err != nil || rest[0].value() != v {
				t.Errorf("%s reads %d after the write of %d, error %v", rest[0].id, rest[0].value(), v, err)
			}
			old.start()
			c.eventually("three voters again", c.complete)
		}
	})
}

func TestWithoutAQuorumTheErrorNamesWhoIsDown(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *cluster) {
		c.nodes[0].crash()
		c.nodes[1].crash()
		began := time.Now()
		_, _, err := c.nodes[2].Propose(t.Context(), write(1))
		const want = "the cluster has no leader: 1 of 3 voters answer (h1, h2 down); 2 are needed"
		if err == nil || err.Error() != want {
			t.Errorf("error %q, want %q", err, want)
		}
		var none *NoLeaderError
		if !errors.As(err, &none) || none.Voters != 3 || len(none.Down) != 2 {
			t.Errorf("error %#v", none)
		}
		if took := time.Since(began); took < holdLeaderless || took > holdLeaderless+attemptTimeout+time.Second {
			t.Errorf("held for %v", took)
		}
	})
}

func TestAWriteIsDoubtfulOnceALeaderThatLostItsQuorumTookIt(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *cluster) {
		old := c.leader()
		rest := c.others(old)
		for _, n := range rest {
			n.crash()
		}
		_, _, err := old.Propose(t.Context(), write(7))
		var none *NoLeaderError
		if !errors.As(err, &none) || !none.Maybe || !strings.Contains(err.Error(), "may still be done") {
			t.Errorf("the write that is in the log is refused with %v", err)
		}
		if _, _, err := old.Propose(t.Context(), write(8)); !errors.As(err, &none) || none.Maybe {
			t.Errorf("the write that no leader took is refused with %v", err)
		}
	})
}

func TestACallIsHeldWhileALeaderIsElected(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *cluster) {
		old := c.leader()
		rest := c.others(old)
		old.crash()
		rest[0].propose(write(3)) // at once: nobody has noticed yet
	})
}

func TestAllNodesComeBackAfterAllWereOff(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *cluster) {
		index := c.nodes[1].propose(write(77))
		for _, n := range c.nodes {
			n.crash()
		}
		for _, n := range c.nodes {
			n.start()
		}
		for _, n := range c.nodes {
			if err := n.Wait(t.Context(), index); err != nil || n.value() != 77 {
				t.Errorf("%s has %d, error %v", n.id, n.value(), err)
			}
		}
	})
}

func TestANodeReturnsAtAnotherAddress(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *cluster) {
		for i, n := range c.nodes {
			n.crash()
			n.ip = fmt.Sprintf("10.9.0.%d", i+1)
			n.start()
			index := c.nodes[(i+1)%3].propose(write(uint16(i + 1)))
			if err := n.Wait(t.Context(), index); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestAllNodesReturnAtOtherAddresses(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *cluster) {
		for _, n := range c.nodes {
			n.crash()
		}
		for i, n := range c.nodes {
			n.ip = fmt.Sprintf("10.9.0.%d", i+1)
			n.start()
		}
		c.nodes[0].propose(write(5))
	})
}

func TestASnapshotSurvivesARestart(t *testing.T) {
	inCluster(t, 1, func(t *testing.T, c *cluster) {
		n := c.nodes[0]
		n.propose(write(21))
		for range 2 { // the second has nothing new to write
			if err := n.Snapshot(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n.Status().SnapshotIndex == 0 {
			t.Error("no snapshot")
		}
		index := n.propose(write(22))
		n.halt()
		n.start()
		if err := n.Wait(t.Context(), index); err != nil || n.value() != 22 {
			t.Errorf("value %d, error %v", n.value(), err)
		}
	})
}

func TestAStoppingLeaderHandsOver(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *cluster) {
		old := c.leader()
		rest := c.others(old)
		began := time.Now()
		old.halt()
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("stopping took %v", took)
		}
		for c.leader() == nil {
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(began); took > 500*time.Millisecond { // an election by timeout takes a second
			t.Errorf("the next leader took %v", took)
		}
		rest[0].propose(write(1))
		if _, _, err := old.Propose(t.Context(), write(2)); !errors.Is(err, ErrStopped) {
			t.Errorf("a stopped node says %v", err)
		}
	})
}

func TestALeaderWithoutAQuorumStopsInThreeSeconds(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *cluster) {
		old := c.leader()
		for _, n := range c.others(old) {
			c.cut(old, n)
		}
		began := time.Now()
		old.halt()
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("stopping took %v", took)
		}
	})
}

func TestLeadershipGoesWhereItIsSent(t *testing.T) {
	inCluster(t, 4, func(t *testing.T, c *cluster) {
		old := c.leader()
		rest := c.others(old)
		to, nonvoter := rest[0], rest[2]
		if err := nonvoter.TransferLeadership(t.Context(), to.id); err != nil {
			t.Fatal(err)
		}
		c.eventually("it leads", func() bool { return to.IsLeader() })
		err := to.TransferLeadership(t.Context(), nonvoter.id)
		if err == nil || !strings.Contains(err.Error(), "does not vote") {
			t.Errorf("to a non-voter: %v", err)
		}
		if err := to.TransferLeadership(t.Context(), ""); err != nil {
			t.Error(err)
		}
		c.eventually("another leads", func() bool { return c.leader() != nil && c.leader() != to })
	})
}

func TestADeadVoterIsReplacedAfterTwoMinutes(t *testing.T) {
	inCluster(t, 4, func(t *testing.T, c *cluster) {
		dead := c.others(c.leader())[0]
		dead.crash()
		began := time.Now()
		replaced := func() bool {
			l := c.leader()
			return l != nil && len(l.Status().Voters) == 3 && !slices.Contains(l.Status().Voters, dead.id)
		}
		for !replaced() && time.Since(began) < 5*time.Minute {
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(began); took < deadFor || took > deadFor+10*time.Second {
			t.Errorf("replaced after %v\n%v", took, c)
		}
	})
}

// A host dies while gossip still holds it for alive, and for dead another that is not to
// vote any more: to take the other's vote would leave the log to the dead one.
func TestNoVoteIsTakenOnAWrongWord(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *cluster) {
		leader := c.leader()
		lives, dead := c.others(leader)[0], c.others(leader)[1]
		c.believe(map[string]bool{dead.id: true, lives.id: false})
		dead.crash()
		leader.propose(ledger.Command{Vote: &ledger.Vote{Node: lives.id, Want: ledger.Never}})
		time.Sleep(10 * appointEvery)
		c.believe(nil)
		c.eventually("the rest has a leader", func() bool { return c.leader() != nil })
		c.leader().propose(write(1))
	})
}

func TestANodeNobodyHasAddedYetProposesThroughAnyMember(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *cluster) {
		n := c.add("n4", "10.0.0.4")
		n.start()
		n.register()
		c.eventually("it follows", c.complete)
	})
}

func TestServeRefusesWhatItCannotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, net: vnet.New(1)}
		n := c.add("n1", "10.0.0.1")
		n.open()
		for _, body := range []string{"", "{", strings.Repeat(" ", maxBody+1)} {
			if _, err := n.Serve(t.Context(), "n2", []byte(body)); err == nil {
				t.Errorf("%d bytes were served", len(body))
			}
		}
		n.run()
		n.halt()
	})
}

func TestAServerKnowsTheClusterAlsoWhenItStartsAlone(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *cluster) {
		index := c.nodes[1].propose(write(77))
		for _, n := range c.nodes {
			if err := n.Wait(t.Context(), index); err != nil {
				t.Fatal(err)
			}
		}
		for _, n := range c.nodes {
			n.halt()
		}
		alone := c.nodes[0]
		alone.start()
		c.eventually("it knows what was decided", func() bool { return alone.value() == 77 })
	})
}

func TestAReadWaitsForWhatThisReplicaLacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := Open(Config{
			ID: "n1", Stores: NewStores(), Streams: closedListener{},
			Address: func() string { return "10.0.0.1:7722" },
			Dial:    func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed },
			Resolve: func(string) (string, bool) { return "", false },
			Members: func() []Member { return []Member{{ID: "n2", Alive: true}} },
			Forward: func(context.Context, string, []byte) ([]byte, error) { return json.Marshal(answer{Index: 7}) },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := c.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without what the leader has acknowledged it reads: %v", err)
		}
	})
}
