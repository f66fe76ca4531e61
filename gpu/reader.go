package gpu

import (
	"context"
	"maps"
	"os/exec"
	"time"
)

const (
	// patience is for a line of the child, which writes one every two seconds, and every
	// four while the driver keeps it waiting. It is no longer because until it ends
	// containers may be placed on cards that nobody watches.
	patience    = 10 * time.Second
	grace       = 5 * time.Second // for a killed child to end
	firstRetry  = time.Second
	lastRetry   = time.Minute
	absentRetry = time.Hour // a driver is seldom installed
	// lull is how long a card may be out of sight and still count as idle all the time:
	// long enough for a child that hung and its successor.
	lull = 30 * time.Second
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

	rests map[string]rest // by UUID: cards on which nothing runs; of the goroutine in Run
	word  word
}

// rest is how long nothing has run on a card.
type rest struct{ since, seen time.Time }

// New returns a reader. It starts nothing: the cards are unknown until
// [Reader.Run] has heard of them.
func New(cfg Config) *Reader {
	r := &Reader{
		command:  cfg.Command,
		patience: patience,
		retry:    firstRetry,
		changed:  func() {},
		rests:    map[string]rest{},
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
// dies, is silent for ten seconds or meets a call that hangs is started again,
// after a second at first and a minute at most; one that finds no NVML library,
// after an hour. Run returns when the child has ended, but waits no more than five
// seconds for one that a hung driver keeps from dying. Until such a child is gone
// there is no other.
func (r *Reader) Run(ctx context.Context) error {
	wait := pace{first: r.retry}
	for ctx.Err() == nil {
		began := time.Now()
		went := r.session(ctx)
		if went == worked && time.Since(began) < lastRetry {
			went = failed // it may fall over the same thing each time
		}
		sleep(ctx, wait.after(went))
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

// stamp says of each card since when nothing has run on it, as of now. A card that
// was out of sight for longer than a lull begins anew: nobody knows what ran there.
func (r *Reader) stamp(cards []Card, now time.Time) {
	maps.DeleteFunc(r.rests, func(_ string, was rest) bool { return now.Sub(was.seen) > lull })
	for i := range cards {
		c := &cards[i]
		if len(c.Processes) > 0 || c.Utilization > 0 {
			delete(r.rests, c.UUID)
			continue
		}
		was, known := r.rests[c.UUID]
		if !known {
			was.since = now
		}
		was.seen = now
		r.rests[c.UUID], c.Idle = was, was.since
	}
}

func (r *Reader) set(s State) {
	r.word.set(s)
	r.changed()
}

func (r *Reader) lose(reason string) { r.set(State{Reason: reason}) }
