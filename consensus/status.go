package consensus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/hashicorp/raft"
)

// Role is what a server does for the cluster.
type Role string

// The roles. The leader is also a voter.
const (
	Leading  Role = "leader"
	Voter    Role = "voter"
	Nonvoter Role = "nonvoter"
	// Reading is what all other nodes do, which hold no log.
	Reading Role = "reader"
)

// Server is a node that holds the log.
type Server struct {
	ID   string `json:"id"`
	Role Role   `json:"role"`
}

// Status is how this replica stands. Indexes are places in the log.
type Status struct {
	ID            string    `json:"id"`
	State         string    `json:"state"` // raft's word: Leader, Follower, Candidate, Shutdown; or Reader
	Leader        string    `json:"leader,omitempty"`
	Term          uint64    `json:"term"`
	LastIndex     uint64    `json:"lastIndex"`            // newest entry on this disk
	CommitIndex   uint64    `json:"commitIndex"`          // newest entry known to be committed
	AppliedIndex  uint64    `json:"appliedIndex"`         // newest command in this ledger
	SnapshotIndex uint64    `json:"snapshotIndex"`        // newest entry in a snapshot
	LastContact   time.Time `json:"lastContact,omitzero"` // when a leader was last heard; zero on the leader
	Voters        []string  `json:"voters"`
}

// Status returns how this replica stands now. Of a node that holds no log, state and
// indexes are those that the servers told.
func (c *Consensus) Status() Status {
	r := c.raft.Load()
	if r == nil {
		return Status{ID: c.cfg.ID, State: "Starting", AppliedIndex: c.Applied()}
	}
	o := c.outlook()
	st := Status{
		ID: c.cfg.ID, State: r.State().String(), Term: o.Term, Leader: o.Leader,
		LastIndex: r.LastIndex(), CommitIndex: r.CommitIndex(), AppliedIndex: c.Applied(), Voters: o.voters(),
	}
	switch _, heard := c.told.get(time.Now()); {
	case st.Leader == c.cfg.ID:
	case c.stray() && !heard.IsZero():
		st.LastContact = heard
	default:
		st.LastContact = r.LastContact()
	}
	if !o.holds(c.cfg.ID) {
		st.State, st.LastIndex, st.CommitIndex = "Reader", st.AppliedIndex, o.Commit
		return st
	}
	// raft tells the snapshot's index in no other way.
	st.SnapshotIndex, _ = strconv.ParseUint(r.Stats()["last_snapshot_index"], 10, 64)
	return st
}

// Leader returns the node that leads, as far as this one knows.
func (c *Consensus) Leader() (id string, ok bool) {
	r := c.raft.Load()
	if r == nil {
		return "", false
	}
	if _, leader := r.LeaderWithID(); leader != "" {
		return string(leader), true
	}
	id = c.outlook().Leader
	return id, id != ""
}

// IsLeader reports whether this node holds itself for the leader.
func (c *Consensus) IsLeader() bool {
	r := c.raft.Load()
	return r != nil && r.State() == raft.Leader
}

// Servers returns the nodes that hold the log, as this one knows them, by ID.
func (c *Consensus) Servers() []Server {
	o := c.outlook()
	servers := slices.Clone(o.Servers)
	for i := range servers {
		if servers[i].ID == o.Leader {
			servers[i].Role = Leading
		}
	}
	return servers
}

// servers returns raft's newest configuration, committed or not.
func (c *Consensus) servers() []raft.Server {
	r := c.raft.Load()
	if r == nil {
		return nil
	}
	conf := r.GetConfiguration()
	if conf.Error() != nil {
		return nil
	}
	return conf.Configuration().Servers
}

func (c *Consensus) otherVoters() []string {
	var ids []string
	for _, s := range c.servers() {
		if id := string(s.ID); s.Suffrage == raft.Voter && id != c.cfg.ID {
			ids = append(ids, id)
		}
	}
	return ids
}

// Snapshot writes the ledger to disk now and shortens the log accordingly. raft
// does so by itself every 8192 entries.
func (c *Consensus) Snapshot(ctx context.Context) error {
	r := c.raft.Load()
	if r == nil {
		return errors.New("take snapshot: the node is starting")
	}
	err := await(ctx, time.Minute, func() raft.Future { return r.Snapshot() })
	if err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return fmt.Errorf("take snapshot: %w", err)
	}
	return nil
}
