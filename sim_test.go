package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ddocker/consensus"
	"ddocker/test/vnet"
)

// The environment says which schedules are played, "FIRST,COUNT", and where traces of
// failures go.
const (
	envSim    = "DDOCKER_SIM"
	envTraces = "DDOCKER_SIM_TRACES"
)

// simulation is a cluster under a schedule, and what is known of it.
type simulation struct {
	*world
	plan     schedule
	machines []*simHost // those of the beginning: clients know no others
	history  holdings
	active   atomic.Int32 // faults that are not over
	begun    atomic.Int32 // faults in all
	probes   sync.WaitGroup
	drains   []string // machines that may still be drained
	outs     []outing
	traps    map[*fault]<-chan *host

	mu       sync.Mutex // guards what follows
	works    []*work
	images   map[string]string // ID by name, of those that were acknowledged
	used     map[string]bool   // of those, by containers
	noImages map[string]bool   // whose removal was acknowledged
	swept    map[string]int64  // until when in the history somebody may have freed the name, by name
	late     []*simHost
	weather  weather
	births   map[string]time.Time // when agents were last started or told to end
	reborn   map[string]bool      // machines that were members before, as other nodes
	anews    map[string]time.Time // since when machines are, or may be, set up anew, by host
	trace    strings.Builder
	outcome  outcome
}

// outcome is what a schedule showed.
type outcome struct {
	Seed        uint64
	Machines    int
	Faults      []string
	Took        []string  // those of them that took effect
	Asked       int       // requests of clients
	Created     int       // containers, acknowledged
	Agree       float64   // seconds from the end of all faults until all see the same
	Orphans     float64   // seconds from there until nothing is half-made
	CreateAfter []float64 // seconds from a leader's death until a container was made on another host
	Listed      []float64 // seconds that lists of a live agent took
	Alone       []float64 // the same, while no machine heard another
	Wrong       []string
}

// simHost is a host with a disk that may be full and a clock that may be wrong.
type simHost struct {
	*host
	disk *consensus.Disk
	// bare says that it is no member, whatever it was: it has been told to join.
	bare bool
}

// more puts a machine into the world.
func (s *simulation) more() *simHost {
	m := &simHost{host: s.add(), disk: &consensus.Disk{}}
	m.stores = consensus.NewStoresOn(m.disk)
	return m
}

// alive returns the life of the agent, or nil.
func (m *simHost) alive() *vnet.Host {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.life
}

// endWithin is how long an agent may take to end when it is told to.
const endWithin = 5 * time.Second

// terminate is SIGTERM.
func (s *simulation) terminate(m *simHost) {
	if !m.isUp() {
		return
	}
	m.off()
	began := time.Now()
	if err := <-m.ended; err != nil && !s.mayEnd(m, err) {
		s.wrong("the agent of %s was told to end, and ended with: %v", m.name, err)
	}
	if took := time.Since(began); took > endWithin {
		s.wrong("the agent of %s took %v to end", m.name, took)
	}
	m.forget()
}

// gone waits until the agent has ended.
func (m *simHost) gone() {
	if m.ended != nil {
		<-m.ended
	}
}

// wake starts the agent if it is down, or has ended by itself. One that was killed while
// it joined is told to join again.
func (s *simulation) wake(m *simHost) {
	if m.isUp() {
		select {
		case err := <-m.ended:
			s.note(-1, "the agent of %s ended: %v", m.name, err)
			if !s.mayEnd(m, err) {
				s.wrong("the agent of %s ended by itself, with: %v", m.name, err)
			}
			m.forget()
		default:
			return
		}
	}
	if exists(m.data, fileParted) { // it was removed after all
		s.out(m, s.history.now())
		s.anew(m)
		return
	}
	if m.bare && !exists(filepath.Join(m.data, dirTLS), "cert.pem") { // it died while it joined
		s.anew(m)
		return
	}
	s.born(m)
	m.start()
}

