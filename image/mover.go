package image

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"ddocker/crash"
)

const (
	// loadsAtOnce bounds how many images come in at the same time; more wait.
	loadsAtOnce = 3
	// sweepEvery is how often the journal is looked through for what an
	// interrupted load left.
	sweepEvery = time.Minute
	// undoTimeout bounds removing one image that is nobody's.
	undoTimeout = time.Minute
)

// Config is what a Mover works with. Engine, Backend, Dir, Peer, Self, From and
// Remove are needed.
type Config struct {
	// Engine is this host's; Backend reads and makes its images.
	Engine  Engine
	Backend Backend
	// Dir is where the journal of brought images is; made when there is none.
	Dir string
	// Peer returns the way to another node's Handler. The host in the URL of what
	// is sent there means nothing.
	Peer func(node string) http.RoundTripper
	// Self is this node's ID.
	Self string
	// From returns the ID of the node that sent a request to Handler; "" for one
	// that is not known, to whom nobody is sent on.
	From func(*http.Request) string
	// Disk returns how much of the disk of the engine's root is free, in bytes.
	// Nil or an error: it is not checked before an image is brought.
	Disk func() (free, total int64, err error)
	// Remove removes an image by its engine's ID, and refuses if it has a name.
	Remove func(ctx context.Context, id string) error
	// Logger is slog.Default when nil.
	Logger *slog.Logger
	// Crash is told of steps; nil in the world.
	Crash crash.Point
}

// Mover brings images to this host's engine from other hosts', and gives this
// host's to them. It knows neither names nor the ledger. Safe for concurrent use.
type Mover struct {
	cfg     Config
	journal journal
	lines   lines
	slots   chan struct{} // one is taken by each load under way
	serving chan struct{} // one is taken by each layer that is sent
	rings   sync.Pool     // windows of windowSize, *[]byte
	chunks  sync.Pool     // buffers of chunkSize, *[]byte

	mu      sync.Mutex // guards what follows
	flights map[string]*flight
	flows   map[part]*flow
	stopped bool
	calls   sync.WaitGroup // flights under way; Add only with mu held and not stopped
}

// part names one layer of one image.
type part struct{ id, chain string }

// New returns a Mover. It does nothing until it is asked to; see Run.
func New(cfg Config) *Mover {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	m := &Mover{
		cfg: cfg, journal: journal{dir: cfg.Dir, crash: cfg.Crash},
		slots: make(chan struct{}, loadsAtOnce), serving: make(chan struct{}, mostStreams),
		flights: map[string]*flight{}, flows: map[part]*flow{},
	}
	m.rings.New = func() any { b := make([]byte, windowSize); return &b }
	m.chunks.New = func() any { b := make([]byte, chunkSize); return &b }
	return m
}

// Run removes what interrupted loads left, now and whenever something is left
// over later. When ctx ends it ends all that is under way, and returns after that.
func (m *Mover) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		m.sweep(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			m.stop()
			return nil
		}
	}
}

func (m *Mover) stop() {
	m.mu.Lock()
	m.stopped = true
	for _, f := range m.flights {
		f.cancel(errStopped)
	}
	m.mu.Unlock()
	m.calls.Wait()
}

// sweep settles the loads that no flight of this agent's life is making.
func (m *Mover) sweep(ctx context.Context) {
	records, err := m.journal.all()
	if err = errors.Join(err, m.journal.tidy()); err != nil {
		m.cfg.Logger.Warn("interrupted loads are not known", "err", err)
	}
	for _, r := range records {
		if r.Loading && ctx.Err() == nil {
			m.settle(ctx, r.ID)
		}
	}
}

// settle removes what an interrupted load left, in a flight of its own that
// nobody joins: whoever wants the image waits until it is over.
func (m *Mover) settle(ctx context.Context, id string) {
	f := newFlight(id)
	f.sealed = true
	m.mu.Lock()
	if m.stopped || m.flights[id] != nil {
		m.mu.Unlock()
		return
	}
	m.flights[id] = f
	m.mu.Unlock()
	defer m.land(f)
	if r, found := m.journal.find(id); !found || !r.Loading {
		return // a flight that ended just now has settled it
	}
	if err := m.scrap(ctx, id, true); err != nil {
		m.cfg.Logger.Warn("what an interrupted load left stays for now", "image", id, "err", err)
	}
}

// scrap removes an image that came and is not wanted, and forgets it. One that has
// a name stays, as a copy that the cluster made. One that may still come late is not forgotten
// yet. It is done even when ctx is over.
func (m *Mover) scrap(ctx context.Context, id string, late bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	images, err := m.cfg.Engine.List(ctx)
	if err != nil {
		return fmt.Errorf("list images: %w", err)
	}
	named, there := false, false
	for engineID, names := range images {
		switch same, err := m.same(ctx, engineID, id); {
		case err != nil:
			return fmt.Errorf("find out what image %s is: %w", short(engineID), err)
		case !same:
		case len(names) > 0:
			named = true
		default:
			there = true
			m.cfg.Crash.At(crash.ImageFailed)
			if err := m.cfg.Remove(ctx, engineID); err != nil && !errors.Is(err, ErrUnknown) {
				return fmt.Errorf("remove image %s: %w", short(engineID), err)
			}
			m.cfg.Crash.At(crash.ImageScrapped)
		}
	}
	if named {
		return m.journal.write(record{ID: id, Used: time.Now()})
	}
	if late && !there {
		return m.journal.miss(id, time.Now())
	}
	return m.journal.forget(id)
}

// same says whether what the engine calls engineID is, or was to become, the image.
func (m *Mover) same(ctx context.Context, engineID, id string) (bool, error) {
	t, ok := m.cfg.Backend.(translator)
	if !ok {
		return engineID == id, nil
	}
	found, err := t.ConfigID(ctx, engineID)
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	return err == nil && found == id, nil // one that cannot be read is not ours to judge
}

// engineID returns what the engine calls an image.
func (m *Mover) engineID(ctx context.Context, id string) (string, error) {
	if n, ok := m.cfg.Backend.(translator); ok {
		return n.EngineID(ctx, id)
	}
	return id, nil
}

// diffIDs returns the layers that the engine says the image has. The error wraps
// ErrUnknown where it does not have the image.
func (m *Mover) diffIDs(ctx context.Context, id string) ([]string, error) {
	engineID, err := m.engineID(ctx, id)
	if err != nil {
		return nil, err
	}
	_, layers, _, err := m.cfg.Engine.Layers(ctx, engineID)
	return layers, err
}
