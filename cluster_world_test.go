package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/docker/docker/client"

	"ddocker/consensus"
	"ddocker/consensus/ledger"
	"ddocker/crash"
	"ddocker/engine/enginetest"
	"ddocker/gpu"
	"ddocker/sched"
	"ddocker/test/vnet"
)

// world is some machines with whole agents and in-memory engines, on a network
// in memory, in virtual time. Nothing of it is Docker's or the machine's own but
// the data directories.
type world struct {
	t      *testing.T
	net    *vnet.Net
	dir    string
	desk   *vnet.Host         // where the clients sit
	web    *http.Transport    // speaks plain HTTP from there
	on     context.Context    // of the engines
	end    context.CancelFunc // of the engines
	added  int
	serves sync.WaitGroup
	hosts  []*host
	logs   logbook
	bursts int
	mixed  bool // some containers have no cores of their own: engines know no difference

	mu      sync.Mutex // guards what follows
	clients map[string]*client.Client
	pinned  map[string]bool // names of containers that have, if mixed
}

// host is one machine: what survives its agent, and its agent's present life.
type host struct {
	of         *world
	name, ip   string
	engineAddr string
	data       string
	stores     *consensus.Stores
	twin       *enginetest.Twin
	machine    *fakeMachine

	off   context.CancelFunc
	ended chan error
	lives int

	mu    sync.Mutex // guards what follows, and what a kill changes: data and stores
	life  *vnet.Host // nil while the agent is down
	agent *agent     // nil until it is built
	trap  *trap      // nil: nothing happens at steps
}

// Ports of the hosts in the world.
const (
	socketPort = "80"
	enginePort = "2375"
)

// busybox is what every engine of a world has.
const busybox = "busybox:latest"

// lingering is how long memberlist's last probe outlives its Run.
const lingering = 15 * time.Second

// inWorld runs a test in virtual time with n machines that are not yet started.
func inWorld(t *testing.T, n int, test func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	inWorldAlone(t, n, test)
}

// inWorldAlone is inWorld for a test that measures what the process has: no other runs beside.
func inWorldAlone(t *testing.T, n int, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: vnet.New(1), dir: t.TempDir(), clients: map[string]*client.Client{}, pinned: map[string]bool{}}
		w.desk = w.net.Boot("10.2.0.1")
		w.web = &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return w.desk.Dial(ctx, addr) }}
		w.on, w.end = context.WithCancel(context.Background())
		t.Cleanup(w.close)
		for range n {
			w.add()
		}
		test(t, w)
	})
}

// inCluster runs a test with n machines in one cluster, the first of which
// founded it.
func inCluster(t *testing.T, n int, test func(t *testing.T, w *world)) {
	t.Helper()
	inWorld(t, n, func(t *testing.T, w *world) {
		w.found()
		test(t, w)
	})
}

func (w *world) found() {
	w.t.Helper()
	w.hosts[0].start()
	if len(w.hosts) > 1 {
		token := w.hosts[0].token()
		for _, h := range w.hosts[1:] {
			h.start(joining(w.hosts[0], token))
		}
	}
	w.whole()
}

func joining(by *host, token string) func(*agentConfig) {
	return func(c *agentConfig) { c.Join, c.Token = by.ip, token }
}

// add puts a machine with four cores, 16 GiB and an engine into the world.
func (w *world) add() *host {
	w.added++
	number := w.added
	h := &host{
		of: w, name: fmt.Sprintf("n%d", number), ip: fmt.Sprintf("10.0.0.%d", number),
		stores: consensus.NewStores(), machine: &fakeMachine{},
	}
	h.data = w.dir + "/" + h.name
	h.twin = enginetest.New(enginetest.Config{Name: h.name})
	h.plug("GPU-" + h.name)
	h.twin.AddImage(busybox)
	ip := fmt.Sprintf("10.1.0.%d", number)
	h.engineAddr = net.JoinHostPort(ip, enginePort)
	ln, err := w.net.Boot(ip).Listen(":" + enginePort)
	if err != nil {
		w.t.Fatal(err)
	}
	w.serves.Go(func() {
		if err := h.twin.Serve(w.on, ln); err != nil {
			w.t.Error(err)
		}
	})
	w.hosts = append(w.hosts, h)
	return h
}