// supervise starts the agents that have ended by themselves, as a machine does.
func (s *simulation) supervise() {
	for _, m := range s.everyone() {
		if m.isUp() && len(m.ended) > 0 {
			s.wake(m)
		}
	}
}

// mayEnd says whether an agent may end by itself with that error: over its disk, because it
// could not join (also as somebody does not know yet that its former life is gone), or
// because its machine is no part of the cluster any more.
func (s *simulation) mayEnd(m *simHost, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	var parted *parting
	if err == nil {
		return s.reborn[m.name]
	}
	return errors.Is(err, consensus.ErrRoomAgain) || errors.Is(err, syscall.ENOSPC) ||
		strings.Contains(err.Error(), "is the disk of this host stalled?") && s.mayStall() ||
		m.bare && (strings.HasPrefix(err.Error(), "join the cluster of ") || strings.HasPrefix(err.Error(), "a node named "+m.name+" is already")) ||
		s.reborn[m.name] && errors.As(err, &parted)
}

// mayStall says whether a leader may be unable to have anything committed: a disk is full at
// times, its own or a follower's, or leadership is handed over (hashicorp/raft#696).
func (s *simulation) mayStall() bool {
	return slices.ContainsFunc(s.plan.Faults, func(f fault) bool {
		return f.Kind == transferred || f.Kind == left || f.Kind == diskFull
	})
}

// born notes that an agent starts now, or ends: it need not answer for a while.
func (s *simulation) born(m *simHost) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.births[m.name] = time.Now()
}

// excuse notes that an agent may end by itself: it need not answer until it is born again.
func (s *simulation) excuse(m *simHost) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.births[m.name] = time.Now().Add(time.Hour)
}

// up returns the machines whose agents run.
func (s *simulation) up() (up []*simHost) {
	for _, m := range s.everyone() {
		if m.isUp() {
			up = append(up, m)
		}
	}
	return up
}

// everyone returns all machines, those that came late too.
func (s *simulation) everyone() []*simHost {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Concat(s.machines, s.late)
}

// leads returns the machine whose agent leads, or nil.
func (s *simulation) leads() *simHost {
	for _, m := range s.up() {
		if a := m.inside(); a != nil && a.log.IsLeader() {
			return m
		}
	}
	return nil
}

// note writes into the trace. Clients count from 0; -1 is fate, -2 a probe.
func (s *simulation) note(who int, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if who >= 0 {
		s.outcome.Asked++
	}
	fmt.Fprintf(&s.trace, "%12v %3d "+format+"\n", append([]any{time.Since(s.history.began), who}, args...)...)
	s.logs.note(format, args...)
}

func (s *simulation) wrong(format string, args ...any) {
	s.note(-1, "WRONG: "+format, args...)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outcome.Wrong = append(s.outcome.Wrong, fmt.Sprintf(format, args...))
}

// took notes that a fault took effect.
func (s *simulation) took(f *fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outcome.Took = append(s.outcome.Took, f.Kind)
}

// keep remembers a container that was acknowledged.
func (s *simulation) keep(w *work) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.works = append(s.works, w)
}

// simulate plays a schedule and judges what is left.
func simulate(t *testing.T, plan schedule) {
	defer forgiveRaft()
	inWorld(t, 0, func(t *testing.T, w *world) {
		s := &simulation{
			world: w, plan: plan, images: map[string]string{}, used: map[string]bool{}, noImages: map[string]bool{}, swept: map[string]int64{}, reborn: map[string]bool{}, anews: map[string]time.Time{}, births: map[string]time.Time{}, traps: map[*fault]<-chan *host{},
			outcome: outcome{Seed: plan.Seed, Machines: plan.Machines},
		}
		for _, f := range plan.Faults {
			s.outcome.Faults = append(s.outcome.Faults, f.Kind)
		}
		s.history.began, s.mixed = time.Now(), true
		s.found()
		s.live()
		if s.heal() {
			s.judgeAll()
		}
		s.outcome.print()
		if len(s.outcome.Wrong) > 0 {
			t.Errorf("seed %d: %s\n%s", plan.Seed, strings.Join(s.outcome.Wrong, "\n"), s.write())
		}
	})
}

