package consensus

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ddocker/consensus/ledger"
)

// parse draws a scene from words, one a node: the leader is the first. After
// its letter a node has marks:
//
//	V votes   F follows   (neither: raft does not know it)
//	- dead for a minute   = dead for an hour   f fit for a minute   ' fit for an hour
//	x left the ledger     ? has no address
//	A B its zone   n must not vote   + always votes   o is of an old ddocker
func parse(words string) scene {
	now := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	s := scene{Now: now, Servers: map[string]bool{}, Traits: map[string]trait{}, Peers: map[string]peer{}}
	for i, w := range strings.Fields(words) {
		id, marks := w[:1], w[1:]
		has := func(mark string) bool { return strings.Contains(marks, mark) }
		if i == 0 {
			s.Self = id
		}
		p := peer{Reachable: !has("?"), Alive: true, Since: ago(2 * time.Hour)}
		switch {
		case has("-"):
			p.Alive, p.Since = false, ago(time.Minute)
		case has("="):
			p.Alive, p.Since = false, ago(time.Hour)
		case has("f"):
			p.FitSince = ago(time.Minute)
		case has("'"):
			p.FitSince = ago(time.Hour)
		}
		s.Peers[id] = p
		s.Traits[id] = traits(has)
		if has("V") || has("F") {
			s.Servers[id] = has("V")
		}
		if !has("x") {
			s.Nodes = append(s.Nodes, id)
		}
	}
	return s
}

func traits(has func(string) bool) (t trait) {
	for _, zone := range []string{"A", "B"} {
		if has(zone) {
			t.Zone = zone
		}
	}
	switch {
	case has("n"):
		t.Want = ledger.Never
	case has("+"):
		t.Want = ledger.Always
	}
	t.Bound = has("o")
	return t
}

func TestPlan(t *testing.T) {
	for _, c := range []struct{ name, scene, want string }{
		{"one node is enough", "aV", ""},
		{"nobody has registered yet", "aVx", ""},
		{"a new node follows first", "aV b", "add b"},
		{"a node without an address waits", "aV b?", ""},
		{"two voters are worse than one", "aV bFf", ""},
		{"of three, all vote", "aV bFf cFf", "promote b"},
		{"the longest fit goes first", "aV bFf cF'", "promote c"},
		{"one alone does not make two voters", "aV bFf cF", ""},
		{"two voters want a third", "aV bV cFf", "promote c"},
		{"the fourth follows", "aV bV cV dF'", ""},
		{"of seven, five vote", "aV bV cV dFf eFf fF gF", "promote d"},
		{"of seven, never four", "aV bV cV dFf eF fF gF", ""},
		{"a voter away for a minute keeps its vote", "aV bV cV- dFf", ""},
		{"a dead voter's substitute comes first", "aV bV cV= dFf", "promote d"},
		{"then the dead one's vote is taken", "aV bV cF= dV eV=", "demote e"},
		{"without a substitute the dead keep theirs", "aV bV cV= dF", ""},
		{"one substitute for two dead", "aV bV cV dV= eV= fFf gF", "promote f"},
		{"no promotion that loses the quorum", "aV bV- cV= dV= eVx fFf", ""},
		{"a surplus voter that is away goes first", "aV bV cV- dV", "demote c"},
		{"but not the leader", "aV bV", "demote b"},
		{"no demotion that loses the quorum", "aV bV- cV-", ""},
		{"two are left of three", "aV bV cVx", "demote c"},
		{"who left and does not vote is forgotten", "aV bFx", "remove b"},
		{"who is away for a moment is waited for, not who left", "aV bV- cVx", ""},
		{"who left helps to give up the dead", "aV bV= cVx", "demote b"},
		{"a leader that left promotes", "aVx bFf cF", "promote b"},
		{"a leader that left hands over", "aVx bV", "yield b"},
		{"before it takes anybody's vote", "aVx bV cV", "yield b"},
		{"or gives one", "aVx bV cV dFf eFf fFf", "yield b"},
		{"two follow, and no more", "aV bV cV dFf eFf f", ""},
		{"a third that follows is fed from now on", "aV bV cV dF' eF' fFf", "remove f"},
		{"but not before it is up to date", "aV bV cV dF' eF' fF", ""},
		{"nor while it is away", "aV bV cV dF' eF' fF=", ""},
		{"a follower away for a minute goes on following", "aV bV cV dF- eF' f", ""},
		{"one that is dead is replaced", "aV bV cV dF= eF' f", "add f"},
		{"an old ddocker follows", "aV bV cV dF' eF' fo", "add f"},
		{"and goes on following", "aV bV cV dF' eF' fFfo", ""},
		{"zones: the vote goes where there is none", "aVA bVA cVA dFfB", "promote d"},
		{"then one is taken where there are most", "aVA bVA cVA dVB", "demote c"},
		{"two zones are as good as it gets", "aVA bVA cVB dFfB eFfA", ""},
		{"a follower is of the zone with fewest", "aVA bVA cVA dFfA eFfA fB", "add f"},
		{"a zone is left only for a sound one", "aVA bVA cVA dF=B", ""},
		{"who must not vote is replaced first", "aV bVn cV dFf", "promote d"},
		{"then loses its vote", "aV bVn cV dV", "demote b"},
		{"a leader that must not vote is replaced first", "aVn bV cV dFf", "promote d"},
		{"then hands over", "aVn bV cV dV", "yield b"},
		{"who must not vote need not follow", "aV bF'n", "remove b"},
		{"of three of whom one must not vote, one votes", "aV bV cFfn", "demote b"},
		{"who always votes takes a vote", "aV bV cV dFf+", "promote d"},
		{"of another", "aV bV cV dV+", "demote c"},
		{"even of the leader", "aV bV+ cV+ dV+", "yield b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			if next, ok := plan(parse(c.scene)); ok {
				got = string(next.Kind) + " " + next.ID
			}
			if got != c.want {
				t.Errorf("%q: plan is %q, want %q", c.scene, got, c.want)
			}
		})
	}
}

