package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/moby/go-archive/compression"
)

// Containerd reads the images of an engine that keeps them in containerd's store:
// layers lie there as they came, compressed or not, in files called by their digest.
// Such an engine calls an image by the digest of its manifest, or of an index of
// several, and the same image may have another ID on each host. It only reads, and
// needs to be root for that.
type Containerd struct {
	blobs  string
	engine Engine

	mu     sync.Mutex          // guards what follows
	images map[string]contents // by the engine's ID
	sizes  map[string]int64    // of plain tars, by the digest of their blob
}

// contents is an image as it lies in the store: one blob for each layer.
type contents struct {
	image *Image
	blobs []descriptor
}

// NewContainerd returns the backend for the engine whose containerd has its content
// in a directory that ends in io.containerd.content.v1.content.
func NewContainerd(content string, engine Engine) *Containerd {
	return &Containerd{
		blobs: filepath.Join(content, "blobs/sha256"), engine: engine,
		images: map[string]contents{}, sizes: map[string]int64{},
	}
}

// blob is the path of a blob.
func (c *Containerd) blob(digest string) (string, error) {
	hex, err := hexOf(digest)
	return filepath.Join(c.blobs, hex), err
}

// document reads a small JSON blob. The error wraps ErrUnknown where it is not there.
func (c *Containerd) document(digest string) ([]byte, error) {
	path, err := c.blob(digest)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: the store has no blob %s", ErrUnknown, digest)
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err == nil && len(text) > maxConfig {
		err = fmt.Errorf("read blob %s: it has more than %d bytes", digest, maxConfig)
	}
	return text, err
}

func (c *Containerd) manifest(digest string) (manifest, error) {
	var m manifest
	text, err := c.document(digest)
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		return m, fmt.Errorf("read manifest %s: %w", digest, err)
	}
	return m, nil
}

