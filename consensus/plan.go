package consensus

import (
	"slices"
	"time"
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
	changeYield   changeKind = "yield"   // hand leadership over, so that the next leader can remove this one
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

// scene is everything that a plan depends on.
type scene struct {
	Now     time.Time
	Self    string          // the leader
	Servers map[string]bool // raft's servers: whether each votes
	Nodes   []string        // the ledger's nodes
	Never   map[string]bool // those that are not to vote
	Peers   map[string]peer
}

// plan returns the next step towards the servers that the cluster should have,
// false when none is due. Every node of the ledger follows the log, and votersFor
// of them vote. A dead voter's substitute is promoted before it is demoted, and
// no step leaves voters of whom fewer than a quorum live.
func plan(s scene) (change, bool) {
	if len(s.Nodes) == 0 {
		return change{}, false // the founder has not registered yet
	}
	for _, step := range []func(scene) (change, bool){addMissing, removeGone, promoteBest, yieldIfGone, demoteSurplus} {
		if c, ok := step(s); ok {
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

// addMissing lets nodes follow that raft does not know.
func addMissing(s scene) (change, bool) {
	for _, id := range s.Nodes {
		if _, known := s.Servers[id]; !known && s.Peers[id].Reachable {
			return change{changeAdd, id}, true
		}
	}
	return change{}, false
}

// removeGone forgets non-voters that have left the ledger.
func removeGone(s scene) (change, bool) {
	for _, id := range s.servers() {
		if !s.Servers[id] && !s.registered(id) {
			return change{changeRemove, id}, true
		}
	}
	return change{}, false
}

// promoteBest gives a vote to the node that has been fit for it longest. An odd
// number of sound voters waits for a second candidate where two are wanted,
// because an even number survives no more losses than the odd one below it.
func promoteBest(s scene) (change, bool) {
	missing, candidates := s.missing(), s.candidates()
	if missing <= 0 || len(candidates) == 0 {
		return change{}, false
	}
	voters := s.voters()
	grows := !slices.ContainsFunc(voters, s.unsound)
	if grows && missing > 1 && len(candidates) < 2 && len(voters)%2 == 1 {
		return change{}, false
	}
	if !quorate(len(voters)+1, s.living("")+1) {
		return change{}, false
	}
	return change{changePromote, candidates[0]}, true
}

// yieldIfGone has a leader that left the ledger hand over to another voter.
func yieldIfGone(s scene) (change, bool) {
	if s.eligible(s.Self) || s.living(s.Self) == 0 {
		return change{}, false
	}
	return change{changeYield, s.Self}, true
}

// demoteSurplus takes a vote where there are more than wanted: first of who
// has left, then of who is away, then of anybody but the leader.
func demoteSurplus(s scene) (change, bool) {
	voters := s.voters()
	want := s.wanted()
	for _, unfit := range []func(string) bool{
		func(id string) bool { return !s.eligible(id) },
		func(id string) bool { return len(voters) > want && !s.alive(id) },
		func(id string) bool { return len(voters) > want },
	} {
		for _, id := range voters {
			if id != s.Self && unfit(id) && quorate(len(voters)-1, s.living(id)) {
				return change{changeDemote, id}, true
			}
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
	ids := slices.DeleteFunc(s.servers(), func(id string) bool {
		fit := s.Peers[id].FitSince
		return s.Servers[id] || !s.eligible(id) || fit.IsZero() || s.Now.Sub(fit) < stableFor
	})
	slices.SortStableFunc(ids, func(a, b string) int { return s.Peers[a].FitSince.Compare(s.Peers[b].FitSince) })
	return ids
}

func (s scene) registered(id string) bool { return slices.Contains(s.Nodes, id) }

// eligible says whether the node may vote: it is there, and nobody wants otherwise.
func (s scene) eligible(id string) bool { return s.registered(id) && !s.Never[id] }

// wanted returns how many nodes should vote.
func (s scene) wanted() int {
	return votersFor(len(slices.DeleteFunc(slices.Clone(s.Nodes), func(id string) bool { return s.Never[id] })))
}

func (s scene) alive(id string) bool { return id == s.Self || s.Peers[id].Alive }

// dead reports whether a node has been away for so long that it will not return
// by itself.
func (s scene) dead(id string) bool {
	return !s.alive(id) && s.Now.Sub(s.Peers[id].Since) >= deadFor
}

// unsound reports whether a voter should lose its vote.
func (s scene) unsound(id string) bool { return s.dead(id) || !s.eligible(id) }

// missing returns how many more sound voters there should be.
func (s scene) missing() int {
	sound := slices.DeleteFunc(s.voters(), s.unsound)
	return s.wanted() - len(sound)
}

// living counts the live voters other than except.
func (s scene) living(except string) int {
	n := 0
	for _, id := range s.voters() {
		if id != except && s.alive(id) {
			n++
		}
	}
	return n
}

// quorate reports whether living of voters can commit.
func quorate(voters, living int) bool { return living > voters/2 }
