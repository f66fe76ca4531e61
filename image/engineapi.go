package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// maxSurveys bounds how many images are remembered as docker save tells them.
	maxSurveys = 32
	// maxNames bounds the other things that are remembered by an image's ID.
	maxNames = 4096
	// saveStall is how long a docker save may send nothing: with a storage driver it
	// copies the whole image to its own disk before the first byte.
	saveStall = 10 * time.Minute
	// saveIdle is how long a save that sent one layer is kept for the next.
	saveIdle = 10 * time.Second
)

// EngineAPI reads images through nothing but the engine's API: for storage drivers
// that Overlay2 and Containerd do not read, rootless engines and engines elsewhere.
// It gives the same bytes, but docker save has no way to ask for a part: the first
// Image and every Open may cost the engine a save of the whole image.
type EngineAPI struct {
	engine     Engine
	containerd bool
	turn       chan struct{} // who surveys, one at a time

	mu      sync.Mutex // guards what follows
	surveys map[string]*survey
	configs map[string]string   // config digest by the engine's ID
	chains  map[string][]string // of the layers, by the engine's ID
	parked  *saving
}

// NewEngineAPI returns the backend for any engine; containerd says that the engine
// keeps its images in containerd's store and names them by other digests than
// those of their configurations.
func NewEngineAPI(engine Engine, containerd bool) *EngineAPI {
	return &EngineAPI{
		engine: engine, containerd: containerd, turn: make(chan struct{}, 1),
		surveys: map[string]*survey{}, configs: map[string]string{}, chains: map[string][]string{},
	}
}

// Image implements Backend. The first time for an image it reads a whole docker
// save, hashing all layers; later it only asks whether the engine still has it.
// What it returns is shared and not to be changed.
func (a *EngineAPI) Image(ctx context.Context, id string) (*Image, error) {
	s, err := a.find(ctx, id)
	if err != nil {
		return nil, err
	}
	return s.image, nil
}

func (a *EngineAPI) find(ctx context.Context, id string) (*survey, error) {
	engineID, err := a.EngineID(ctx, id)
	if err != nil {
		return nil, err
	}
	s, err := a.survey(ctx, engineID)
	if err != nil {
		return nil, err
	}
	if s.image.ID != id {
		return nil, fmt.Errorf("docker save of image %s gives image %s", id, s.image.ID)
	}
	return s, nil
}

// ConfigID returns the digest of an image's configuration, given the engine's ID. On
// containerd's store it costs a docker save, once for each image.
func (a *EngineAPI) ConfigID(ctx context.Context, engineID string) (string, error) {
	if !a.containerd {
		return engineID, nil
	}
	a.mu.Lock()
	id, known := a.configs[engineID]
	a.mu.Unlock()
	if known {
		return id, nil
	}
	s, err := a.survey(ctx, engineID)
	if err != nil {
		return "", err
	}
	return s.image.ID, nil
}

// EngineID returns the engine's ID of the image with this configuration. The error
// wraps ErrUnknown where the engine does not have it in a state that can be saved.
func (a *EngineAPI) EngineID(ctx context.Context, configID string) (string, error) {
	if !a.containerd {
		id, _, _, err := a.engine.Layers(ctx, configID)
		return id, err
	}
	images, err := a.engine.List(ctx)
	if err != nil {
		return "", err
	}
	for _, engineID := range slices.Sorted(maps.Keys(images)) {
		id, err := a.ConfigID(ctx, engineID)
		if err == nil && id == configID {
			return engineID, nil
		}
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
	}
	return "", fmt.Errorf("%w: %s", ErrUnknown, configID)
}

