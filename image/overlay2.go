package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// maxSizes bounds how many layers' sizes are remembered.
const maxSizes = 8192

// Overlay2 reads the images of an engine whose storage driver is overlay2. The
// engine keeps each layer as a tree of files and, beside it, all of its tar but
// the files' contents: together they are the tar that once came, byte for byte.
// It only reads, and needs to be root for that.
type Overlay2 struct {
	root string

	mu    sync.Mutex       // guards what follows
	sizes map[string]int64 // of tars, by chain
}

// NewOverlay2 returns the backend for the engine whose root directory is root, as
// docker info tells it (DockerRootDir).
func NewOverlay2(root string) *Overlay2 {
	return &Overlay2{root: root, sizes: map[string]int64{}}
}

func (o *Overlay2) layer(hex, file string) string {
	return filepath.Join(o.root, "image/overlay2/layerdb/sha256", hex, file)
}

// Image implements Backend. The first time it reads as much as a kilobyte for each
// file in the image, to know the layers' sizes.
func (o *Overlay2) Image(ctx context.Context, id string) (*Image, error) {
	hex, err := hexOf(id)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	config, err := os.ReadFile(filepath.Join(o.root, "image/overlay2/imagedb/content/sha256", hex))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrUnknown, id)
	} else if err != nil {
		return nil, err
	}
	im, err := read(config)
	if err != nil {
		return nil, err
	}
	if im.ID != id {
		return nil, fmt.Errorf("the engine's configuration of image %s is damaged: it is %s", id, im.ID)
	}
	for i := range im.Layers {
		if im.Layers[i].Size, err = o.size(ctx, im.Layers[i].Chain); err != nil {
			return nil, err
		}
	}
	return im, nil
}

func (o *Overlay2) size(ctx context.Context, chain string) (int64, error) {
	o.mu.Lock()
	size, known := o.sizes[chain]
	o.mu.Unlock()
	if known {
		return size, nil
	}
	tar, err := o.rebuild(chain)
	if err != nil {
		return 0, err
	}
	defer tar.Close()
	if size, err = tar.skip(ctx, -1); err != nil {
		return 0, fmt.Errorf("measure layer %s: %w", chain, err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.sizes) >= maxSizes {
		clear(o.sizes)
	}
	o.sizes[chain] = size
	return size, nil
}

// Open implements Backend. The reader holds the layer's directory open, needs some
// kilobytes of memory, and fails at a file whose size is not what the layer says.
func (o *Overlay2) Open(ctx context.Context, _, chain string, offset int64) (io.ReadCloser, error) {
	tar, err := o.rebuild(chain)
	if err != nil {
		return nil, err
	}
	if err := tar.seek(ctx, offset); err != nil {
		return nil, errors.Join(fmt.Errorf("open layer %s at byte %d: %w", chain, offset, err), tar.Close())
	}
	return tar, nil
}

// rebuild begins a layer's tar.
func (o *Overlay2) rebuild(chain string) (*rebuilt, error) {
	hex, err := hexOf(chain)
	if err != nil {
		return nil, fmt.Errorf("%w: layer %w", ErrUnknown, err)
	}
	cache, err := os.ReadFile(o.layer(hex, "cache-id"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: layer %s", ErrUnknown, chain)
	} else if err != nil {
		return nil, err
	}
	if name := string(cache); !filepath.IsLocal(name) || filepath.Base(name) != name {
		return nil, fmt.Errorf("layer %s has a directory called %q", chain, name)
	}
	return newRebuilt(o.layer(hex, "tar-split.json.gz"), filepath.Join(o.root, "overlay2", string(cache), "diff"))
}

// Missing implements Backend.
func (o *Overlay2) Missing(_ context.Context, im *Image) ([]Layer, error) {
	var missing []Layer
	for _, l := range im.Layers {
		hex, err := hexOf(l.Chain)
		if err != nil {
			return nil, err
		}
		_, err = os.Stat(o.layer(hex, "diff"))
		if errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, l)
		} else if err != nil {
			return nil, err
		}
	}
	return missing, nil
}

// Pack implements Backend.
func (o *Overlay2) Pack(_ context.Context, w io.Writer, im *Image, missing []Layer, body func(Layer, io.Writer) error) error {
	return packDocker(w, im, missing, body)
}
