package ledger

import (
	"fmt"
	"testing"
)

func TestWhatIsRememberedOfRemovedNodesIsBounded(t *testing.T) {
	l := twoHosts(t)
	for i := range maxLost {
		l.lost = append(l.lost, Lost{Placement: Placement{ID: fmt.Sprint("lost", i)}})
	}
	for i := range maxGone {
		l.gone = append(l.gone, Departed{ID: fmt.Sprint("gone", i)})
	}
	for _, id := range []string{"p1", "p2"} {
		must(t, l, Command{Reserve: &Reserve{Placement: id, Name: id, Candidates: []string{"n2"}}})
		must(t, l, Command{Confirm: &Confirm{Placement: id, Container: "c" + id}})
	}
	must(t, l, Command{Remove: &Remove{Node: "n2"}})
	lost, gone := l.Losts(), l.Departed()
	if len(lost) != maxLost || lost[0].Placement.ID != "lost2" || lost[maxLost-1].Placement.ID != "p2" {
		t.Errorf("%d containers are remembered, from %s to %s", len(lost), lost[0].Placement.ID, lost[len(lost)-1].Placement.ID)
	}
	if len(gone) != maxGone || gone[0].ID != "gone1" || gone[maxGone-1].ID != "n2" {
		t.Errorf("%d nodes are remembered, from %s to %s", len(gone), gone[0].ID, gone[len(gone)-1].ID)
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
