package ledger

import (
	"fmt"
	"testing"

	"ddocker/sched"
)

func TestWhatIsRememberedOfRemovedNodesIsBounded(t *testing.T) {
	l := twoHosts(t)
	const each = 50
	for round := range maxLost/each + 2 {
		node := fmt.Sprint("gone", round)
		must(t, l, Command{Register: &Register{Node: node, Name: node, Capacity: Capacity{Cores: sched.CPUs(0), Memory: 1}}})
		for i := range each {
			id := fmt.Sprint(node, "-", i)
			must(t, l, Command{Reserve: &Reserve{Placement: id, Name: id, Candidates: []string{node}}})
			must(t, l, Command{Confirm: &Confirm{Placement: id, Container: "c" + id}})
		}
		must(t, l, Command{Remove: &Remove{Node: node}})
	}
	for _, l := range []*Ledger{l, restored(t, l)} {
		lost := l.Losts()
		if len(lost) != maxLost || lost[len(lost)-1].Placement.ID != fmt.Sprint("gone", maxLost/each+1, "-", each-1) {
			t.Errorf("%d are remembered as lost, the last %+v", len(lost), lost[len(lost)-1].Placement)
		}
	}
	for i := range maxGone {
		node := fmt.Sprint("empty", i)
		must(t, l, Command{Register: &Register{Node: node, Name: node}})
		must(t, l, Command{Remove: &Remove{Node: node}})
	}
	if len(l.Departed()) != maxGone || l.GoneNode("empty0") == nil || l.GoneNode("gone0") != nil {
		t.Errorf("%d removed nodes are remembered", len(l.Departed()))
	}
}

// What a client is told must not depend on which replica tells it, or on chance: the
// ledger remembers it.
func TestARefusalReadsTheSameOnEveryReplica(t *testing.T) {
	l := twoHosts(t)
	for i := range 8 {
		must(t, l, Command{Reserve: &Reserve{Placement: fmt.Sprint("p", i), Name: fmt.Sprint("web", i), Candidates: []string{"n1"}}})
	}
	leave := Command{Remove: &Remove{Node: "n1", Left: true}}
	first := do(t, restored(t, l), leave)
	for range 8 {
		if again := do(t, restored(t, l), leave); again.Refusal == nil || *again.Refusal != *first.Refusal {
			t.Fatalf("one replica says %q, another %v", first.Refusal.Message, again.Refusal)
		}
	}
}
