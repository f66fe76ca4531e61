package gpu

import (
	"context"
	"os/exec"
	"time"
)

const (
	patience    = 10 * time.Second // for a line of the child: it writes ten in that time
	grace       = 5 * time.Second  // for a killed child to end
	firstRetry  = time.Second
	lastRetry   = time.Minute
	absentRetry = time.Hour // a driver is seldom installed
)

// Config is what a [Reader] needs.
type Config struct {
	// Command makes a process that runs [Child] on its standard output. It is
	// called for each start and must not set the outputs itself. By default it
	// is this binary with the one argument "nvml-child".
	Command func() *exec.Cmd
}

// Reader keeps a child process that reads the cards. It is a [Source], safe for
// concurrent use.
type Reader struct {
	command  func() *exec.Cmd
	patience time.Duration
	retry    time.Duration
	changed  func() // after each change of state

	word word
}

// New returns a reader. It starts nothing: the cards are unknown until
// [Reader.Run] has heard of them.
func New(cfg Config) *Reader {
	r := &Reader{
		command:  cfg.Command,
		patience: patience,
		retry:    firstRetry,
		changed:  func() {},
	}
	if r.command == nil {
		r.command = self
	}
	r.word.set(State{Reason: "not read yet"})
	return r
}

// self is this binary as the child. /proc names it even after an upgrade has
// replaced the file.
func self() *exec.Cmd {
	return &exec.Cmd{Path: "/proc/self/exe", Args: []string{"ddocker", "nvml-child"}}
}

// State returns what the child said last, or that nothing is known.
func (r *Reader) State() State { return r.word.get() }

// Run keeps the child alive until ctx ends, and then returns nil. A child that
// dies or is silent for ten seconds is started again, after a second at first
// and a minute at most; one that finds no NVML library, after an hour. Run
// returns when the child has ended, but waits no more than five seconds for one
// that a hung driver keeps from dying.
func (r *Reader) Run(ctx context.Context) error {
	wait := pace{first: r.retry}
	for ctx.Err() == nil {
		sleep(ctx, wait.after(r.session(ctx)))
	}
	return nil
}

// pace spaces the starts of the child.
type pace struct {
	first time.Duration // after a child that worked
	last  time.Duration // 0 before any wait
}

// after is how long to wait after a child that went so: twice as long for each
// that fails in a row.
func (p *pace) after(went outcome) time.Duration {
	switch {
	case went == absent:
		return absentRetry
	case went == worked || p.last == 0:
		p.last = p.first
	default:
		p.last = min(2*p.last, lastRetry)
	}
	return p.last
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (r *Reader) set(s State) {
	r.word.set(s)
	r.changed()
}

func (r *Reader) lose(reason string) { r.set(State{Reason: reason}) }
