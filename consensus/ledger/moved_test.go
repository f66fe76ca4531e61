package ledger

import (
	"testing"

	"ddocker/sched"
)

// onTheMove is a ledger of the level in which web, container c1, moves from host gpu1 with
// what only one can hold to gpu2.
func onTheMove(t *testing.T, level int) *Ledger {
	t.Helper()
	l := twoHosts(t)
	must(t, l, Command{Raise: &Raise{To: level}})
	must(t, l, place("p1", "web", sched.Request{Cores: sched.CPUs(0, 1), GPUs: []sched.GPUWish{{}}, Ports: []sched.PortWish{{Host: 80, Proto: "tcp"}}}))
	must(t, l, Command{Confirm: &Confirm{Placement: "p1", Container: "c1"}})
	must(t, l, Command{Move: &Move{Placements: []string{"p1"}, Candidates: []string{"n2"}}})
	return l
}

// rivals are those that cannot be where web was, as long as that may be started there.
func rivals() (list []Command) {
	for name, r := range map[string]sched.Request{
		"cores": {Cores: sched.CPUs(1)}, "card": {GPUs: []sched.GPUWish{{UUID: "card-n1"}}}, "port": {Ports: []sched.PortWish{{Host: 80, Proto: "tcp"}}},
	} {
		c := place("of "+name, name, r)
		c.Reserve.Candidates = []string{"n1"}
		list = append(list, c)
	}
	return list
}

func wantTaken(t *testing.T, l *Ledger, when string, taken bool) {
	t.Helper()
	for _, c := range rivals() {
		if r := do(t, restored(t, l), c); (r.Refusal != nil) != taken {
			t.Errorf("%s: the old %s are given to another: %+v", when, c.Reserve.Name, r)
		}
	}
}

func TestWhatHasMovedHoldsItsOldPlaceUntilItsOldHostSpeaks(t *testing.T) {
	for level, taken := range map[int]bool{5: false, 6: true} {
		l := onTheMove(t, level)
		wantTaken(t, l, "on the move", taken)
		if r, refusal := l.Resolve("web"); refusal != nil || r.Node != "n2" {
			t.Errorf("web is %+v, %v", r, refusal)
		}
		must(t, l, Command{Release: &Release{Placement: "p1"}}) // it did not come to be
		wantTaken(t, l, "not made", taken)
		if r := do(t, l, place("p2", "web", sched.Request{})); (r.Refusal != nil) != taken {
			t.Errorf("level %d: its name is given away: %+v", level, r)
		}
		must(t, l, Command{Observe: &Observe{Node: "n1"}})
		wantTaken(t, l, "gone", false)
	}
}

// What a host says may have been seen before the move, when the container was the cluster's.
func TestAnObservationOfBeforeTheMoveDoesNotFreeTheOldPlace(t *testing.T) {
	other := Outsider{ID: "o", Name: "other"}
	l := onTheMove(t, 6)
	for _, seen := range [][]Outsider{nil, {other}, {{ID: "c1", Name: "web", Grant: l.Node("n1").Observed.Containers[0].Grant}, other}} {
		must(t, l, Command{Observe: &Observe{Node: "n1", Containers: seen}})
		wantTaken(t, l, "on the move", true)
	}
	must(t, l, Command{Confirm: &Confirm{Placement: "p1", Container: "c2"}})
	must(t, l, Command{Observe: &Observe{Node: "n1", Containers: []Outsider{other}}})
	wantTaken(t, l, "moved", false)
	if have := l.Node("n1").Observed.Containers; len(have) != 1 || have[0].ID != "o" {
		t.Errorf("beside the cluster's own there are %+v", have)
	}
}
