package ledger

import (
	"fmt"
	"testing"

	"ddocker/sched"
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

// That a create was never confirmed does not say that nobody was told of it: without a
// quorum the reservation stands in for the confirmation.
func TestWhatIsReservedOnARemovedNodeIsLostFromLevel6On(t *testing.T) {
	for level, want := range map[int]string{5: "", 6: "p1"} {
		l := twoHosts(t)
		must(t, l, Command{Raise: &Raise{To: level}})
		must(t, l, Command{Reserve: &Reserve{Placement: "p1", Name: "web", Candidates: []string{"n2"}}})
		must(t, l, Command{Reserve: &Reserve{Placement: "p2", Name: "db", Candidates: []string{"n1"}}})
		must(t, l, Command{Confirm: &Confirm{Placement: "p2", Container: "c2"}})
		must(t, l, Command{Move: &Move{Placements: []string{"p2"}, Candidates: []string{"n2"}}}) // it is on n1 still
		must(t, l, Command{Remove: &Remove{Node: "n2"}})
		l = restored(t, l)
		got := ""
		for _, lost := range l.Losts() {
			got += lost.Placement.ID
		}
		if got != want {
			t.Errorf("at level %d there are lost %q, want %q", level, got, want)
		}
	}
}

func TestWhatMovesFromARemovedNodeToARemovedNodeIsLost(t *testing.T) {
	l := twoHosts(t)
	must(t, l, Command{Raise: &Raise{To: 6}})
	must(t, l, Command{Register: &Register{Node: "n3", Name: "gpu3", Capacity: Capacity{Cores: sched.CPUs(0, 1)}}})
	must(t, l, Command{Reserve: &Reserve{Placement: "p1", Name: "db", Candidates: []string{"n1"}}})
	must(t, l, Command{Confirm: &Confirm{Placement: "p1", Container: "c1"}})
	must(t, l, Command{Move: &Move{Placements: []string{"p1"}, Candidates: []string{"n2"}}})
	for node, want := range []int{1: 0, 2: 1} {
		if node > 0 {
			must(t, l, Command{Remove: &Remove{Node: fmt.Sprint("n", node)}})
		}
		if l = restored(t, l); len(l.Losts()) != want {
			t.Errorf("without %d nodes %d placements are lost, want %d", node, len(l.Losts()), want)
		}
	}
}

func TestAReservationThatIsLostIsFoundByItsNameAndID(t *testing.T) {
	l := twoHosts(t)
	must(t, l, Command{Raise: &Raise{To: 6}})
	const id = "abcdef0123"
	must(t, l, Command{Reserve: &Reserve{Placement: id, Name: "web", Candidates: []string{"n2"}}})
	must(t, l, Command{Remove: &Remove{Node: "n2"}})
	for _, ref := range []string{"web", id, id[:4]} {
		if lost := l.LostNamed(ref); lost == nil || lost.Placement.ID != id {
			t.Errorf("%s is %+v", ref, lost)
		}
	}
	for _, o := range []Outsider{{ID: "c1", Name: "other", Created: start()}, {ID: "c1", Name: "web", Created: start().Add(1)}} {
		if must(t, l, Command{Observe: &Observe{Node: "n1", Containers: []Outsider{o}}}); len(l.Losts()) != 1 {
			t.Errorf("%+v is taken for it", o)
		}
	}
	must(t, l, Command{Observe: &Observe{Node: "n1", Containers: []Outsider{{ID: "c1", Name: "web", Created: start().Add(-1)}}}})
	if len(l.Losts()) != 0 {
		t.Error("its machine is back with it, and it is lost")
	}
}
