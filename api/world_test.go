package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ddocker/audit"
	"ddocker/consensus"
	"ddocker/consensus/ledger"
	"ddocker/engine"
	"ddocker/engine/enginetest"
	"ddocker/gossip"
	"ddocker/node"
	"ddocker/node/nodetest"
	"ddocker/relay"
	"ddocker/sched"
	"ddocker/settings"
	"ddocker/test/vnet"
)

// world is a cluster of whole nodes but for raft, gossip and TLS, in virtual time.
type world struct {
	*testing.T
	log      *nodetest.Log
	hosts    []*agent
	raft     *fakeRaft
	registry enginetest.Registry
	net      *vnet.Net            // of the relays
	speaks   map[string][2]string // oldest and newest API version of a host's engine; else a 20.10's

	mu   sync.Mutex      // guards what follows, and the growth of hosts
	down map[string]bool // nodes that gossip believes dead
	who  *Caller         // of all requests; nil: nobody that is known
}

// agent is one machine and its agent.
type agent struct {
	w       *world
	id      string
	api     *API
	twin    *enginetest.Twin
	docker  *engine.Engine
	machine *nodetest.Machine
	replica *nodetest.Replica
	node    *node.Node
	client  *http.Transport // to its API
	peers   *http.Transport // to its Local
	audit   *audit.Log
}

// inWorld plays with n running nodes n1, n2, … of four cores and 16 GiB, which
// know one another.
func inWorld(t *testing.T, n int, play func(w *world)) {
	t.Helper()
	inWorldOf(t, n, nil, play)
}

// inWorldOf is inWorld with engines that speak other versions of the API.
func inWorldOf(t *testing.T, n int, speaks map[string][2]string, play func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, log: nodetest.NewLog(), raft: &fakeRaft{}, net: vnet.New(1), down: map[string]bool{}, speaks: speaks, who: &Caller{Name: "alice", Role: ledger.Admin}}
		t.Cleanup(func() { time.Sleep(publishTimeout + time.Second) }) // so long a build may try to name what it built, and half of that a save may wait for its reader
		alone := settings.Default()                                    // what a test does not ask for is not copied
		alone.ImageReplicas = 1
		if _, _, err := w.log.Replica().Propose(t.Context(), ledger.Command{Configure: &alone}); err != nil {
			t.Fatal(err)
		}
		// The tests' caller may do everything, also by what hosts know of it.
		if _, _, err := w.log.Replica().Propose(t.Context(), ledger.Command{AddUser: &ledger.AddUser{Name: "alice", Role: ledger.Admin}}); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			w.add(fmt.Sprintf("n%d", i+1))
		}
		w.settle()
		play(w)
	})
}

// settle waits until every node knows what its engine has.
func (w *world) settle() {
	time.Sleep(5 * time.Second)
	synctest.Wait()
}

