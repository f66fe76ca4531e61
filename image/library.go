package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"sync"
	"time"
)

const (
	// trust is how long a library believes what it found out about its engine.
	trust = time.Minute
	// trialTimeout bounds Name, which nobody can cancel.
	trialTimeout = 30 * time.Second
	// goneTimeout bounds the question whether the engine still has an image.
	goneTimeout = 10 * time.Second
	// apiName is what the backend that always works is called.
	apiName = "engine API"
)

// Root is where and how an engine keeps its images, as docker info tells it.
type Root struct {
	// Dir is DockerRootDir; empty when it is not on this machine.
	Dir string
	// Driver is the storage driver.
	Driver string
	// Containerd says that images are in containerd's store (the driver-type of
	// docker info's DriverStatus is a snapshotter).
	Containerd bool
}

// LibraryConfig says whose images a Library reads.
type LibraryConfig struct {
	Engine Engine
	// Root asks the engine where its images are.
	Root func(context.Context) (Root, error)
	// Logger hears when images must be read in a slower way. Nil is silence.
	Logger *slog.Logger
}

// Library is the Backend for whatever engine there is. It reads images where the
// engine keeps them if it can: if a layer that it read there has the right hash. It
// tries that before the first use, when the engine keeps its images elsewhere, and
// when a layer came out wrong; again and again, ever more rarely, while it fails.
// Else it has them from the engine's API.
type Library struct {
	cfg  LibraryConfig
	turn chan struct{} // who finds out about the engine, one at a time

	mu      sync.Mutex // guards what follows
	store   store
	checked time.Time
	came    map[string]bool // by chain: whether the layer came out right when it was last read whole
}

// store is what is known of the engine's images.
type store struct {
	root   Root
	name   string
	api    *EngineAPI
	direct Backend // nil: api is all there is
	failed int     // trials, one after the other
	again  time.Time
}

// translator knows how images are called by engines that do not go by their configuration.
// Containerd and EngineAPI do.
type translator interface {
	ConfigID(ctx context.Context, engineID string) (string, error)
	EngineID(ctx context.Context, configID string) (string, error)
}

// NewLibrary returns the library of one engine. It asks the engine nothing yet.
func NewLibrary(cfg LibraryConfig) *Library {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Library{cfg: cfg, turn: make(chan struct{}, 1), came: map[string]bool{}}
}

// Name tells how images are read: "overlay2", "containerd", or "engine API: " and why
// no better. It may take some seconds, to try it.
func (l *Library) Name() string {
	ctx, cancel := context.WithTimeout(context.Background(), trialTimeout)
	defer cancel()
	s, err := l.find(ctx)
	if err != nil {
		return apiName + ": " + err.Error()
	}
	return s.name
}

// find returns the store, and looks for it when that is due.
func (l *Library) find(ctx context.Context) (store, error) {
	if s, fresh := l.known(); fresh {
		return s, nil
	}
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return store{}, context.Cause(ctx)
	}
	old, fresh := l.known()
	if fresh { // another call was here first
		return old, nil
	}
	root, err := l.cfg.Root(ctx)
	if err != nil {
		return store{}, fmt.Errorf("ask the engine where its images are: %w", err)
	}
	s := old
	if s.api == nil || s.root != root {
		s = store{root: root, api: NewEngineAPI(l.cfg.Engine, root.Containerd)}
	}
	if s.direct == nil && !time.Now().Before(s.again) {
		s.try(ctx, l.cfg.Engine)
		if ctx.Err() != nil {
			return store{}, context.Cause(ctx)
		}
	}
	if s.name != old.name {
		l.cfg.Logger.Info("images are read", "by", s.name)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.store, l.checked = s, time.Now()
	return s, nil
}

func (l *Library) known() (s store, fresh bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.store, l.store.api != nil && time.Since(l.checked) < trust
}

// Image implements Backend.
func (l *Library) Image(ctx context.Context, id string) (*Image, error) {
	s, err := l.find(ctx)
	if err != nil {
		return nil, err
	}
	if s.direct != nil {
		im, err := s.direct.Image(ctx, id)
		err = l.unlessGone(ctx, id, err)
		if err == nil || !l.goesOn(ctx, err, id) {
			return im, err
		}
	}
	return s.api.Image(ctx, id)
}

// goesOn decides whether what failed in the store is tried by the API, and says so.
func (l *Library) goesOn(ctx context.Context, err error, id string) bool {
	if errors.Is(err, ErrUnknown) || ctx.Err() != nil {
		return false
	}
	l.cfg.Logger.Warn("an image cannot be read where the engine keeps it: the engine is asked for it", "image", id, "err", err)
	return true
}

