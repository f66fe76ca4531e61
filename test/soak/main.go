// Command soak has a cluster of three real hosts live under mixed load and random faults
// for a given time, and says what it did wrong and whether it grew.
//
//	go run ./test/soak -time 30m            as root (make soak TIME=30m)
//	go run ./test/soak -time 2m -seed 7     the same faults in the same order as another run
//
// Several clients create, use, rename, commit and remove; every half minute something
// breaks: an agent is killed, an engine hangs or restarts, a host is cut off or hears
// another no more. Every few minutes there is a quiet time, in which the cluster is judged
// and measured: all nodes agree within a minute; nothing is held twice; what was
// acknowledged is there, what was removed is not; no container was touched but by who asked
// for it. The agent of the first host is never killed, so its memory, goroutines and
// descriptors have to be flat.
//
// The report with its picture is in the directory that -out names, report.md and
// report.svg. The exit code is 1 when anything was wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"ddocker/test/judge"
	"ddocker/test/lab"
)

const (
	// period is how long there is load and breakage between two quiet times.
	period = 3 * time.Minute
	// fewest is how many quiet times there are at least, in a short run.
	fewest = 4
	// clients are at work at once, each on containers of its own.
	clients = 4
)

// soak is one run.
type soak struct {
	lab   *lab.Lab
	judge *judge.Judge
	out   string // directory
	seed  uint64
	began time.Time
	told  told
	load  load
	// prize is who was told to have each name that all want: IDs by name.
	prize  sync.Map
	counts counts

	mu         sync.Mutex // guards what follows
	events     []event
	violations []event
	samples    []sample
	agreed     []time.Duration // how long the nodes took to agree, each time
	failures   map[string]int  // what failed, and was no refusal
}

// event is what happened, or what was wrong.
type event struct {
	at   time.Time
	what string
}

func main() {
	long := flag.Duration("time", 30*time.Minute, "soak for this `long`")
	out := flag.String("out", "bin/soak", "write the report into this `directory`")
	seed := flag.Uint64("seed", rand.Uint64(), "break things in the order of this `number`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s := &soak{out: *out, seed: *seed, told: told{all: map[string]*own{}}, failures: map[string]int{}}
	err := s.run(ctx, *long)
	if len(s.samples) > 0 {
		err = errors.Join(err, s.report(*long))
	}
	for _, v := range s.violations {
		fmt.Fprintf(os.Stderr, "soak: %s: %s\n", v.at.Format(time.TimeOnly), v.what)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
	}
	if err != nil || len(s.violations) > 0 {
		stop()
		os.Exit(1)
	}
}

func (s *soak) run(ctx context.Context, long time.Duration) (err error) {
	dir, err := os.MkdirTemp("", "ddocker-soak-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	bin := filepath.Join(dir, "ddocker")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", bin, "ddocker")
	build.Env = append(os.Environ(), "CGO_CFLAGS=-Wno-deprecated-declarations")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the program: %w\n%s", err, out)
	}
	if err := os.Setenv("DDOCKER_BIN", bin); err != nil {
		return err
	}
	if s.lab, err = lab.Raise(3); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.keepLogs(), s.lab.Down()) }()
	s.judge = judge.New(s.lab)
	for i := range s.lab.Hosts() { // what an engine that restarts ends is not the cluster's doing
		if err := s.lab.Do("live", fmt.Sprint(i+1)); err != nil {
			return err
		}
	}
	if err := s.lab.Do("agents"); err != nil {
		return err
	}
	s.began = time.Now()
	s.note("soak for %v, seed %d", long, s.seed)
	settling, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if _, err := s.judge.Settled(settling); err != nil {
		return err
	}
	return s.periods(ctx, long)
}

// periods has load, breakage and quiet take turns until time is up.
func (s *soak) periods(ctx context.Context, long time.Duration) error {
	if err := s.guard(ctx); err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(s.seed, 0))
	length := min(period, long/fewest)
	var work sync.WaitGroup
	s.load.open()
	over, end := context.WithCancel(ctx)
	defer work.Wait()
	defer end()
	defer s.load.open() // for whoever waits for it
	for i := range clients {
		c := s.newClient(i)
		work.Go(func() { c.work(over) })
	}
	for range 2 {
		work.Go(func() { s.follow(over) })
	}
	work.Go(func() { s.watchResources(over) })
	for ctx.Err() == nil && time.Since(s.began) < long {
		s.load.open()
		s.breakThings(ctx, random, length)
		mended := time.Now()
		s.load.close()
		s.quiet(ctx, mended)
	}
	end()
	s.load.open()
	work.Wait()
	if ctx.Err() == nil {
		s.clear(ctx)
	}
	s.judgeGrowth()
	return context.Cause(ctx)
}

// note tells whoever waits, and the report.
func (s *soak) note(format string, args ...any) {
	e := event{time.Now(), fmt.Sprintf(format, args...)}
	s.mu.Lock()
	s.events = append(s.events, e)
	s.mu.Unlock()
	fmt.Fprintf(os.Stderr, "%s soak: %s\n", e.at.Format(time.TimeOnly), e.what)
}

// violated is what must never be.
func (s *soak) violated(format string, args ...any) {
	s.note("VIOLATION: "+format, args...)
	s.mu.Lock()
	s.violations = append(s.violations, event{time.Now(), fmt.Sprintf(format, args...)})
	s.mu.Unlock()
}

// load lets clients work, or has them wait.
type load struct {
	mu   sync.RWMutex // held for reading while something is done
	gate sync.Mutex   // guards shut
	shut bool
}

func (l *load) open() {
	l.gate.Lock()
	defer l.gate.Unlock()
	if l.shut {
		l.shut = false
		l.mu.Unlock()
	}
}

// close returns when nobody does anything any more.
func (l *load) close() {
	l.gate.Lock()
	defer l.gate.Unlock()
	if !l.shut {
		l.shut = true
		l.mu.Lock()
	}
}

// do does something while the gate is open.
func (l *load) do(something func()) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	something()
}
