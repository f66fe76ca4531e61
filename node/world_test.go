package node

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/engine"
	"ddocker/engine/enginetest"
	"ddocker/gossip"
	"ddocker/image"
	"ddocker/node/nodetest"
	"ddocker/relay"
	"ddocker/sched"
	"ddocker/test/vnet"
)

const busybox = "busybox:latest"

// world is a cluster of nodes with in-memory engines and one agreed history.
type world struct {
	*testing.T
	log   *nodetest.Log
	hosts []*host
	dying sync.Mutex      // guards down where agents run
	down  map[string]bool // nodes that gossip believes dead
	net   *vnet.Net
	desk  *vnet.Host // where clients sit
	loads map[string]sched.Load
	made  int
	// asking is called with the ID of a host that is about to be asked for a copy, and
	// may fail instead of it.
	asking func(ctx context.Context, id string) error
}

// host is one machine, with the present life of its agent.
type host struct {
	*Node
	w       *world
	id      string
	twin    *enginetest.Twin
	docker  *engine.Engine
	machine *nodetest.Machine
	replica *nodetest.Replica
	net     *vnet.Host
	dir     string // of the mover's journal
	disk    disk
	blind   bool // the engine does not tell where its images are,
	slow    time.Duration
	looks   atomic.Int32 // and takes its time for it
	mover   *image.Mover
	diary   diary
	end     func() // of the agent; may be called twice
}

// inWorld plays in virtual time with n registered nodes n1, n2, … of four cores
// and 16 GiB, none of which runs.
func inWorld(t *testing.T, n int, play func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, log: nodetest.NewLog(), net: vnet.New(1), down: map[string]bool{}, loads: map[string]sched.Load{}}
		w.desk = w.net.Boot("10.2.0.1")
		for i := range n {
			w.add(fmt.Sprintf("n%d", i+1))
		}
		play(w)
	})
}

func (w *world) add(name string) *host {
	w.Helper()
	h := w.boot(name)
	h.look()
	return h
}

// boot adds a host of which the cluster knows nothing yet.
func (w *world) boot(name string) *host {
	w.Helper()
	h := &host{w: w, id: "id-" + name, machine: &nodetest.Machine{}, replica: w.log.Replica(), dir: w.TempDir()}
	h.net = w.net.Boot(w.ip(len(w.hosts)))
	h.twin = enginetest.New(enginetest.Config{Name: name, GPUs: []string{"GPU-a"}})
	h.twin.AddImage(busybox)
	pipe := enginetest.Listen()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- h.twin.Serve(ctx, pipe) }()
	w.Cleanup(func() {
		h.twin.Unhang()
		h.end()
		h.docker.Close()
		cancel()
		if err := <-served; err != nil {
			w.Error(err)
		}
		for _, v := range h.twin.Violations() {
			w.Error(v)
		}
	})
	var err error
	if h.docker, err = engine.New(engine.Config{Dial: pipe.Dial}); err != nil {
		w.Fatal(err)
	}
	h.live()
	w.hosts = append(w.hosts, h)
	return h
}

// live begins a life of the host's agent, which does nothing by itself.
func (h *host) live() {
	library := h.buildImages()
	h.Node = New(Config{
		ID: h.id, Name: h.id[len("id-"):], Address: h.id + ":7000", Version: "test",
		Log: h.replica, Engine: h.docker, Peers: peers{h.w}, Machine: h.machine,
		Changed: h.replica.Changed, Relay: relay.New(relay.Config{Network: h.net, Address: h.w.address, Logger: slog.New(slog.NewTextHandler(&h.diary, nil))}),
		Images: h.mover, Library: library, Disk: h.disk.room,
		Tell: func(gossip.Load) {}, Logger: slog.New(slog.NewTextHandler(&h.diary, nil)),
	})
	n := h.Node
	h.end = func() { n.stop(); n.calls.Wait(); n.cfg.Relay.Close() }
}

func (w *world) ip(i int) string { return fmt.Sprintf("10.0.0.%d", i+1) }

// address is where a host is.
func (w *world) address(id string) (string, bool) {
	i := slices.IndexFunc(w.hosts, func(h *host) bool { return h.id == id })
	return w.ip(i), i >= 0
}

// run begins a life of the host's agent in which it looks after everything.
func (h *host) run() {
	h.live()
	h.runs()
}

// runs has the present life of the agent look after everything.
func (h *host) runs() {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { h.mover.Run(ctx) })
	running.Go(func() { h.Node.Run(ctx) })
	h.end = func() { cancel(); running.Wait() }
	synctest.Wait()
}

// look reconciles once.
func (h *host) look() {
	h.w.Helper()
	if err := h.reconcile(h.w.Context()); err != nil {
		h.w.Fatal("reconcile: ", err)
	}
}

// die has gossip believe the node dead, while agents run.
func (w *world) die(id string) {
	w.dying.Lock()
	defer w.dying.Unlock()
	w.down[id] = true
}

// peers is what a node knows of the others.
type peers struct{ w *world }

