package consensus

import (
	"slices"
	"time"

	"ddocker/consensus/ledger"
)

const (
	stableFor = 3 * time.Second // a node is alive and up to date so long before it may vote
	deadFor   = 2 * time.Minute // a voter is dead so long before another takes its vote
)

// changeKind is what a change does to one server.
type changeKind string

const (
	changeAdd     changeKind = "add"     // let it follow the log
	changePromote changeKind = "promote" // let it vote
	changeDemote  changeKind = "demote"  // take its vote
	changeRemove  changeKind = "remove"  // forget it
	changeYield   changeKind = "yield"   // hand leadership over to it, so that it can remove this one
)

// change is one step of raft's configuration.
type change struct {
	Kind changeKind
	ID   string
}

// peer is what the leader knows of a node. The times are the leader's own: a
// new leader begins to count anew.
type peer struct {
	Reachable bool      // it has an address
	Alive     bool      // by gossip
	Since     time.Time // when Alive last changed
	FitSince  time.Time // alive and up to date since; zero: it is not
}

// trait is what the ledger says of a node that matters to its place among the servers.
type trait struct {
	Zone  string          // nodes of one zone fail together
	Want  ledger.Suffrage // what an administrator wants
	Bound bool            // its ddocker knows no other way to the ledger than the log
}

// scene is everything that a plan depends on.
type scene struct {
	Now     time.Time
	Self    string          // the leader
	Servers map[string]bool // raft's servers: whether each votes
	Nodes   []string        // the ledger's nodes
	Traits  map[string]trait
	Peers   map[string]peer
}

// plan returns the next step towards the servers that the cluster should have,
// false when none is due. Of the ledger's nodes votersFor vote and two more follow the
// log, so that a substitute can vote at once; the others are fed. A dead voter's
// substitute is promoted before it is demoted, and no step leaves voters of whom fewer
// than a quorum live. A leader that was removed hands over before it changes anything.
func plan(s scene) (change, bool) {
	if len(s.Nodes) == 0 {
		return change{}, false // the founder has not registered yet
	}
	steps := []func(scene, choice) (change, bool){addMissing, removeGone, promoteBest, demoteSurplus, yieldIfUnwanted, removeSurplus}
	if !s.registered(s.Self) {
		// It may be gone at any moment, for good: what it decided would need its vote.
		steps = slices.Insert(steps, 0, yieldIfUnwanted)
	}
	for _, step := range steps {
		if c, ok := step(s, s.choose()); ok {
			return c, true
		}
	}
	return change{}, false
}

// votersFor returns how many of n nodes should vote.
func votersFor(n int) int {
	switch {
	case n < 3:
		return 1
	case n < 7:
		return 3
	}
	return 5
}

// addMissing lets nodes follow that are to, and that raft does not know.
func addMissing(s scene, want choice) (change, bool) {
	for _, id := range s.Nodes {
		if _, known := s.Servers[id]; !known && s.Peers[id].Reachable && (want.server(id) || s.Traits[id].Bound) {
			return change{changeAdd, id}, true
		}
	}
	return change{}, false
}

// removeGone forgets non-voters that have left the ledger.
func removeGone(s scene, _ choice) (change, bool) {
	for _, id := range s.servers() {
		if !s.Servers[id] && !s.registered(id) {
			return change{changeRemove, id}, true
		}
	}
	return change{}, false
}

// promoteBest gives a vote to the chosen node that has been fit for it longest. An odd
// number of sound voters waits for a second candidate where two are wanted,
// because an even number survives no more losses than the odd one below it.
func promoteBest(s scene, want choice) (change, bool) {
	voters := s.voters()
	candidates := slices.DeleteFunc(s.candidates(), func(id string) bool { return !slices.Contains(want.voters, id) })
	if len(candidates) == 0 {
		return change{}, false
	}
	missing := len(want.voters) - len(slices.DeleteFunc(slices.Clone(voters), s.unsound))
	grows := !slices.ContainsFunc(voters, s.unsound)
	if grows && missing > 1 && len(candidates) < 2 && len(voters)%2 == 1 {
		return change{}, false
	}
	if !quorate(len(voters)+1, s.living("")+1) {
		return change{}, false
	}
	return change{changePromote, candidates[0]}, true
}