// forgiveRaft lets a world end whose only goroutines are the two that raft forgets in a
// transfer of its leadership that nobody waits for any more (hashicorp/raft#696).
func forgiveRaft() {
	ended := recover()
	if ended == nil {
		return
	}
	stacks := make([]byte, 64<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for g := range strings.SplitSeq(string(stacks), "\n\n") {
		first, stack, _ := strings.Cut(g, "\n")
		forgotten := strings.HasPrefix(stack, "github.com/hashicorp/raft.(*Raft).leadershipTransfer(") || strings.HasPrefix(stack, "github.com/hashicorp/raft.(*Raft).leaderLoop.func")
		if strings.Contains(first, "synctest bubble") && !forgotten {
			panic(ended)
		}
	}
	if !strings.Contains(fmt.Sprint(ended), "main bubble goroutine has exited") {
		panic(ended)
	}
}

// print tells whoever sums outcomes up.
func (o *outcome) print() {
	if line, err := json.Marshal(o); err == nil && os.Getenv(envSim) != "" {
		fmt.Printf("SIM %s\n", line)
	}
}

// found makes the cluster.
func (s *simulation) found() {
	for range s.plan.Machines {
		s.machines = append(s.machines, s.more())
	}
	first := s.machines[0]
	first.start()
	token := first.token()
	for _, m := range s.machines[1:] {
		m.start(joining(first.host, token))
	}
	s.whole()
	s.eventually("all voters can sign", func() bool { // who has the only key must not be lost
		keys := slices.DeleteFunc(slices.Clone(s.machines), func(m *simHost) bool { return !exists(m.data, fileCAKey) })
		return len(keys) == votersOf(len(s.machines))
	})
	s.setWeather(s.plan.Net)
	for _, m := range s.machines {
		s.slow(m, s.plan.Engine)
	}
}

// live lets clients work while the faults happen.
func (s *simulation) live() {
	var all sync.WaitGroup
	until := time.Now().Add(under)
	broken, over := context.WithCancel(context.Background())
	for id := range s.plan.Clients {
		c := &simClient{simulation: s, id: id, rng: rand.New(&shared{pcg: rand.NewPCG(s.plan.Seed, uint64(id))})}
		all.Go(func() { c.run(broken, until) })
	}
	s.play()
	over()
	all.Wait()
	s.probes.Wait()
}

// write writes the trace of a failure and returns where it is.
func (s *simulation) write() string {
	dir := os.Getenv(envTraces)
	if dir == "" {
		return s.trace.String()
	}
	plan, _ := json.Marshal(s.plan)
	file := filepath.Join(dir, fmt.Sprintf("%d.trace", s.plan.Seed))
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	text := fmt.Sprintf("%s\n%s\n%s\n%s\n%s", plan, strings.Join(s.outcome.Wrong, "\n"), s.trace.String(), s.logs.all(), stacks)
	if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
		return err.Error()
	}
	return "the trace is in " + file
}

// Clusters under random schedules of clients and faults keep the invariants.
func TestSimulation(t *testing.T) {
	first, count := 1, 6
	if said := os.Getenv(envSim); said != "" {
		a, b, _ := strings.Cut(said, ",")
		var err, fault error
		first, err = strconv.Atoi(a)
		count, fault = strconv.Atoi(b)
		if err != nil || fault != nil {
			t.Fatalf("%s is no FIRST,COUNT", said)
		}
	}
	for i := range count {
		t.Run(fmt.Sprint("seed ", first+i), func(t *testing.T) {
			simulate(t, draw(uint64(first+i)))
		})
	}
}