// Whatever is the case, planning comes to an end, ends with the right voters
// where that is possible, and never steps to voters who cannot commit.
func TestPlanComesToAnEndAndKeepsTheQuorum(t *testing.T) {
	marks := rapid.SampledFrom([]string{"", "V", "V", "F", "F'", "Ff", "V-", "V=", "F-", "Vx", "Fx", "V=x", "?",
		"VA", "VB", "F'B", "FfA", "A", "V=B", "Vn", "F'n", "n", "V+", "F'+", "+", "F'o", "o"})
	rapid.Check(t, func(t *rapid.T) {
		words := "aV"
		for i := range rapid.IntRange(0, 9).Draw(t, "others") {
			words += " " + string(rune('b'+i)) + marks.Draw(t, "marks")
		}
		s := parse(words)
		if !quorate(len(s.voters()), s.living("")) {
			return // nobody leads
		}
		for step := 0; ; step++ {
			next, ok := plan(s)
			if !ok {
				break
			}
			if step > 40 {
				t.Fatalf("%q: no end, the last step is %v", words, next)
			}
			take(&s, next)
			if !quorate(len(s.voters()), s.living("")) {
				t.Fatalf("%q: %v leaves no quorum", words, next)
			}
		}
		if extra := len(s.voters()) - s.seats(); extra > 0 && quorate(len(s.voters())-1, s.living("")-1) && s.living(s.Self) > 0 {
			t.Fatalf("%q: %d voters too many stay", words, extra)
		}
		ready := slices.DeleteFunc(s.candidates(), func(id string) bool { return s.Traits[id].Want == ledger.Never })
		sound := slices.DeleteFunc(s.voters(), s.unsound)
		if len(sound) < s.seats() && len(ready) > 1 && quorate(len(s.voters())+1, s.living("")+1) {
			t.Fatalf("%q: voters are missing though %v are fit", words, ready)
		}
		if follow := slices.DeleteFunc(s.candidates(), func(id string) bool { return s.Traits[id].Bound }); len(follow) > maxWarm && len(s.voters()) >= s.seats() {
			t.Fatalf("%q: %v follow", words, follow)
		}
		if slices.ContainsFunc(s.servers(), func(id string) bool { return !s.Servers[id] && !s.registered(id) }) {
			t.Fatalf("%q: somebody who left still follows", words)
		}
	})
}

// take does to a scene what a change does to raft's configuration, and to who leads.
func take(s *scene, c change) {
	switch c.Kind {
	case changeAdd, changeDemote:
		s.Servers[c.ID] = false
	case changePromote:
		s.Servers[c.ID] = true
	case changeRemove:
		delete(s.Servers, c.ID)
	case changeYield:
		s.Self = c.ID
	}
}
