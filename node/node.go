// Package node is the agent's verbs on its own machine: place a container
// somewhere in the cluster, realize here what was placed here, release what has
// gone, reconcile the engine with the ledger, answer on the ports of other hosts'
// containers, and sample what the machine has.
//
//	n := node.New(node.Config{ID: id, Log: consensus, Engine: engine, …})
//	go n.Run(ctx)
//	p, index, err := n.Place(ctx, node.Create{Name: "web", Image: "nginx", Request: r}) // on any node
//	made, err := n.Realize(ctx, p.ID, index, version, body)                            // on p.Node
//	status, reply, err := n.Commit(ctx, node.Commit{Claim: claim, Name: "web:2", …})   // where the container is
//
// The ledger says who holds what, the engine what there is. Between a
// reservation and its container any crash may happen: Reconcile makes the two
// agree again, and never removes a container that somebody may have used. Names of
// images are decided in the ledger first, and Reconcile gives each engine the same;
// an image that a container needs is brought before it is made, and every named one
// is copied until enough hosts have it. Package node knows no HTTP.
package node

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/crash"
	"ddocker/engine"
	"ddocker/gossip"
	"ddocker/gpu"
	"ddocker/image"
	"ddocker/relay"
	"ddocker/sched"
)

// Log is the replicated ledger: consensus, or one replica without raft.
type Log interface {
	// Propose returns when the command is durable and applied on a quorum, with
	// its place in the log.
	Propose(ctx context.Context, c ledger.Command) (ledger.Result, uint64, error)
	// Read returns when View sees everything acknowledged before the call.
	Read(ctx context.Context) error
	// Wait returns when View sees the given place in the log.
	Wait(ctx context.Context, index uint64) error
	// View lends the ledger for the time of the call, which must not block.
	View(func(*ledger.Ledger))
}

// Peers is what is known of the other nodes beside the ledger: hints.
type Peers interface {
	// Alive says whether the node is believed to answer.
	Alive(node string) bool
	// Load returns what the node last told of its load.
	Load(node string) sched.Load
	// HasImage asks the node itself, about what the ledger does not know. It ends
	// within a second.
	HasImage(ctx context.Context, node, ref string) bool
	// Bring has the node bring the image with the ID and give it the cluster's name.
	// It returns when the node has done it or ctx ends, and fails soon when that stands
	// still.
	Bring(ctx context.Context, node, id, name string) error
}

// Machine is what is sampled of the machine itself.
type Machine interface {
	// GPUs returns what is known of the GPUs and of who uses them.
	GPUs() gpu.State
	// Topology returns how the cores of the machine are grouped.
	Topology() sched.Topology
	// Listening returns the ports that any process of the host listens on.
	Listening() ([]sched.Port, error)
	// Usage returns the CPU and memory in use, in percent.
	Usage() (cpu, memory int)
}

// Config says which node this is and whom it speaks with. All fields are needed.
type Config struct {
	ID, Name string
	// Address is host:port of the node's one port, as others reach it.
	Address string
	// Version is ddocker's own.
	Version string
	// Key is the hash of the node's public key.
	Key string
	Log Log
	// Changed returns a channel that is closed by the next change of what Log's View
	// shows.
	Changed func() <-chan struct{}
	Engine  *engine.Engine
	Peers   Peers
	Machine Machine
	// Images brings images to this node's engine, Library tells what they are made of.
	Images  *image.Mover
	Library *image.Library
	// Relay answers on this host for others. It is closed when Run ends.
	Relay *relay.Relay
	// Disk returns the room on the disk of the engine's images, in bytes. An error
	// means that it is not known, and nothing is removed to make room.
	Disk func() (free, total int64, err error)
	// Started hears of each container that the engine starts, whoever asked for it.
	Started func(ctx context.Context, container string)
	// Tell hands on this node's load, about every two seconds.
	Tell   func(gossip.Load)
	Logger *slog.Logger
	// Crash is told of steps; nil in the world.
	Crash crash.Point
}

// Node is this machine's part in the cluster.
type Node struct {
	cfg Config
	log *slog.Logger

	// life ends when the agent stops: a create outlives the request that asked
	// for it, but not the agent.
	life context.Context
	stop context.CancelFunc
	// kick asks for a reconciliation soon.
	kick chan struct{}
	// copying asks for a look at which images want another copy.
	copying chan struct{}
	// pinning is held by whoever moves containers off cores, telling by whoever
	// changes what the cluster knows of this machine, and naming by whoever lists
	// images and acts on the list. Naming is taken before telling.
	pinning, telling, naming turn
	// furnishing is held by whoever makes or removes networks and volumes of the cluster.
	furnishing turn
	// caughtUp belongs to whoever holds telling, and says that the ledger was read.
	caughtUp bool
	// nameless belongs to whoever holds furnishing.
	nameless nameless

	// registered is when the cluster last knew this machine as it is. It belongs
	// to the loop that reconciles.
	registered time.Time
	// unsure are the placements that hold other than their containers have, and apart those
	// that name networks on which theirs are not, by ID. They belong to that loop, too.
	unsure, apart map[string]surplus
	// names are the ledger's for placements, by their IDs. They belong to it as well.
	names map[string]naming
	// namesakes were warned of, IDs by name, and so was of leftOut images. They belong
	// to whoever holds naming.
	namesakes map[string]string
	leftOut   int

	relaying sync.Mutex // guards relayed
	relayed  relayed

	cards cardMemory

	mu         sync.Mutex               // guards the maps
	creating   map[string]*call         // open creates by placement
	committing map[string]*call         // open commits by claim
	seen       map[string]sighting      // reservations without a container; nil before the first look
	givingUp   map[string]bool          // placements that the last look releases, or tries to
	claims     map[string]claimSighting // claims of this node; nil before the first look
	sent       map[string]errand        // placements made here of images that their hosts lacked
	identities map[string]identity      // of this engine's images, by the engine's IDs
	evicting   map[string]chan struct{} // evictions under way by image, closed at their end
	limiting   map[string]chan struct{} // changes of limits under way by container, closed at their end
	calls      sync.WaitGroup
}

