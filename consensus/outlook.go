package consensus

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// toldFor is how long a leader that another node told of is believed in.
const toldFor = 2*feedHold + attemptTimeout

// outlook is what a node knows of the servers: by raft, or from a server that feeds it.
type outlook struct {
	Leader  string   `json:"leader,omitempty"`
	Term    uint64   `json:"term,omitempty"`
	Commit  uint64   `json:"commit,omitempty"`
	Conf    uint64   `json:"conf,omitempty"` // the place in the log of the configuration
	Servers []Server `json:"servers,omitempty"`
}

// told is the newest outlook that another node gave, and when. The zero told is ready
// for use.
type told struct {
	mu sync.Mutex // guards what follows
	outlook
	at time.Time
}

// hear takes an outlook over unless a newer one was heard. News says that another leader
// is in it.
func (t *told) hear(o outlook, now time.Time) (taken, news bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if o.Conf < t.Conf || o.Leader != "" && o.Term < t.Term {
		return false, false
	}
	news = o.Leader != t.Leader
	if o.Leader == "" {
		o.Term = t.Term // it may be that of an election that nobody won
	} else {
		t.at = now
	}
	t.outlook = o
	return true, news
}

// remember takes over what was heard in an earlier life.
func (t *told) remember(o outlook) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.outlook = o
}

// get returns what was heard; a leader of whom nothing was heard for a while is none.
func (t *told) get(now time.Time) (outlook, time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.outlook
	if now.Sub(t.at) > toldFor {
		o.Leader = ""
	}
	return o, t.at
}

// outlook returns what this node knows of the servers: raft knows best where it hears a
// leader, else whoever knows the newer configuration.
func (c *Consensus) outlook() outlook {
	own := c.byRaft()
	if own.Leader != "" {
		return own
	}
	heard, _ := c.told.get(time.Now())
	if heard.Conf < own.Conf {
		return own
	}
	heard.Term = max(heard.Term, own.Term)
	return heard
}

// byRaft is what raft on this node knows, where it runs.
func (c *Consensus) byRaft() (o outlook) {
	r := c.raft.Load()
	if r == nil {
		return outlook{}
	}
	conf := r.GetConfiguration()
	if conf.Error() != nil {
		return outlook{}
	}
	_, leader := r.LeaderWithID()
	o = outlook{Leader: string(leader), Term: r.CurrentTerm(), Commit: r.CommitIndex(), Conf: c.fsm.conf.Load()}
	for _, s := range conf.Configuration().Servers {
		role := Nonvoter
		if s.Suffrage == raft.Voter {
			role = Voter
		}
		o.Servers = append(o.Servers, Server{string(s.ID), role})
	}
	slices.SortFunc(o.Servers, func(a, b Server) int { return cmp.Compare(a.ID, b.ID) })
	return o
}

// holds says whether the node is among the servers.
func (o outlook) holds(id string) bool {
	return slices.ContainsFunc(o.Servers, func(s Server) bool { return s.ID == id })
}

// voters returns the IDs of those that vote.
func (o outlook) voters() (ids []string) {
	for _, s := range o.Servers {
		if s.Role == Voter {
			ids = append(ids, s.ID)
		}
	}
	return ids
}