// survey returns what a docker save of an image tells.
func (a *EngineAPI) survey(ctx context.Context, engineID string) (*survey, error) {
	_, diffIDs, _, err := a.engine.Layers(ctx, engineID)
	if err != nil {
		return nil, err
	}
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	a.mu.Lock()
	s := a.surveys[engineID]
	a.mu.Unlock()
	if s != nil {
		return s, nil
	}
	save, err := a.save(ctx, engineID)
	if err != nil {
		return nil, err
	}
	defer save.close()
	if s, err = look(save.tar, engineID, diffIDs); err != nil {
		return nil, fmt.Errorf("look through docker save of image %s: %w", engineID, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	remember(a.surveys, maxSurveys, engineID, s)
	remember(a.configs, maxNames, engineID, s.image.ID)
	return s, nil
}

// remember keeps a map small. Whatever it forgets can be learned again.
func remember[V any](m map[string]V, most int, key string, value V) {
	if len(m) >= most {
		clear(m)
	}
	m[key] = value
}

// Open implements Backend. It saves the image again and passes over all that stands
// before the layer, unless the save that the last Open read from is still to come to it.
func (a *EngineAPI) Open(ctx context.Context, id, chain string, offset int64) (io.ReadCloser, error) {
	s, err := a.find(ctx, id)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(s.image.Layers, func(l Layer) bool { return l.Chain == chain })
	if i < 0 {
		return nil, fmt.Errorf("%w: image %s has no layer %s", ErrUnknown, id, chain)
	}
	file := s.files[s.image.Layers[i].DiffID]
	save := a.unpark(s.engineID, file)
	if save == nil {
		if save, err = a.save(ctx, s.engineID); err != nil {
			return nil, err
		}
	}
	l, err := save.open(ctx, file, offset)
	if err != nil {
		save.close()
		return nil, fmt.Errorf("open layer %s at byte %d: %w", chain, offset, err)
	}
	l.park = a.park
	return l, nil
}

// save begins a docker save. It goes on when ctx has ended: whoever reads closes it.
func (a *EngineAPI) save(ctx context.Context, engineID string) (*saving, error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stall := time.AfterFunc(saveStall, cancel)
	body, err := a.engine.Save(ctx, engineID)
	if err != nil {
		stall.Stop()
		cancel()
		return nil, err
	}
	context.AfterFunc(ctx, func() { body.Close() })
	return newSaving(engineID, body, cancel, stall), nil
}

// park keeps a save whose layer was read to its end for whoever wants the next.
func (a *EngineAPI) park(s *saving) {
	a.mu.Lock()
	old := a.parked
	a.parked = s
	s.stall.Reset(saveIdle) // it ends by itself
	a.mu.Unlock()
	if old != nil {
		old.close()
	}
}

// unpark returns the parked save if it still comes to this file of this image.
func (a *EngineAPI) unpark(engineID, file string) *saving {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.parked
	if s == nil || s.engineID != engineID || s.passed[file] {
		return nil
	}
	a.parked = nil
	if !s.stall.Stop() {
		return nil // it has just ended
	}
	s.stall.Reset(saveStall)
	return s
}

// Missing implements Backend: a layer is held when it stands in one of the engine's
// images. On containerd's store none is known to be: an image may be listed there
// whose layers are not.
func (a *EngineAPI) Missing(ctx context.Context, im *Image) ([]Layer, error) {
	if a.containerd {
		return im.Layers, nil
	}
	images, err := a.engine.List(ctx)
	if err != nil {
		return nil, err
	}
	held := map[string]bool{}
	for id := range images {
		chains, err := a.chainsOf(ctx, id)
		if errors.Is(err, ErrUnknown) {
			continue // it went since
		} else if err != nil {
			return nil, err
		}
		for _, c := range chains {
			held[c] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(im.Layers), func(l Layer) bool { return held[l.Chain] }), nil
}

func (a *EngineAPI) chainsOf(ctx context.Context, engineID string) ([]string, error) {
	a.mu.Lock()
	chains, known := a.chains[engineID]
	a.mu.Unlock()
	if known {
		return chains, nil
	}
	_, diffIDs, _, err := a.engine.Layers(ctx, engineID)
	if err != nil {
		return nil, err
	}
	for _, l := range stack(diffIDs) {
		chains = append(chains, l.Chain)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	remember(a.chains, maxNames, engineID, chains)
	return chains, nil
}

// Pack implements Backend.
func (a *EngineAPI) Pack(_ context.Context, w io.Writer, im *Image, missing []Layer, body func(Layer, io.Writer) error) error {
	if a.containerd && len(missing) < len(im.Layers) {
		return fmt.Errorf("pack image %s: the engine needs all of its %d layers, not %d of them", im.ID, len(im.Layers), len(missing))
	}
	return packDocker(w, im, missing, body)
}