// close ends everything in the world, and tells what the agents said if the
// test has failed.
func (w *world) close() {
	for _, h := range w.hosts {
		h.twin.Unhang()
		h.arm(nil)
		if h.isUp() {
			h.off()
		}
	}
	for _, h := range w.hosts {
		if h.isUp() {
			h.stop()
		}
		if h.ended != nil {
			<-h.ended
		}
	}
	w.web.CloseIdleConnections()
	for _, c := range w.clients {
		c.Close()
	}
	w.end()
	w.serves.Wait()
	for _, wrong := range w.violations() {
		w.t.Error(wrong)
	}
	time.Sleep(lingering)
	if w.t.Failed() {
		w.t.Log(w.logs.tail())
	}
}

// start switches the machine's agent on, and returns before it is ready.
func (h *host) start(change ...func(*agentConfig)) {
	h.of.t.Helper()
	if h.ended != nil {
		<-h.ended // the life before may have been killed just now
	}
	life := h.of.net.Boot(h.ip)
	socket, err := life.Listen(":" + socketPort)
	if err != nil {
		h.of.t.Fatal(err)
	}
	h.mu.Lock()
	data, stores := h.data, h.stores
	h.life = life
	h.mu.Unlock()
	cfg := agentConfig{
		DataDir: data, Listen: ":" + defaultPort, Advertise: h.ip, Name: h.name,
		Logger: slog.New(slog.NewTextHandler(&h.of.logs, &slog.HandlerOptions{Level: slog.LevelInfo})).With("on", h.name),
		net:    life, relays: life, stores: stores, machine: h.machine, socket: socket, peerUser: func(net.Conn) (uint32, error) { return 0, nil },
		dialEngine: func(ctx context.Context) (net.Conn, error) { return life.Dial(ctx, h.engineAddr) },
		crash:      func(s crash.Step) { h.reach(life, s) },
	}
	for _, c := range change {
		c(&cfg)
	}
	ctx, off := context.WithCancel(context.Background())
	h.off, h.ended = off, make(chan error, 1)
	ended := h.ended
	go func() {
		defer close(ended)
		ended <- h.run(ctx, life, cfg)
	}()
}

// run is runAgent, less that the test can look inside.
func (h *host) run(ctx context.Context, life *vnet.Host, cfg agentConfig) error {
	if err := cfg.complete(); err != nil {
		return err
	}
	a, err := raise(ctx, cfg)
	if err != nil {
		return err
	}
	h.mu.Lock()
	if h.life == life {
		h.agent = a
	}
	h.mu.Unlock()
	return a.run(ctx)
}

// inside returns the agent if it runs, else nil.
func (h *host) inside() *agent {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.agent
}

// isUp says whether the agent runs, or is starting.
func (h *host) isUp() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.life != nil
}

// forget takes what is left of an agent that has ended off the network.
func (h *host) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.life != nil {
		h.of.net.Kill(h.life)
	}
	h.life, h.agent = nil, nil
}

// stop ends the agent as SIGTERM does.
func (h *host) stop() {
	h.of.t.Helper()
	h.off()
	began := time.Now()
	if err := <-h.ended; err != nil {
		h.of.t.Errorf("the agent of %s ended with: %v", h.name, err)
	}
	if took := time.Since(began); took >= 5*time.Second {
		h.of.t.Errorf("the agent of %s took %v to stop", h.name, took)
	}
	h.forget()
}

// kill ends the agent as kill -9 does: from now on nobody sees anything of it,
// its engine and its disk included. Any goroutine may call it, the agent's own too.
func (h *host) kill() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.die()
}

// die is kill for who holds mu. The next life has the disk as it is now; what goes on
// for a moment of this one finds nobody to speak to, and its directory gone.
func (h *host) die() {
	if h.life == nil {
		return
	}
	h.of.net.Kill(h.life)
	h.off()
	h.stores = h.stores.Copy()
	h.lives++
	moved := fmt.Sprintf("%s/%s.%d", h.of.dir, h.name, h.lives)
	if err := os.Rename(h.data, moved); err != nil && !errors.Is(err, fs.ErrNotExist) { // it had just begun
		h.of.t.Error(err)
	}
	h.data, h.life, h.agent = moved, nil, nil
}