// yieldIfUnwanted has a leader that is not to vote any more hand over to one that is. A
// leader that left the cluster hands over to any, and who stays waits for its substitutes.
func yieldIfUnwanted(s scene, want choice) (change, bool) {
	if slices.Contains(want.voters, s.Self) {
		return change{}, false
	}
	heirs := slices.DeleteFunc(s.voters(), func(id string) bool { return id == s.Self || !s.alive(id) })
	for _, id := range heirs {
		if slices.Contains(want.voters, id) {
			return change{changeYield, id}, true
		}
	}
	if s.registered(s.Self) || len(heirs) == 0 {
		return change{}, false
	}
	return change{changeYield, heirs[0]}, true
}

// demoteSurplus takes a vote where there are more than wanted: first of who
// has left, then of who is away, then of anybody but the leader. One that is away for a
// moment is not given up where that makes one that has left, and ends, part of the quorum.
func demoteSurplus(s scene, want choice) (change, bool) {
	voters := s.voters()
	surplus := func(id string) bool {
		return len(voters) > len(want.voters) && !slices.Contains(want.voters, id)
	}
	for _, step := range []struct {
		unfit func(string) bool
		rest  func(string) int
	}{
		{func(id string) bool { return !s.registered(id) }, s.living},
		{func(id string) bool { return surplus(id) && s.dead(id) }, s.living},
		{func(id string) bool { return surplus(id) && !s.alive(id) }, s.staying}, // who is to come back
		{surplus, s.staying},
	} {
		for _, id := range voters {
			if id != s.Self && step.unfit(id) && quorate(len(voters)-1, step.rest(id)) {
				return change{changeDemote, id}, true
			}
		}
	}
	return change{}, false
}

// removeSurplus has a node be fed that need not follow the log. It must be up to date,
// and so know that it does not vote: with what it knew before, nodes that return
// together could take themselves for a quorum.
func removeSurplus(s scene, want choice) (change, bool) {
	for _, id := range s.servers() {
		if !s.Servers[id] && !want.server(id) && !s.Traits[id].Bound && s.fit(id) {
			return change{changeRemove, id}, true
		}
	}
	return change{}, false
}

// servers returns the IDs of raft's servers in order.
func (s scene) servers() []string {
	var ids []string
	for id := range s.Servers {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func (s scene) voters() []string {
	return slices.DeleteFunc(s.servers(), func(id string) bool { return !s.Servers[id] })
}

// candidates returns the non-voters that may vote, the longest fit first.
func (s scene) candidates() []string {
	ids := slices.DeleteFunc(s.servers(), func(id string) bool { return s.Servers[id] || !s.registered(id) || !s.fit(id) })
	slices.SortStableFunc(ids, func(a, b string) int { return s.Peers[a].FitSince.Compare(s.Peers[b].FitSince) })
	return ids
}

// fit says whether a node has been alive and up to date for long enough.
func (s scene) fit(id string) bool {
	fit := s.Peers[id].FitSince
	return !fit.IsZero() && s.Now.Sub(fit) >= stableFor
}

func (s scene) registered(id string) bool { return slices.Contains(s.Nodes, id) }

func (s scene) alive(id string) bool { return id == s.Self || s.Peers[id].Alive }

// dead reports whether a node has been away for so long that it will not return
// by itself.
func (s scene) dead(id string) bool {
	return !s.alive(id) && s.Now.Sub(s.Peers[id].Since) >= deadFor
}

// unsound reports whether a voter should lose its vote.
func (s scene) unsound(id string) bool { return s.dead(id) || !s.registered(id) }

// living counts the live voters other than except.
func (s scene) living(except string) int { return s.count(except, s.alive) }

// staying is living less those that have left: they end when they hear of that.
func (s scene) staying(except string) int {
	return s.count(except, func(id string) bool { return s.alive(id) && (id == s.Self || s.registered(id)) })
}

func (s scene) count(except string, counts func(string) bool) (n int) {
	for _, id := range s.voters() {
		if id != except && counts(id) {
			n++
		}
	}
	return n
}

// quorate reports whether living of voters can commit.
func quorate(voters, living int) bool { return living > voters/2 }