// contents returns what an image of the engine consists of.
func (c *Containerd) contents(ctx context.Context, engineID string) (contents, error) {
	c.mu.Lock()
	known, ok := c.images[engineID]
	c.mu.Unlock()
	if ok {
		return known, nil
	}
	m, err := c.manifest(engineID)
	if err != nil {
		return contents{}, err
	}
	var found contents
	if m.Config != nil {
		found, err = c.ofManifest(m)
	} else {
		found, err = c.ofIndex(ctx, engineID, m, 0)
	}
	if err != nil {
		return contents{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	remember(c.images, maxNames, engineID, found)
	return found, nil
}

func (c *Containerd) ofManifest(m manifest) (contents, error) {
	config, err := c.document(m.Config.Digest)
	if err != nil {
		return contents{}, err
	}
	im, err := read(config)
	if err != nil {
		return contents{}, err
	}
	if im.ID != m.Config.Digest || len(im.Layers) != len(m.Layers) {
		return contents{}, fmt.Errorf("image %s has a manifest that does not fit it", m.Config.Digest)
	}
	return contents{im, m.Layers}, nil
}

// ofIndex takes from an index the image that the engine means: the one whose layers
// it tells.
func (c *Containerd) ofIndex(ctx context.Context, engineID string, index manifest, depth int) (contents, error) {
	_, diffIDs, _, err := c.engine.Layers(ctx, engineID)
	if err != nil {
		return contents{}, err
	}
	for _, d := range index.Manifests {
		m, err := c.manifest(d.Digest)
		if err != nil {
			continue // of a platform that was not pulled
		}
		var found contents
		if m.Config != nil {
			found, err = c.ofManifest(m)
		} else if depth < 2 {
			found, err = c.ofIndex(ctx, engineID, m, depth+1)
		}
		if err == nil && found.image != nil && hasLayers(found.image, diffIDs) {
			return found, nil
		}
	}
	return contents{}, fmt.Errorf("%w: index %s has no image that is for this machine", ErrUnknown, engineID)
}

// ConfigID returns the digest of an image's configuration, given the engine's ID.
func (c *Containerd) ConfigID(ctx context.Context, engineID string) (string, error) {
	found, err := c.contents(ctx, engineID)
	if err != nil {
		return "", err
	}
	return found.image.ID, nil
}

// EngineID returns the engine's ID of the image with this configuration, one with a
// tag before one without. The error wraps ErrUnknown where the engine does not have
// it whole: it lists images that it has a part of.
func (c *Containerd) EngineID(ctx context.Context, configID string) (string, error) {
	id, _, err := c.find(ctx, configID)
	return id, err
}

func (c *Containerd) find(ctx context.Context, configID string) (engineID string, found contents, err error) {
	images, err := c.engine.List(ctx)
	if err != nil {
		return "", contents{}, err
	}
	for _, id := range slices.Sorted(maps.Keys(images)) {
		if engineID != "" && len(images[id]) == 0 {
			continue
		}
		its, err := c.contents(ctx, id)
		if ctx.Err() != nil {
			return "", contents{}, context.Cause(ctx)
		}
		if err != nil || its.image.ID != configID || !c.whole(its) {
			continue
		}
		engineID, found = id, its
		if len(images[id]) > 0 {
			break
		}
	}
	if engineID == "" {
		return "", contents{}, fmt.Errorf("%w: %s", ErrUnknown, configID)
	}
	return engineID, found, nil
}

func (c *Containerd) whole(its contents) bool {
	return !slices.ContainsFunc(its.blobs, func(d descriptor) bool { return !c.holds(d) })
}

// holds says that the store has a blob, all of it.
func (c *Containerd) holds(d descriptor) bool {
	path, err := c.blob(d.Digest)
	if err != nil {
		return false
	}
	info, err := os.Stat(path)
	return err == nil && info.Size() == d.Size
}

// Image implements Backend. The first time it decompresses all compressed layers, to
// know how long they are.
func (c *Containerd) Image(ctx context.Context, id string) (*Image, error) {
	_, its, err := c.find(ctx, id)
	if err != nil {
		return nil, err
	}
	im := *its.image
	im.Layers = slices.Clone(im.Layers)
	for i, d := range its.blobs {
		if im.Layers[i].Size, err = c.size(ctx, d); err != nil {
			return nil, fmt.Errorf("measure layer %s: %w", im.Layers[i].DiffID, err)
		}
	}
	return &im, nil
}

// Outline returns an image's layers with the sizes that they have in the store.
func (c *Containerd) Outline(ctx context.Context, id string) ([]Layer, error) {
	_, its, err := c.find(ctx, id)
	if err != nil {
		return nil, err
	}
	layers := slices.Clone(its.image.Layers)
	for i, d := range its.blobs {
		layers[i].Size = d.Size
	}
	return layers, nil
}

func (c *Containerd) size(ctx context.Context, d descriptor) (int64, error) {
	c.mu.Lock()
	size, known := c.sizes[d.Digest]
	c.mu.Unlock()
	if known {
		return size, nil
	}
	blob, err := c.open(d)
	if err != nil {
		return 0, err
	}
	defer blob.Close()
	if size, err = blob.skip(ctx, -1); err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	remember(c.sizes, maxSizes, d.Digest, size)
	return size, nil
}

// Open implements Backend. A compressed layer is decompressed from its beginning.
func (c *Containerd) Open(ctx context.Context, id, chain string, offset int64) (io.ReadCloser, error) {
	_, its, err := c.find(ctx, id)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(its.image.Layers, func(l Layer) bool { return l.Chain == chain })
	if i < 0 {
		return nil, fmt.Errorf("%w: image %s has no layer %s", ErrUnknown, id, chain)
	}
	blob, err := c.open(its.blobs[i])
	if err != nil {
		return nil, err
	}
	passed, err := blob.skip(ctx, max(0, offset))
	if err == nil && passed != offset {
		err = fmt.Errorf("it ends at byte %d", passed)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open layer %s at byte %d: %w", chain, offset, err), blob.Close())
	}
	return blob, nil
}

// plainBlob is a layer's blob without its compression.
type plainBlob struct {
	io.Reader
	file   *os.File
	plain  io.Closer // nil: the file is plain
	format compression.Compression
}

func (c *Containerd) open(d descriptor) (*plainBlob, error) {
	path, err := c.blob(d.Digest)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: the store has no blob %s", ErrUnknown, d.Digest)
	} else if err != nil {
		return nil, err
	}
	var magic [10]byte
	n, err := f.ReadAt(magic[:], 0)
	if err != nil && err != io.EOF {
		return nil, errors.Join(err, f.Close())
	}
	b := &plainBlob{Reader: f, file: f, format: compression.Detect(magic[:n])}
	if b.format == compression.None {
		return b, nil
	}
	plain, err := compression.DecompressStream(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("decompress blob %s: %w", d.Digest, err), f.Close())
	}
	b.Reader, b.plain = plain, plain
	return b, nil
}

// Close may be called once.
func (b *plainBlob) Close() error {
	err := b.file.Close()
	if b.plain != nil {
		b.plain.Close() // it may fail for the closed file
	}
	return err
}

// skip passes over n bytes, or all when n is negative, and returns how many there were.
func (b *plainBlob) skip(ctx context.Context, n int64) (int64, error) {
	if b.plain == nil {
		info, err := b.file.Stat()
		if err != nil || n < 0 || n > info.Size() {
			return info.Size(), err
		}
		return b.file.Seek(n, io.SeekStart)
	}
	from := readerFunc(func(p []byte) (int, error) {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		return b.Read(p)
	})
	if n < 0 {
		return io.Copy(io.Discard, from)
	}
	passed, err := io.CopyN(io.Discard, from, n)
	if err == io.EOF {
		err = nil
	}
	return passed, err
}