// trap is a step at which a machine dies. Several may wait for it: the first to be there
// the nth time, counted over all of them, is it.
type trap struct {
	step crash.Step
	mu   sync.Mutex // guards left
	left int
	dead chan *host // gets who died
}

// crashAt has the machine die, once, when its agent reaches the step for the nth time
// from now. The channel then has the machine.
func (h *host) crashAt(step crash.Step, nth int) <-chan *host { return h.of.crashAt(step, nth, h) }

// crashAt is crashAt of whichever of the machines is there first.
func (w *world) crashAt(step crash.Step, nth int, some ...*host) <-chan *host {
	f := &trap{step: step, left: nth, dead: make(chan *host, 1)}
	for _, h := range some {
		h.arm(f)
	}
	return f.dead
}

// arm sets the machine's trap; nil: it has none.
func (h *host) arm(f *trap) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trap = f
}

// reach is where the agent of that life tells of its steps.
func (h *host) reach(life *vnet.Host, s crash.Step) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.life != life || h.trap == nil || !h.trap.shuts(s) {
		return
	}
	h.die()
	h.of.logs.note("%s died at %s", h.name, s)
	h.trap.dead <- h
	h.trap = nil
}

func (f *trap) shuts(s crash.Step) bool {
	if s != f.step {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left--
	return f.left == 0
}

// refused returns the sentence with which the agent gave up.
func (h *host) refused() string {
	h.of.t.Helper()
	var err error
	select {
	case err = <-h.ended:
	case <-time.After(time.Minute):
	}
	if err == nil {
		h.of.t.Fatalf("%s was not refused", h.name)
	}
	h.forget()
	return err.Error()
}

// split cuts the world in two: the named machines and the rest. Clients reach
// both.
func (w *world) split(some ...*host) {
	for _, a := range w.hosts {
		for _, b := range w.hosts {
			if slices.Contains(some, a) != slices.Contains(some, b) {
				w.net.Cut(a.ip, b.ip)
			}
		}
	}
}

// up returns the machines whose agents run.
func (w *world) up() []*host {
	return slices.DeleteFunc(slices.Clone(w.hosts), func(h *host) bool { return !h.isUp() })
}

// leader returns the machine whose agent leads, or nil.
func (w *world) leader() *host {
	for _, h := range w.up() {
		if a := h.inside(); a != nil && a.log.IsLeader() {
			return h
		}
	}
	return nil
}

// eventually waits some virtual minutes for a condition.
func (w *world) eventually(what string, holds func() bool) {
	w.t.Helper()
	for end := time.Now().Add(5 * time.Minute); !holds(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("not within five minutes: %s\n%s", what, w)
		}
	}
}

// whole waits until all machines know each other, follow the log, and enough
// of them vote.
func (w *world) whole() {
	w.t.Helper()
	w.eventually("the cluster is whole", func() bool {
		for _, h := range w.hosts {
			if !h.settled(len(w.hosts)) {
				return false
			}
		}
		return w.leader() != nil
	})
}

// settled says whether the agent knows all n machines as they are, and all cards are open.
func (h *host) settled(n int) bool {
	open := h.agrees(n)
	if open {
		h.inside().log.View(func(l *ledger.Ledger) {
			open = !slices.ContainsFunc(l.Nodes(), func(m *ledger.Node) bool { return len(m.Observed.Cards) > 0 })
		})
	}
	return open
}

// agrees says whether the agent knows all n machines as they are.
func (h *host) agrees(n int) bool {
	a, w := h.inside(), h.of
	if a == nil || len(a.log.Servers()) != min(n, votersOf(n)+2) || len(a.log.Status().Voters) != votersOf(n) {
		return false
	}
	for _, m := range a.gossip.Members() {
		if !m.Alive {
			return false
		}
	}
	nodes := 0
	a.log.View(func(l *ledger.Ledger) {
		for _, m := range l.Nodes() {
			cards := w.cardsOf(m.Name)
			if len(m.Observed.Images) > 0 && m.Observed.Closed == "" && len(m.Capacity.Cards) == cards {
				nodes++
			}
		}
	})
	return nodes == n && len(a.gossip.Members()) == n
}

