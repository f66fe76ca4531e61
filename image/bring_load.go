package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"ddocker/crash"
)

// transfer is one load of an image into the engine here.
type transfer struct {
	*Mover
	flight *flight
	roster *roster
	image  *Image
	author string // who described the image

	// One goroutine at a time, the packer's or the one that fills its flow.
	senders  []string        // who sent bytes of the layer that comes
	verified map[string]bool // by DiffID
	err      error           // why a layer could not be had
}

// attempt has a node describe the image and loads what is missing of it. After an
// error nothing of it is left. The author is whoever described it.
func (m *Mover) attempt(f *flight, r *roster) (author string, err error) {
	author, im, err := m.describe(f.ctx, r)
	if err != nil {
		return author, err
	}
	missing, err := m.cfg.Backend.Missing(f.ctx, im)
	if err != nil {
		return author, fmt.Errorf("find out which layers of image %s are missing: %w", short(im.ID), err)
	}
	for _, l := range im.Layers {
		if slices.Contains(missing, l) {
			f.news.step(l.DiffID, StatusWanted, l.Size)
		} else {
			f.news.step(l.DiffID, StatusHeld, 0)
		}
	}
	if err := m.room(missing); err != nil {
		return author, err
	}
	if err := m.journal.write(record{ID: im.ID, Loading: true, Used: time.Now()}); err != nil {
		return author, fmt.Errorf("write down that image %s is loaded: %w", short(im.ID), err)
	}
	m.cfg.Crash.At(crash.ImageNoted)
	t := &transfer{Mover: m, flight: f, roster: r, image: im, author: author, verified: map[string]bool{}}
	err = t.load(missing)
	if err == nil {
		err = m.check(f.ctx, im)
	}
	if err != nil {
		if left := m.scrap(f.ctx, im.ID, f.ctx.Err() != nil); left != nil {
			m.cfg.Logger.Warn("what a failed load left stays for now", "image", im.ID, "err", left)
		}
		return author, err
	}
	m.cfg.Crash.At(crash.ImageLoaded)
	for _, l := range missing {
		f.news.step(l.DiffID, StatusPulled, 0)
	}
	return author, nil
}

// room says whether twice the missing bytes are free: an engine may keep a layer's
// tar until it is unpacked.
func (m *Mover) room(missing []Layer) error {
	need := int64(0)
	for _, l := range missing {
		need += 2 * l.Size
	}
	if m.cfg.Disk == nil || need == 0 {
		return nil
	}
	if free, _, err := m.cfg.Disk(); err == nil && free < need {
		return &NoRoomError{Need: need, Free: free}
	}
	return nil
}

// load streams the missing layers into the engine, which drops all of them when
// one could not be had: its archive breaks off then.
func (t *transfer) load(missing []Layer) error {
	ctx, cancel := context.WithCancel(t.flight.ctx)
	defer cancel()
	archive, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := t.cfg.Backend.Pack(ctx, w, t.image, missing, func(l Layer, w io.Writer) error { return t.layer(ctx, l, w) })
		w.CloseWithError(err)
		packed <- err
	}()
	loadErr := t.cfg.Engine.Load(ctx, archive)
	archive.CloseWithError(errArchiveClosed)
	cancel() // an engine that read enough, or failed, wants no more layers
	packErr := <-packed
	return t.outcome(missing, loadErr, packErr)
}

// outcome finds the error that the others came of.
func (t *transfer) outcome(missing []Layer, loadErr, packErr error) error {
	closed := errors.Is(packErr, errArchiveClosed) || errors.Is(packErr, context.Canceled)
	switch {
	case t.flight.ctx.Err() != nil:
		return context.Cause(t.flight.ctx)
	case t.err != nil && !errors.Is(t.err, errArchiveClosed) && !errors.Is(t.err, context.Canceled):
		return t.err
	case packErr != nil && !closed:
		return fmt.Errorf("pack image %s for the engine: %w", short(t.image.ID), packErr)
	case loadErr != nil && fullDisk(loadErr):
		full := &NoRoomError{}
		for _, l := range missing {
			full.Need += 2 * l.Size
		}
		if t.cfg.Disk != nil {
			full.Free, _, _ = t.cfg.Disk() // tells more, decides nothing
		}
		return fmt.Errorf("load image %s: %w (%w)", short(t.image.ID), loadErr, full)
	case loadErr != nil:
		return fmt.Errorf("load image %s: %w", short(t.image.ID), loadErr)
	}
	for _, l := range missing {
		if !t.verified[l.DiffID] {
			return fmt.Errorf("load image %s: the engine took it without layer %s", short(t.image.ID), short(l.DiffID))
		}
	}
	return nil
}

// check has the engine say that the image is there, with all of its layers.
func (m *Mover) check(ctx context.Context, im *Image) error {
	got, err := m.diffIDs(ctx, im.ID)
	if err != nil {
		return fmt.Errorf("image %s was loaded and is not there: %w", short(im.ID), err)
	}
	if !hasLayers(im, got) {
		return fmt.Errorf("image %s was loaded, and the engine has other layers in it", short(im.ID))
	}
	return nil
}
