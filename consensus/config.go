package consensus

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"ddocker/crash"
)

// How long things may take. They are virtual in a synctest bubble.
const (
	holdLeaderless  = 5 * time.Second         // a call waits this long for a leader to appear
	attemptTimeout  = 3 * time.Second         // one attempt of a call at one node
	helloTimeout    = time.Second             // a question that any node answers from memory
	rpcTimeout      = 2 * time.Second         // raft's own reads and writes on a stream
	transferTimeout = 1500 * time.Millisecond // handing leadership over while stopping
	stopTimeout     = time.Second             // raft's goroutines ending
	changeTimeout   = 5 * time.Second         // a change of raft's configuration
	stallTimeout    = 10 * time.Second        // a leader that commits nothing gives up
	silence         = 500 * time.Millisecond  // of a leader: after that, and up to twice as long, the others elect
	commitTimeout   = 250 * time.Millisecond  // followers of an idle log hear of its end so often: see nudge
)

// How much things may hold.
const (
	snapshotEntries = 256     // since the last snapshot: after kill -9 and without a quorum, what is older is still known
	maxBody         = 4 << 20 // bytes of a forwarded call
	maxCommand      = 1 << 20 // bytes of an encoded command
	maxAsking       = 64      // callers of this node who ask the leader at once
)

// Config is what a Consensus takes from outside: its identity, its disk and
// its network. The functions may be called from any goroutine; Address,
// Resolve and Members must answer from memory.
type Config struct {
	// ID is this node's ID, fixed for the life of its stores.
	ID string
	// Stores hold the log, the votes and the snapshots: see OpenStores and
	// NewStores. They are Open's from then on.
	Stores *Stores
	// Address returns the host:port at which other nodes reach this one.
	Address func() string
	// Streams hands out the raft streams that others opened. Run closes it.
	Streams net.Listener
	// Dial opens a raft stream to node id, last known at addr.
	Dial func(ctx context.Context, id, addr string) (net.Conn, error)
	// Resolve returns the current address of node id; it works without a quorum.
	Resolve func(id string) (addr string, ok bool)
	// Forward carries body to node id's Serve and returns its answer. A nil
	// error means that the node answered.
	Forward func(ctx context.Context, id string, body []byte) ([]byte, error)
	// Members returns the nodes that gossip knows, dead ones included.
	Members func() []Member
	// Logger receives news of leadership and membership; nil means slog.Default.
	Logger *slog.Logger
	// Crash is told of steps; nil in the world.
	Crash crash.Point
}

// Member is a node as gossip sees it.
type Member struct {
	ID    string
	Name  string // for people; empty means ID
	Alive bool
}

func (m Member) label() string {
	if m.Name == "" {
		return m.ID
	}
	return m.Name
}

func (cfg *Config) check() error {
	switch {
	case cfg.ID == "":
		return errors.New("open consensus: no node ID")
	case cfg.Stores == nil:
		return errors.New("open consensus: no stores")
	case cfg.Streams == nil || cfg.Dial == nil || cfg.Forward == nil:
		return errors.New("open consensus: no network")
	case cfg.Address == nil || cfg.Resolve == nil || cfg.Members == nil:
		return errors.New("open consensus: no view of the members")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return nil
}