// cardsOf returns how many cards the machine of that name has.
func (w *world) cardsOf(name string) int {
	i := slices.IndexFunc(w.hosts, func(h *host) bool { return h.name == name })
	return len(w.hosts[i].machine.GPUs().Cards)
}

// plug puts these cards into the machine, in the order of their index, and none else.
func (h *host) plug(uuids ...string) {
	var cards []gpu.Card
	for i, uuid := range uuids {
		cards = append(cards, gpu.Card{UUID: uuid, Model: "TITAN Xp", Index: strconv.Itoa(i), NUMA: gpu.Unread})
	}
	h.machine.gpus.Set(cards...)
	h.twin.SetGPUs(uuids...)
}

// votersOf is the rule, once more: 1 for one or two nodes, 3 from three, 5 from
// seven.
func votersOf(n int) int {
	if n < 3 {
		return 1
	}
	if n < 7 {
		return 3
	}
	return 5
}

func (w *world) String() string {
	var b strings.Builder
	for _, h := range w.hosts {
		if a := h.inside(); a != nil {
			st := a.log.Status()
			fmt.Fprintf(&b, "%s %s leader=%s applied=%d voters=%d servers=%d members=%v\n", h.name, st.State, st.Leader, st.AppliedIndex, len(st.Voters), len(a.log.Servers()), a.gossip.Members())
		} else {
			fmt.Fprintf(&b, "%s is down\n", h.name)
		}
	}
	return b.String()
}

// docker returns docker's own client, speaking to the agent's socket.
func (h *host) docker() *client.Client { return h.of.dockerAt(net.JoinHostPort(h.ip, socketPort)) }

// engine returns docker's own client, speaking to the host's engine behind the
// agent's back.
func (h *host) engine() *client.Client { return h.of.dockerAt(h.engineAddr) }

// dockerAt returns the one client of an address.
func (w *world) dockerAt(addr string) *client.Client {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.clients[addr]; c != nil {
		return c
	}
	web := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return w.desk.Dial(ctx, addr) }}
	c, err := client.NewClientWithOpts(
		client.WithHost("http://"+addr), // before the HTTP client, whose dialer it would replace
		client.WithHTTPClient(&http.Client{Transport: web}),
		client.WithVersion("1.41"),
	)
	if err != nil {
		w.t.Fatal(err)
	}
	w.clients[addr] = c
	return c
}

// fakeMachine is what an agent samples of its machine.
type fakeMachine struct {
	gpus gpu.Simulated

	mu        sync.Mutex // guards listening
	listening []sched.Port
}

func (m *fakeMachine) GPUs() gpu.State { return m.gpus.State() }

func (m *fakeMachine) Topology() sched.Topology { return sched.Topology{} }

func (m *fakeMachine) Listening() ([]sched.Port, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.listening), nil
}

func (m *fakeMachine) Usage() (cpu, memory int) { return 10, 10 }

func (m *fakeMachine) listen(port uint16) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.listening = append(m.listening, sched.Port{Number: port, Proto: "tcp"})
}

// logbook keeps what all agents say, with the virtual time of it.
type logbook struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

// keptLog is how much of the log a failure shows, in bytes.
const keptLog = 24 << 10

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.text.Len() > 1<<20 {
		l.text.Next(l.text.Len() - keptLog)
	}
	return l.text.Write(p)
}

// note lets the test itself have its say.
func (l *logbook) note(format string, args ...any) {
	fmt.Fprintf(l, "time=%s on=desk "+format+"\n", append([]any{time.Now().Format(time.RFC3339Nano)}, args...)...)
}

// all returns what is kept.
func (l *logbook) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logbook) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.text.String()
	return text[max(0, len(text)-keptLog):]
}
