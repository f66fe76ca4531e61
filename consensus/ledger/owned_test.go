package ledger

import (
	"testing"

	"ddocker/sched"
)

func TestAVolumeThatNobodyDefinedIsItsFirstUsersFromLevel5On(t *testing.T) {
	for level, want := range map[int]string{4: "", 5: "alice"} {
		l := twoHosts(t)
		for _, n := range l.Nodes() {
			r := n.Register
			r.Speaks = 5
			must(t, l, Command{Register: &r})
		}
		must(t, l, Command{Raise: &Raise{To: level}})
		for _, owner := range []string{"alice", "bob"} {
			c := place("of "+owner, owner, sched.Request{})
			c.Reserve.Owner, c.Reserve.Volumes, c.Reserve.Candidates = owner, []string{"data"}, l.NodeIDs()
			must(t, l, c)
		}
		if o := restored(t, l).Object(Volume, "data"); o.Owner != want {
			t.Errorf("at level %d the volume is %q's, and %q's is right", level, o.Owner, want)
		}
	}
}
