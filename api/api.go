package api

import (
	"context"
	"log/slog"
	"net/http"
	"sync"

	"ddocker/audit"
	"ddocker/consensus"
	"ddocker/consensus/ledger"
	"ddocker/crash"
	"ddocker/engine"
	"ddocker/gpu"
	"ddocker/image"
)

// Log is the replicated ledger as the API needs it.
type Log interface {
	Propose(ctx context.Context, c ledger.Command) (ledger.Result, uint64, error)
	Read(ctx context.Context) error
	Wait(ctx context.Context, index uint64) error
	View(func(*ledger.Ledger))
}

// Raft is what administrators see and do of the log itself.
type Raft interface {
	Status() consensus.Status
	Servers() []consensus.Server
	TransferLeadership(ctx context.Context, id string) error
	Snapshot(ctx context.Context) error
}

// Node places containers in the cluster, and makes them on this machine.
type Node interface {
	Place(ctx context.Context, c ledger.Reserve) (*ledger.Placement, uint64, error)
	Abandon(ctx context.Context, placement string) error
	Realize(ctx context.Context, placement string, index uint64, version string, body []byte) (status int, reply []byte, err error)
	Removed(ctx context.Context, container string) error
}

// Images carries out on this node what the cluster decided of images.
type Images interface {
	// Commit makes an image of a container of this node. It goes on when ctx ends.
	Commit(ctx context.Context, c Commit) (status int, reply []byte, err error)
	// Bring makes sure that this node has the image with the ID, by the name if that
	// is not empty. Report may be called until it returns, by any goroutine.
	Bring(ctx context.Context, id, name string, report func(image.Progress)) error
	// NameImage gives an image that this engine has a name of the cluster's. The ID
	// is the engine's or the cluster's; an empty claim is none.
	NameImage(ctx context.Context, claim, id, name, owner string) error
	// SettleImages waits for the index and has this engine's names agree with the
	// ledger's. It returns what it removed for that.
	SettleImages(ctx context.Context, index uint64) ([]engine.RemovedImage, error)
}

// Commit is an image to be made of a container.
type Commit struct {
	// Claim has reserved Name for Owner at Index of the log. Without a claim the
	// image gets no name.
	Claim, Name, Owner string
	Index              uint64
	// Version, Query and Body are the request to the engine, without a name in it.
	Version, Query string
	Body           []byte
}

// Config is what the API stands on. All fields are needed where nothing else is said.
type Config struct {
	// Self is this node's ID, Name what people call it, Version ddocker's own.
	Self, Name, Version string
	Log                 Log
	Raft                Raft
	// Restore replaces the ledger on the leader, which this node must be.
	Restore func(ctx context.Context, snapshot []byte) error
	Node    Node
	Images  Images
	// Update changes the limits of a container of this node. It goes on when ctx ends.
	Update func(ctx context.Context, container, version string, body []byte) (status int, reply []byte, err error)
	Engine *engine.Engine
	// Furnish has this node's engine make a network of the cluster, unless it is there.
	Furnish func(ctx context.Context, network string) error
	// MoveName gives the cluster a name that this engine has given to an image by
	// itself. The name is taken from the image that had it, if that is the owner's.
	MoveName func(ctx context.Context, id, name, owner string) error
	// EngineImage returns what this engine calls the image with the cluster's ID.
	EngineImage func(ctx context.Context, id string) string
	// ClusterImage undoes EngineImage: the ID itself where the engine does not have
	// the image or does not tell. Nil: the two are the same.
	ClusterImage func(ctx context.Context, id string) string
	// Peer carries requests to another node's Local; the host of the URL is not
	// looked at. An error of it means that the node was not reached or broke off.
	Peer func(node string) http.RoundTripper
	// Alive says whether gossip believes that the node answers.
	Alive func(node string) bool
	// Caller says who sends a request. Its error tells who is refused, in words for a
	// person.
	Caller func(r *http.Request) (Caller, error)
	// Leave takes this node out of the cluster for good, by the wish of that caller, and
	// returns when that is decided; the node ends soon after. Force leaves behind the
	// containers that it holds.
	Leave func(ctx context.Context, by string, force bool) error
	// CA returns the certificates by which clients know this cluster's hosts, as PEM.
	CA func() []byte
	// Token makes a join token: what a person types, and the hash of its secret.
	Token func() (text, hash string, err error)
	// RotateKey begins to replace one of the secrets that all nodes share or trust; the
	// leader carries that through.
	RotateKey func(ctx context.Context, kind ledger.Secret, by string) error
	// NodeKeys returns what the live nodes have of these, without those that do not
	// answer within ctx.
	NodeKeys func(ctx context.Context) []NodeKeys
	// SMI returns what nvidia-smi says of this machine with these arguments.
	SMI func(ctx context.Context, args []string) (string, error)
	// GPUs returns what is known of this machine's GPUs and of who uses them.
	GPUs func() gpu.State
	// Audit keeps who did what by way of this node.
	Audit *audit.Log
	// Socket is where this node serves local clients; a container that asks for its
	// engine's socket gets this.
	Socket string
	Logger *slog.Logger
	// Crash is told of steps; nil in the world.
	Crash crash.Point
}

// API serves clients, each as far as the rules of the table allow.
type API struct {
	cfg    Config
	log    *slog.Logger
	table  []route
	local  *Local
	hosts  *hosts
	execs  execs
	asked  asked
	builds builds

	// relocating is held by whoever moves a project to another host.
	relocating chan struct{}

	streams  streams
	overlays overlays
}

// New returns an API that starts nothing before Run.
func New(cfg Config) *API {
	a := &API{cfg: cfg, log: cfg.Logger, table: routes(), local: newLocal(cfg), relocating: make(chan struct{}, 1)}
	a.hosts = newHosts(a)
	return a
}

// Local returns the handler for requests of other nodes to this node's engine.
func (a *API) Local() http.Handler { return a.local }

// Run looks after hosts that did not answer, until ctx ends.
func (a *API) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { a.streams.run(ctx, a) })
	running.Go(func() { a.lookAtRunning(ctx) })
	a.hosts.run(ctx, &running)
	return nil
}

// ServeHTTP carries out one request of a client.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	version, path := splitVersion(r.URL.Path)
	row, ref, ok := find(a.table, r.Method, path)
	r = boundBody(w, r, row)
	if !ok {
		fail(w, http.StatusNotFound, "page not found: %s %s is no route that the cluster serves", r.Method, path)
		return
	}
	seen := a.witness(w, r, row, ref)
	defer seen.end()
	caller, err := a.cfg.Caller(r)
	if err != nil {
		fail(seen, http.StatusUnauthorized, "%s", err)
		return
	}
	c := &call{Request: r, version: version, row: row, ref: ref, caller: caller, seen: seen}
	seen.by(caller.Name, string(caller.Role), caller.From)
	switch err := a.allowed(c); {
	case err == nil:
		row.verb(a, seen, c)
	case isUnknown(err) && row.may == ownVolume && yes(r.URL.Query().Get("force")):
		seen.WriteHeader(http.StatusNoContent) // nobody has to remove what there is not
	default:
		failWith(seen, err)
	}
}

// call is a request on its way.
type call struct {
	*http.Request
	version string // "1.41", or "" where the client names none
	row     *route
	ref     string // what stands in the path for {}
	caller  Caller
	targets []target // containers that were found for it
	lost    string   // the lost placement that it is about
	seen    *witness
}