// New returns a node that does nothing yet.
func New(cfg Config) *Node {
	life, stop := context.WithCancel(context.Background())
	return &Node{
		cfg: cfg, log: cfg.Logger, life: life, stop: stop,
		kick: make(chan struct{}, 1), copying: make(chan struct{}, 1),
		pinning: make(turn, 1), telling: make(turn, 1), naming: make(turn, 1), furnishing: make(turn, 1),
		creating: map[string]*call{}, committing: map[string]*call{}, sent: map[string]errand{},
		cards: cardMemory{
			closed: map[string]*closure{}, doubts: map[string]doubt{}, gone: map[string]time.Time{}, warned: map[string]string{},
		},
		identities: map[string]identity{}, evicting: map[string]chan struct{}{}, limiting: map[string]chan struct{}{},
	}
}

// Periods of what a node does unasked.
const (
	reconcileEvery = time.Minute
	debounce       = time.Second
	sampleEvery    = 2 * time.Second
	observeEvery   = 10 * time.Second
	retryEvery     = 2 * time.Second
	// proposeTimeout bounds a proposal that nobody waits for.
	proposeTimeout = 10 * time.Second
)

// Run keeps the engine and the ledger in agreement until ctx ends, and returns
// when all that it started has ended. Containers keep running.
func (n *Node) Run(ctx context.Context) error {
	defer n.stop()
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { n.watch(ctx) })
	running.Go(func() { n.tellLoad(ctx) })
	running.Go(func() { n.cardLoop(ctx) })
	running.Go(func() { n.reconcileLoop(ctx) })
	running.Go(func() { n.copyLoop(ctx) })
	running.Go(func() { n.evictLoop(ctx) })
	running.Go(func() { n.relayLoop(ctx) })
	<-ctx.Done()
	n.mu.Lock()
	n.stop() // under the lock that begin takes: no call begins after this
	n.mu.Unlock()
	n.calls.Wait()
	return nil
}

// Kick asks for a reconciliation soon. It never blocks.
func (n *Node) Kick() {
	select {
	case n.kick <- struct{}{}:
	default:
	}
}

// turn is a mutex that may be held over a wait, and is given up waiting for.
type turn chan struct{}

func (t turn) acquire(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turn) release() { <-t }

// wait sleeps until d has passed or ctx has ended, and says whether to go on.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// watch reconciles when something happens to the engine's containers and images
// that the ledger may not know: what was made elsewhere, and every removal.
func (n *Node) watch(ctx context.Context) {
	for ctx.Err() == nil {
		n.Kick()
		err := n.cfg.Engine.Watch(ctx, func(e engine.Event) {
			if n.foreign(e) {
				n.Kick()
			}
			switch {
			case e.Kind != "container":
			case e.Action == "destroy":
				n.destroyed(e.ID)
			case e.Action == "start" && n.cfg.Started != nil:
				n.begin(func() { n.cfg.Started(n.life, e.ID) })
			}
		})
		if ctx.Err() == nil {
			n.log.Debug("engine events ended", "err", err)
			n.tryAgain()
		}
		if !wait(ctx, retryEvery) {
			return
		}
	}
}

// destroyed frees what the container held, which docker run --rm or a person on
// the host removed: the next container of that name may be asked for at once.
func (n *Node) destroyed(container string) {
	n.begin(func() {
		ctx, cancel := context.WithTimeout(n.life, proposeTimeout)
		defer cancel()
		if err := n.Removed(ctx, container); err != nil {
			n.log.Debug("removal is left to the next reconciliation", "container", container, "err", err)
		}
	})
}

// begin does something aside, unless the agent stops, and says whether it does.
func (n *Node) begin(do func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.life.Err() != nil {
		return false
	}
	n.calls.Go(do)
	return true
}

// foreign says whether the event may change what the ledger should know.
func (n *Node) foreign(e engine.Event) bool {
	if e.Kind != "container" {
		return true
	}
	switch e.Action {
	case "create", "start", "die", "destroy", "rename", "update", "stop", "kill":
	default:
		return false
	}
	ours := false
	n.cfg.Log.View(func(l *ledger.Ledger) {
		t, refusal := l.Resolve(n.cfg.ID + "/" + e.Name)
		ours = refusal == nil && t.Placement != nil && (t.Container == "" || t.Container == e.ID)
	})
	return !ours || e.Action == "destroy" || e.Action == "rename"
}
