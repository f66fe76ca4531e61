package consensus

import (
	"cmp"
	"slices"

	"ddocker/consensus/ledger"
)

// maxWarm is how many nodes follow the log without a vote.
const maxWarm = 2

// choice is which nodes should vote, and which should only follow the log.
type choice struct{ voters, warm []string }

func (c choice) server(id string) bool {
	return slices.Contains(c.voters, id) || slices.Contains(c.warm, id)
}

// choose returns the servers that the cluster should have. They are chosen one after
// another: those that an administrator wants, the leader, and then whoever is of the zone
// with the fewest so far. Within a zone who votes keeps its vote. Where some could vote at
// once no vote waits for others: these follow the log first.
func (s scene) choose() choice {
	var open []string
	for _, id := range s.Nodes {
		if s.eligible(id) {
			open = append(open, id)
		}
	}
	want := s.seats()
	zones := map[string]int{}
	var chosen []string
	for len(chosen) < want+maxWarm && len(open) > 0 {
		pool := open
		if ready := slices.DeleteFunc(slices.Clone(open), func(id string) bool { return !s.ready(id) }); len(chosen) < want && len(ready) > 0 {
			pool = ready
		}
		best := slices.MinFunc(pool, func(a, b string) int { return s.compare(a, b, zones, len(chosen) < want) })
		chosen = append(chosen, best)
		zones[s.Traits[best].Zone]++
		open = slices.DeleteFunc(open, func(id string) bool { return id == best })
	}
	if len(chosen) < want { // the dead keep their votes as long as nobody could have them
		return choice{voters: append(chosen, s.deadVoters(want-len(chosen))...)}
	}
	return choice{chosen[:want], chosen[want:]}
}

// eligible says whether a node may be a server: an administrator does not object, and it
// is one and not dead, or is alive and can be reached.
func (s scene) eligible(id string) bool {
	if s.Traits[id].Want == ledger.Never || s.dead(id) {
		return false
	}
	_, server := s.Servers[id]
	return server || s.alive(id) && s.Peers[id].Reachable
}

// ready says whether a node votes or could vote at once.
func (s scene) ready(id string) bool { return s.Servers[id] || s.fit(id) }

// seats returns how many should vote: fewer than votersFor where too many must not. An
// even number is never wanted.
func (s scene) seats() int { return Seats(len(s.Nodes), s.objectors()) }

// Seats returns how many of so many nodes vote where some of them must not.
func Seats(nodes, objectors int) int {
	want := votersFor(nodes)
	for want > 1 && want > nodes-objectors {
		want -= 2
	}
	return want
}

// objectors counts the nodes that must not vote.
func (s scene) objectors() (n int) {
	for _, id := range s.Nodes {
		if s.Traits[id].Want == ledger.Never {
			n++
		}
	}
	return n
}

// deadVoters returns at most n voters that are away for good and may vote all the same.
func (s scene) deadVoters(n int) (ids []string) {
	for _, id := range s.voters() {
		if len(ids) < n && s.registered(id) && s.dead(id) && s.Traits[id].Want != ledger.Never {
			ids = append(ids, id)
		}
	}
	return ids
}

// compare says which of two nodes is chosen before the other.
func (s scene) compare(a, b string, zones map[string]int, voting bool) int {
	yes := func(is func(string) bool) int {
		switch x, y := is(a), is(b); {
		case x == y:
			return 0
		case x:
			return -1
		}
		return 1
	}
	server := func(id string) bool { _, known := s.Servers[id]; return known }
	if voting {
		if first := cmp.Or(yes(func(id string) bool { return s.Traits[id].Want == ledger.Always }), yes(func(id string) bool { return id == s.Self })); first != 0 {
			return first
		}
	}
	first := cmp.Compare(zones[s.Traits[a].Zone], zones[s.Traits[b].Zone])
	if !voting { // whoever is away for a moment goes on following
		first = cmp.Or(first, yes(server))
	}
	return cmp.Or(first,
		yes(func(id string) bool { return s.Servers[id] }),
		yes(s.alive),
		yes(s.fit),
		yes(server),
		s.Peers[a].FitSince.Compare(s.Peers[b].FitSince),
		cmp.Compare(a, b),
	)
}
