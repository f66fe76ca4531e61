package consensus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"ddocker/consensus/ledger"
)

// Consensus is this node's replica of the ledger and its way to the leader.
// Its methods may be called from any goroutine, before Run too.
type Consensus struct {
	cfg     Config
	log     *slog.Logger
	raftLog hclog.Logger
	stores  *Stores
	keeper  *keeper
	fsm     *fsm
	streams *streams

	raft    atomic.Pointer[raft.Raft] // nil until Run
	stopped chan struct{}             // closed when Run ends
	elected signal                    // fires when the leader, or what this node is, changes
	ready   atomic.Uint64             // the last term in which this node led and had applied all before it
	commits progress
	round   round
	asking  chan struct{} // held by who asks the leader
	// changing is held, on the leader, by who removes a node or changes who votes.
	changing chan struct{}
	nudge    *nudge // set before raft
	speaks   int    // the newest version of entries that this node reads
	told     told
	parcel   parcel
	kept     kept
}

// Open starts nothing. The stores are held until Run has ended.
func Open(cfg Config) (*Consensus, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	c := &Consensus{
		cfg: cfg, log: cfg.Logger, raftLog: newRaftLogger(cfg.Logger),
		fsm:     newFSM(cfg.Stores, cfg.Crash),
		streams: newStreams(cfg),
		stores:  cfg.Stores,
		keeper:  newKeeper(cfg.Stores, cfg.Logger),
		stopped: make(chan struct{}),
		speaks:  ledger.Version,
		asking:  make(chan struct{}, maxAsking), changing: make(chan struct{}, 1),
	}
	c.recall()
	c.fsm.learnConf(c.stores.lastConf())
	return c, nil
}

// Fresh reports whether the stores have never belonged to a cluster.
func (c *Consensus) Fresh() bool {
	if c.Applied() > 0 {
		return false
	}
	used, err := raft.HasExistingState(c.stores.log, c.stores.stable, c.stores.snapshots)
	return err == nil && !used
}

// Found makes this node the one voter of a new cluster. Call it before Run; it
// fails unless the stores are fresh.
func (c *Consensus) Found(context.Context) error {
	servers := []raft.Server{{
		Suffrage: raft.Voter,
		ID:       raft.ServerID(c.cfg.ID),
		Address:  peerAddress(c.cfg.ID, c.cfg.Address()),
	}}
	err := raft.BootstrapCluster(c.raftConfig(), c.stores.log, c.stores.stable, c.stores.snapshots, nil, raft.Configuration{Servers: servers})
	if errors.Is(err, raft.ErrCantBootstrap) {
		return errors.New("found cluster: this node already belongs to one")
	}
	if err != nil {
		return fmt.Errorf("found cluster: %w", err)
	}
	return nil
}

func (c *Consensus) raftConfig() *raft.Config {
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(c.cfg.ID)
	conf.Logger = c.raftLog
	conf.NoLegacyTelemetry = true
	conf.ShutdownOnRemove = false // whoever runs the node decides
	conf.CommitTimeout = commitTimeout
	conf.HeartbeatTimeout, conf.ElectionTimeout = silence, silence
	conf.SnapshotThreshold = snapshotEntries
	return conf
}

// View calls look with this replica's ledger, as old as it may be. Look must
// neither block nor keep a pointer that it may not: see package ledger.
func (c *Consensus) View(look func(*ledger.Ledger)) { c.fsm.view(look) }

// Applied returns the log index of the last command in this replica's ledger.
func (c *Consensus) Applied() uint64 { return c.fsm.applied() }

// Changed returns a channel that is closed by the next change of this
// replica's ledger. Take it before looking at the ledger.
func (c *Consensus) Changed() <-chan struct{} { return c.fsm.changed.next() }

// Wait returns when this replica has applied the command at index, one that
// Propose returned. It waits as long as ctx lets it.
func (c *Consensus) Wait(ctx context.Context, index uint64) error {
	var late <-chan time.Time
	for {
		changed := c.Changed()
		if c.Applied() >= index {
			return nil
		}
		if late == nil {
			t := time.NewTimer(lateAfter)
			defer t.Stop()
			late = t.C
		}
		select {
		case <-changed:
		case <-late:
			go c.hurry(ctx)
		case <-c.stopped:
			return ErrStopped
		case <-ctx.Done():
			return fmt.Errorf("wait for log index %d: %w", index, ctx.Err())
		}
	}
}