// Open implements Backend. A layer that once came out wrong is had from the API.
func (l *Library) Open(ctx context.Context, id, chain string, offset int64) (io.ReadCloser, error) {
	s, err := l.find(ctx)
	if err != nil {
		return nil, err
	}
	if right, read := l.cameOut(chain); s.direct == nil || read && !right {
		return s.api.Open(ctx, id, chain, offset)
	}
	r, err := l.open(ctx, s.direct, id, chain, offset)
	err = l.unlessGone(ctx, id, err)
	if err == nil || !l.goesOn(ctx, err, id) {
		return r, err
	}
	return s.api.Open(ctx, id, chain, offset)
}

// cameOut says how a layer came out that was read whole.
func (l *Library) cameOut(chain string) (right, read bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	right, read = l.came[chain]
	return right, read
}

// open opens a layer in the store. One that is read from its first byte to its last
// is checked on the way, until it came out right: whoever receives it checks it too.
func (l *Library) open(ctx context.Context, direct Backend, id, chain string, offset int64) (io.ReadCloser, error) {
	im, err := direct.Image(ctx, id)
	if err != nil {
		return nil, err
	}
	for _, layer := range im.Layers {
		if layer.Chain != chain {
			continue
		}
		r, err := direct.Open(ctx, id, chain, offset)
		if right, _ := l.cameOut(chain); err != nil || offset != 0 || right {
			return r, err
		}
		return newChecked(r, layer, func(err error) {
			switch {
			case err == nil:
				l.note(chain, true)
			case !errors.Is(l.unlessGone(ctx, id, err), ErrUnknown):
				l.distrust(chain, err)
			}
		}), nil
	}
	return nil, fmt.Errorf("%w: image %s has no layer %s", ErrUnknown, id, chain)
}

// unlessGone returns err, which comes of reading an image's files. One about a file
// that is not there wraps ErrUnknown if the engine has removed the image meanwhile.
func (l *Library) unlessGone(ctx context.Context, id string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goneTimeout)
	defer cancel()
	if _, _, _, gone := l.cfg.Engine.Layers(ctx, id); errors.Is(gone, ErrUnknown) {
		return fmt.Errorf("%w: %w", gone, err)
	}
	return err
}

func (l *Library) note(chain string, right bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	remember(l.came, maxNames, chain, right)
}

// distrust has the store tried again, and one layer read from the API from now on.
func (l *Library) distrust(chain string, err error) {
	l.cfg.Logger.Error("a layer in the engine's store is damaged: pull or build its images again", "layer", chain, "err", err)
	l.note(chain, false)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.store.direct, l.store.again, l.checked = nil, time.Time{}, time.Time{}
}

// Missing implements Backend.
func (l *Library) Missing(ctx context.Context, im *Image) ([]Layer, error) {
	b, err := l.backend(ctx)
	if err != nil {
		return nil, err
	}
	return b.Missing(ctx, im)
}

// Pack implements Backend.
func (l *Library) Pack(ctx context.Context, w io.Writer, im *Image, missing []Layer, body func(Layer, io.Writer) error) error {
	b, err := l.backend(ctx)
	if err != nil {
		return err
	}
	return b.Pack(ctx, w, im, missing, body)
}

func (l *Library) backend(ctx context.Context) (Backend, error) {
	s, err := l.find(ctx)
	if err != nil {
		return nil, err
	}
	if s.direct != nil {
		return s.direct, nil
	}
	return s.api, nil
}

// ConfigID returns the digest of an image's configuration, which is its ID in the
// cluster, given the engine's ID. They are the same where there is a storage driver.
func (l *Library) ConfigID(ctx context.Context, engineID string) (string, error) {
	n, err := l.translator(ctx)
	if err != nil {
		return "", err
	}
	return n.ConfigID(ctx, engineID)
}

// EngineID undoes ConfigID. The error wraps ErrUnknown where the engine does not
// have the image.
func (l *Library) EngineID(ctx context.Context, configID string) (string, error) {
	n, err := l.translator(ctx)
	if err != nil {
		return "", err
	}
	return n.EngineID(ctx, configID)
}

func (l *Library) translator(ctx context.Context) (translator, error) {
	s, err := l.find(ctx)
	if err != nil {
		return nil, err
	}
	if n, ok := s.direct.(translator); ok {
		return n, nil
	}
	return s.api, nil
}

// Outline returns an image's layers without a docker save: where only that would
// tell their sizes, the top layer has the whole image's.
func (l *Library) Outline(ctx context.Context, id string) ([]Layer, error) {
	s, err := l.find(ctx)
	if err != nil {
		return nil, err
	}
	switch direct := s.direct.(type) {
	case *Containerd:
		return direct.Outline(ctx, id)
	case *Overlay2:
		if im, err := direct.Image(ctx, id); err == nil {
			return im.Layers, nil
		}
	}
	engineID, err := s.api.EngineID(ctx, id)
	if err != nil {
		return nil, err
	}
	_, diffIDs, size, err := l.cfg.Engine.Layers(ctx, engineID)
	if err != nil {
		return nil, err
	}
	layers := stack(diffIDs)
	if len(layers) > 0 {
		layers[len(layers)-1].Size = size
	}
	return layers, nil
}