func (w *world) add(name string) {
	w.Helper()
	h := &agent{w: w, id: "id-" + name, machine: &nodetest.Machine{}, replica: w.log.Replica()}
	h.twin = enginetest.New(enginetest.Config{
		Name: name, GPUs: []string{"GPU-" + name, "GPU-" + name + "b"}, Registry: &w.registry, MinAPI: w.speaks[name][0], API: w.speaks[name][1],
	})
	h.twin.AddImage("busybox:latest")
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	pipe := enginetest.Listen()
	running.Go(func() { h.twin.Serve(ctx, pipe) })
	var err error
	if h.docker, err = engine.New(engine.Config{Dial: pipe.Dial}); err != nil {
		w.Fatal(err)
	}
	if h.audit, err = audit.Open(w.TempDir()); err != nil {
		w.Fatal(err)
	}
	mover, library := w.images(h)
	h.node = node.New(node.Config{
		ID: h.id, Name: name, Address: h.id + ":7000", Version: "test", Log: h.replica, Engine: h.docker,
		Images: mover, Library: library, Disk: func() (free, total int64, err error) { return 1 << 40, 2 << 40, nil },
		Changed: h.replica.Changed, Relay: relay.New(relay.Config{
			Network: w.net.Boot(fmt.Sprintf("10.0.0.%d", len(w.hosts)+1)), Logger: slog.New(slog.DiscardHandler),
			Address: func(string) (string, bool) { return "", false },
		}),
		Started: func(ctx context.Context, container string) { h.api.Started(ctx, container) },
		Peers:   gossiped{w}, Machine: h.machine, Tell: func(gossip.Load) {}, Logger: slog.New(slog.DiscardHandler),
	})
	h.api = New(Config{
		Self: h.id, Name: name, Version: "test", Log: h.replica, Raft: w.raft, Node: h.node, Engine: h.docker,
		Images: nodeImages{h.node}, Update: h.node.Update, MoveName: h.node.MoveName, Furnish: h.node.Furnish, EngineImage: h.node.EngineImage,
		Peer: w.peer, Alive: gossiped{w}.Alive, Caller: w.caller,
		CA:    func() []byte { return []byte("the CA") },
		Token: func() (text, hash string, err error) { return "the token", "its hash", nil },
		RotateKey: func(ctx context.Context, kind ledger.Secret, by string) error {
			r, _, err := h.replica.Propose(ctx, ledger.Command{Rotate: &ledger.Rotate{Kind: kind, ID: "r1", Data: "d", By: by}})
			if err == nil && r.Refusal != nil {
				err = r.Refusal
			}
			return err
		},
		NodeKeys: func(context.Context) []NodeKeys {
			return []NodeKeys{{Node: "n2", Waits: []ledger.Secret{ledger.GossipKey}}, {Node: "n1"}}
		},
		SMI:    func(context.Context, []string) (string, error) { return "cards of " + name, nil },
		GPUs:   h.machine.GPUs,
		Audit:  h.audit,
		Logger: slog.New(slog.DiscardHandler),
	})
	running.Go(func() { mover.Run(ctx) })
	running.Go(func() { h.node.Run(ctx) })
	running.Go(func() { h.api.Run(ctx) })
	h.client = serve(ctx, &running, h.api)
	local := http.NewServeMux()
	local.Handle("/rpc/image/", mover.Handler())
	local.Handle("/", h.api.Local())
	h.peers = serve(ctx, &running, local)
	w.Cleanup(func() {
		h.twin.Unhang()
		cancel()
		h.client.CloseIdleConnections()
		h.peers.CloseIdleConnections()
		h.docker.Close()
		h.audit.Close()
		running.Wait()
		time.Sleep(time.Second) // net/http lingers so long over a request it did not read
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts = append(w.hosts, h)
}

// caller sends all requests.
func (w *world) caller(*http.Request) (Caller, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.who == nil {
		return Caller{}, errors.New("a client certificate of this cluster is needed")
	}
	return *w.who, nil
}

// serve serves until ctx ends and returns a way there.
func serve(ctx context.Context, running *sync.WaitGroup, handler http.Handler) *http.Transport {
	pipe := enginetest.Listen()
	s := &http.Server{Handler: handler, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	running.Go(func() { s.Serve(pipe) })
	running.Go(func() { <-ctx.Done(); s.Close() })
	return &http.Transport{DialContext: dialer(pipe)}
}

func dialer(pipe *enginetest.Pipe) func(ctx context.Context, _, _ string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) { return pipe.Dial(ctx) }
}

// fail has gossip believe that the host is dead, which it is.
func (h *agent) fail() {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	h.w.down[h.id] = true
}

// peer carries requests to another node.
func (w *world) peer(id string) http.RoundTripper {
	if !(gossiped{w}).Alive(id) {
		return unplugged{}
	}
	return w.host(id).peers
}

func (w *world) host(id string) *agent {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hosts[slices.IndexFunc(w.hosts, func(h *agent) bool { return h.id == id })]
}

type unplugged struct{}

func (unplugged) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.EHOSTUNREACH}
}

// gossiped is what the nodes know of one another beside the ledger.
type gossiped struct{ w *world }

func (g gossiped) Alive(id string) bool {
	g.w.mu.Lock()
	defer g.w.mu.Unlock()
	return !g.w.down[id]
}

func (g gossiped) Load(string) sched.Load { return sched.Load{} }

func (g gossiped) Bring(ctx context.Context, id, image, name string) error {
	return g.w.host("id-n1").api.BringImage(ctx, id, image, name)
}

func (g gossiped) HasImage(ctx context.Context, id, ref string) bool {
	return g.w.host("id-n1").api.HasImage(ctx, id, ref)
}

// fakeRaft is a log of one voter.
type fakeRaft struct{ did []string }

func (r *fakeRaft) Status() consensus.Status {
	return consensus.Status{ID: "id-n1", Leader: "id-n1", State: "Leader", Term: 3}
}

func (r *fakeRaft) Servers() []consensus.Server {
	return []consensus.Server{{ID: "id-n1", Role: "leader"}, {ID: "id-n2", Role: "nonvoter"}}
}

func (r *fakeRaft) TransferLeadership(_ context.Context, id string) error {
	r.did = append(r.did, "transfer to "+id)
	return nil
}

func (r *fakeRaft) Snapshot(context.Context) error {
	r.did = append(r.did, "snapshot")
	return nil
}
