package consensus

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"ddocker/consensus/ledger"
	"ddocker/sched"
	"ddocker/settings"
)

// An attempt that Propose gave up may still lie in a buffer on its way to the leader.
func TestALateCopyOverridesNothing(t *testing.T) {
	cores := func(list ...int) sched.CPUSet { return sched.CPUs(list...) }
	first, second := settings.Default(), settings.Default()
	first.StartPort, second.StartPort = 30000, 31000
	for name, c := range map[string]struct {
		first, second ledger.Command
		is            func(l *ledger.Ledger) bool // what was decided second
	}{
		"limits": {
			ledger.Command{Limit: &ledger.Limit{Placement: "p1", Cores: cores(0, 1)}},
			ledger.Command{Limit: &ledger.Limit{Placement: "p1", Cores: cores(0, 1, 2, 3)}},
			func(l *ledger.Ledger) bool { return l.Placement("p1").Grant.Cores.Count() == 4 },
		},
		"a name": {
			ledger.Command{Rename: &ledger.Rename{Placement: "p1", Name: "older"}},
			ledger.Command{Rename: &ledger.Rename{Placement: "p1", Name: "newer"}},
			func(l *ledger.Ledger) bool { return l.Placement("p1").Name == "newer" },
		},
		"a drain": {
			ledger.Command{Drain: &ledger.Drain{Node: "n1", By: "alice"}},
			ledger.Command{Drain: &ledger.Drain{Node: "n1", Open: true}},
			func(l *ledger.Ledger) bool { return l.Node("n1").Drained == "" },
		},
		"a network": {
			ledger.Command{Attach: &ledger.Attach{Placement: "p1", Network: "net"}},
			ledger.Command{Attach: &ledger.Attach{Placement: "p1", Network: "net", Detach: true}},
			func(l *ledger.Ledger) bool { return len(l.Placement("p1").Networks) == 0 },
		},
		"settings": {
			ledger.Command{Configure: &first}, ledger.Command{Configure: &second},
			func(l *ledger.Ledger) bool { return l.Settings().StartPort == 31000 },
		},
		"a user": {
			ledger.Command{AddUser: &ledger.AddUser{Name: "bob", Role: ledger.Member}},
			ledger.Command{RemoveUser: &ledger.RemoveUser{Name: "bob"}},
			func(l *ledger.Ledger) bool { return len(l.Users()) == 0 },
		},
		"the name of an image": {
			ledger.Command{NameImage: &ledger.NameImage{Image: ledger.Image{Name: "web:1", ID: "sha256:a", Node: "n1"}}},
			ledger.Command{Unname: &ledger.Unname{Name: "web:1", ID: "sha256:a"}},
			func(l *ledger.Ledger) bool { return l.Image("web:1") == nil },
		},
	} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, 3, func(t *testing.T, cl *cluster) {
				n := cl.leader()
				n.propose(ledger.Command{Register: &ledger.Register{
					Node: n.id, Name: "h1", Speaks: n.speaks, Capacity: ledger.Capacity{Cores: cores(0, 1, 2, 3), Memory: 1 << 34},
				}})
				n.propose(ledger.Command{ID: "r", Reserve: &ledger.Reserve{
					Placement: "p1", Name: "web", Image: "busybox", Request: sched.Request{MilliCPU: 500}, Candidates: []string{n.id},
				}})
				n.propose(c.first) // what was wished before may be wished again
				n.propose(c.second)
				var entry raft.Log
				if err := n.stores.log.GetLog(n.propose(c.first), &entry); err != nil {
					t.Fatal(err)
				}
				n.propose(c.second)
				ans, err := n.ask(t.Context(), n.id, time.Second, request{Op: opPropose, Data: entry.Data})
				if err != nil || ans.Retry != "" {
					t.Fatal(ans, err)
				}
				n.View(func(l *ledger.Ledger) {
					if !c.is(l) {
						t.Error("what was decided before is back")
					}
				})
			})
		})
	}
}

// What did not come to move is on its old host: a copy of what gave the move up must not take
// that for a container that came late.
func TestACopyOfWhatGaveAMoveUpExpiresNothing(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, cl *cluster) {
		n := cl.leader()
		for _, node := range []string{n.id, "other"} {
			n.propose(ledger.Command{Register: &ledger.Register{
				Node: node, Name: "h-" + node, Speaks: n.speaks, Capacity: ledger.Capacity{Cores: sched.CPUs(0, 1), Memory: 1 << 34},
			}})
		}
		n.propose(ledger.Command{Reserve: &ledger.Reserve{
			Placement: "p1", Name: "db", Image: "busybox", Request: sched.Request{MilliCPU: 500}, Candidates: []string{n.id},
		}})
		n.propose(ledger.Command{Confirm: &ledger.Confirm{Placement: "p1", Node: n.id, Container: "c1"}})
		n.propose(ledger.Command{Move: &ledger.Move{Placements: []string{"p1"}, Candidates: []string{"other"}}})
		var entry raft.Log
		if err := n.stores.log.GetLog(n.propose(ledger.Command{Release: &ledger.Release{Placement: "p1", Expired: true}}), &entry); err != nil {
			t.Fatal(err)
		}
		if ans, err := n.ask(t.Context(), n.id, time.Second, request{Op: opPropose, Data: entry.Data}); err != nil || ans.Retry != "" {
			t.Fatal(ans, err)
		}
		n.View(func(l *ledger.Ledger) {
			if l.Placement("p1") != nil || l.Expired("p1") {
				t.Errorf("it is %+v, expired: %v", l.Placement("p1"), l.Expired("p1"))
			}
		})
	})
}