func (p peers) Alive(id string) bool {
	p.w.dying.Lock()
	defer p.w.dying.Unlock()
	return !p.w.down[id]
}
func (p peers) Load(id string) sched.Load { return p.w.loads[id] }
func (p peers) host(id string) *host {
	return p.w.hosts[slices.IndexFunc(p.w.hosts, func(h *host) bool { return h.id == id })]
}
func (p peers) HasImage(ctx context.Context, id, ref string) bool {
	has, err := p.host(id).docker.HasImage(ctx, ref)
	return err == nil && has
}

func (p peers) Bring(ctx context.Context, id, imageID, name string) error {
	if !p.Alive(id) {
		return errUnplugged
	}
	if p.w.asking != nil {
		if err := p.w.asking(ctx, id); err != nil {
			return err
		}
	}
	done := make(chan error, 1)
	go func() { done <- p.host(id).Bring(ctx, imageID, name, nil) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done(): // a request ends then, whatever its host is still about
		return ctx.Err()
	}
}

// diary is what an agent logs.
type diary struct {
	mu    sync.Mutex // guards what follows
	lines []string
}

func (d *diary) Write(line []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, string(line))
	return len(line), nil
}

// warnings returns the lines that warn of something.
func (d *diary) warnings() (lines []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, line := range d.lines {
		if contains(line, "level=WARN") {
			lines = append(lines, line)
		}
	}
	return lines
}

// wantWarnings is what the host's agent warned of so far, each by words in it.
func (h *host) wantWarnings(words ...string) {
	h.w.Helper()
	got := h.diary.warnings()
	if len(got) != len(words) {
		h.w.Errorf("%s warns of %q, want %q", h.cfg.Name, got, words)
		return
	}
	for i := range got {
		if !contains(got[i], words[i]) {
			h.w.Errorf("%s warns of %q, want %q", h.cfg.Name, got[i], words[i])
		}
	}
}

// ask is a reservation of a container by that name.
func (w *world) ask(name string, r sched.Request) ledger.Reserve {
	w.made++
	return ledger.Reserve{Placement: fmt.Sprintf("p%d", w.made), Name: name, Image: busybox, Request: r}
}

// place reserves a place and fails the test if there is none.
func (h *host) place(name string, r sched.Request) (*ledger.Placement, uint64) {
	h.w.Helper()
	p, index, err := h.Place(h.w.Context(), h.w.ask(name, r))
	if err != nil {
		h.w.Fatal("place: ", err)
	}
	return p, index
}

const plain = `{"Image":"busybox:latest"}`

// create places a container here and makes it. It returns its ID.
func (h *host) create(name string, r sched.Request) (*ledger.Placement, string) {
	h.w.Helper()
	r.Host = h.id
	p, index := h.place(name, r)
	status, reply, err := h.Realize(h.w.Context(), p.ID, index, "", []byte(plain))
	if status != statusCreated || err != nil {
		h.w.Fatalf("create %s: %d %s %v", name, status, reply, err)
	}
	return p, idIn(h.w.T, reply)
}

func idIn(t *testing.T, reply []byte) string {
	t.Helper()
	var made struct{ ID string }
	if err := json.Unmarshal(reply, &made); err != nil || made.ID == "" {
		t.Fatalf("no ID in %s: %v", reply, err)
	}
	return made.ID
}

// outside makes a container with plain docker.
func (h *host) outside(name, body string) string {
	h.w.Helper()
	status, reply, err := h.docker.Create(h.w.Context(), name, "", []byte(body))
	if status != statusCreated || err != nil {
		h.w.Fatalf("docker create %s: %d %s %v", name, status, reply, err)
	}
	return idIn(h.w.T, reply)
}

// has returns the names of the engine's containers, sorted.
func (h *host) has() []string {
	h.w.Helper()
	list, err := h.docker.Containers(h.w.Context())
	if err != nil {
		h.w.Fatal(err)
	}
	names := []string{}
	for _, c := range list {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	return names
}

// placement returns what the newest ledger says of a placement, or nil.
func (w *world) placement(id string) (p *ledger.Placement) {
	w.log.Replica().View(func(l *ledger.Ledger) { p = l.Placement(id) })
	return p
}

// observed returns what the cluster knows of the host beside its own containers.
func (h *host) known() (o ledger.Observe) {
	h.w.log.Replica().View(func(l *ledger.Ledger) { o = l.Node(h.id).Observed })
	return o
}

func (h *host) outsiders() []string {
	names := []string{}
	for _, o := range h.known().Containers {
		names = append(names, o.Name)
	}
	return names
}

// within lets at most d pass until the condition holds.
func (w *world) within(d time.Duration, what string, holds func() bool) {
	w.Helper()
	for end := time.Now().Add(d); ; time.Sleep(10 * time.Millisecond) {
		synctest.Wait()
		if holds() {
			return
		}
		if time.Now().After(end) {
			w.Fatalf("not within %v: %s", d, what)
		}
	}
}

func wantRefusal(t *testing.T, err error, code ledger.Code, words string) {
	t.Helper()
	r, ok := err.(*ledger.Refusal)
	if !ok || r.Code != code || words != "" && !contains(r.Message, words) {
		t.Errorf("got %v, want a refusal of code %s with %q", err, code, words)
	}
}

func wantList(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}
