package image

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

const (
	// maxLooked is how many images are looked at for the smallest.
	maxLooked = 32
	// maxTried is how many images may fail: one that is damaged condemns no store.
	maxTried = 3
	// emptyTar is how long a tar may be without a file in it.
	emptyTar = 10 << 10
)

// try takes the first way of reading the store that passes the trial. If there is
// none, it says when to try again.
func (s *store) try(ctx context.Context, engine Engine) {
	why := s.tryAll(ctx, engine)
	if s.direct != nil {
		s.failed = 0
		return
	}
	reasons := make([]string, len(why))
	for i, err := range why {
		reasons[i] = err.Error()
	}
	s.name = apiName + ": " + strings.Join(reasons, "; ")
	if !errors.Is(errors.Join(why...), errNothingTried) {
		s.failed++
		s.again = time.Now().Add(trialPause(s.failed))
	}
}

// trialPause is how long a store is left alone that failed so many trials: each
// reads up to whole images.
func trialPause(failed int) time.Duration {
	switch failed {
	case 1:
		return time.Minute
	case 2:
		return 5 * time.Minute
	}
	return 30 * time.Minute
}

func (s *store) tryAll(ctx context.Context, engine Engine) (why []error) {
	switch {
	case s.root.Dir == "":
		why = append(why, errors.New("the engine's files are not on this machine"))
	case s.root.Containerd:
		for _, dir := range contentDirs(s.root.Dir) {
			b := NewContainerd(dir, engine)
			if err := trial(ctx, b, b.ConfigID, engine); err != nil {
				why = append(why, err)
				continue
			}
			s.name, s.direct = "containerd", b
			return nil
		}
	case s.root.Driver == "overlay2":
		b := NewOverlay2(s.root.Dir)
		err := trial(ctx, b, s.api.ConfigID, engine)
		if err == nil {
			s.name, s.direct = "overlay2", b
			return nil
		}
		why = append(why, err)
	default:
		why = append(why, fmt.Errorf("images of storage driver %q are read by it alone", s.root.Driver))
	}
	return why
}

// contentDirs are where containerd keeps its blobs: under the engine's root when
// the engine started it, or in its own place.
func contentDirs(root string) []string {
	const content = "io.containerd.content.v1.content"
	return []string{filepath.Join(root, "containerd/daemon", content), filepath.Join("/var/lib/containerd", content)}
}

// errNothingTried says nothing against a store.
var errNothingTried = errors.New("the engine has no image to try its store with")

// trial reads layers of the engine's smallest images in a store and hashes them. It
// returns nil when one that has files came out right, or none came out wrong. configID
// names images for the store.
func trial(ctx context.Context, store Backend, configID func(context.Context, string) (string, error), engine Engine) error {
	images, err := smallest(ctx, engine)
	if err != nil {
		return err
	}
	tried, first := false, error(nil)
	for _, im := range images {
		proof, err := tryImage(ctx, store, configID, im)
		if proof {
			return nil
		}
		if err != nil {
			if _, _, _, gone := engine.Layers(ctx, im.id); errors.Is(gone, ErrUnknown) {
				continue // it was removed under the trial's hands
			}
		}
		tried, first = true, cmp.Or(first, err)
	}
	if !tried {
		return errNothingTried
	}
	return first
}

type sized struct {
	id      string
	diffIDs []string
	size    int64
}

func smallest(ctx context.Context, engine Engine) ([]sized, error) {
	list, err := engine.List(ctx)
	if err != nil {
		return nil, err
	}
	var images []sized
	for _, id := range slices.Sorted(maps.Keys(list)) {
		if len(images) == maxLooked {
			break
		}
		id, diffIDs, size, err := engine.Layers(ctx, id)
		if errors.Is(err, ErrUnknown) {
			continue // it went since
		} else if err != nil {
			return nil, err
		}
		images = append(images, sized{id, diffIDs, size})
	}
	slices.SortStableFunc(images, func(a, b sized) int { return cmp.Compare(a.size, b.size) })
	return images[:min(len(images), maxTried)], nil
}

// tryImage hashes an image's layers, smallest first, until one that has files in it:
// that is proof.
func tryImage(ctx context.Context, store Backend, configID func(context.Context, string) (string, error), tried sized) (proof bool, err error) {
	id, err := configID(ctx, tried.id)
	if err != nil {
		return false, err
	}
	im, err := store.Image(ctx, id)
	if err != nil {
		return false, err
	}
	if !hasLayers(im, tried.diffIDs) {
		return false, fmt.Errorf("image %s has other layers in its store than the engine says", id)
	}
	layers := slices.Clone(im.Layers)
	slices.SortFunc(layers, func(a, b Layer) int { return cmp.Compare(a.Size, b.Size) })
	for _, l := range layers {
		if err := tryLayer(ctx, store, id, l); err != nil {
			return false, err
		}
		if l.Size > emptyTar {
			return true, nil
		}
	}
	return false, nil
}

func tryLayer(ctx context.Context, store Backend, id string, l Layer) error {
	r, err := store.Open(ctx, id, l.Chain, 0)
	if err != nil {
		return err
	}
	defer r.Close()
	c := newChecked(r, l, func(error) {})
	_, err = io.Copy(io.Discard, c)
	return cmp.Or(err, c.err)
}

// checked is a layer that is hashed as it is read.
type checked struct {
	io.ReadCloser
	layer  Layer
	sum    hash.Hash
	read   int64
	tell   func(error) // called once the layer was read; nil: it is what it should be
	err    error
	judged bool
}

func newChecked(r io.ReadCloser, l Layer, tell func(error)) *checked {
	return &checked{ReadCloser: r, layer: l, sum: sha256.New(), tell: tell}
}

// Read gives on whatever there is: whoever asked for the layer checks it again.
func (c *checked) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.sum.Write(p[:n])
	c.read += int64(n)
	if !c.judged && (c.read >= c.layer.Size || err != nil) {
		c.judge(err)
	}
	return n, err
}

func (c *checked) judge(err error) {
	c.judged = true
	switch got := digest.NewDigest(digest.SHA256, c.sum).String(); {
	case err != nil && err != io.EOF:
		c.err = err
	case got != c.layer.DiffID || c.read != c.layer.Size:
		c.err = fmt.Errorf("layer %s came out as %s, %d of %d bytes", c.layer.DiffID, got, c.read, c.layer.Size)
	}
	c.tell(c.err)
}
