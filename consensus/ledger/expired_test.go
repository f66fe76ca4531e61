package ledger

import (
	"testing"

	"ddocker/sched"
)

func TestAPlacementWithAContainerDoesNotExpire(t *testing.T) {
	l := New()
	for i, c := range []Command{
		{Register: &Register{Node: "n1", Name: "h1", Capacity: Capacity{Cores: sched.CPUs(0, 1), Memory: 1 << 30}}},
		{Reserve: &Reserve{Placement: "p1", Name: "web", Candidates: []string{"n1"}}},
		{Confirm: &Confirm{Placement: "p1", Container: "c1"}},
		{Release: &Release{Placement: "p1", Expired: true}},
	} {
		data, err := Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		result := l.Apply(uint64(i+1), start(), data)
		if refused := result.Refusal != nil; refused != (c.Release != nil) {
			t.Errorf("command %d: %v", i, result.Refusal)
		}
	}
	if l.Placement("p1") == nil || l.Expired("p1") {
		t.Error("the placement is gone")
	}
}
