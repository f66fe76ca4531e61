// Package imagetest holds an engine's images in memory, and a network of nodes to
// move them over, for tests in virtual time:
//
//	net := imagetest.NewNet()
//	store := imagetest.NewStore()
//	id := store.Add(layer, another)
//	m := image.New(image.Config{Engine: store, Backend: store, Remove: store.Remove,
//		Self: "h1", Peer: net.Peer("h1"), From: imagetest.From, …})
//	net.Join("h1", m.Handler())
package imagetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"ddocker/image"
)

// Store is an engine with its images in memory: an image.Engine and an
// image.Backend. As a real engine, it takes an archive wholly or not at all, checks
// what it takes, and needs no files for layers that it holds. Safe for concurrent use.
type Store struct {
	mu     sync.Mutex // guards what follows
	images map[string]*held
	layers map[string][]byte // by chain
}

// held is one image of a store.
type held struct {
	image.Image
	tags []string
}

// NewStore returns a store without images.
func NewStore() *Store {
	return &Store{images: map[string]*held{}, layers: map[string][]byte{}}
}

// Add makes an image of layers, bottom first, and returns its ID: the same layers
// make the same image in every store. The layers need not be tars, and must not be
// changed afterwards.
func (s *Store) Add(layers ...[]byte) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	diffIDs := make([]string, len(layers))
	for i, l := range layers {
		diffIDs[i] = Digest(l)
	}
	config, err := json.Marshal(map[string]any{
		"architecture": "amd64", "os": "linux", "config": map[string]any{},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
	})
	if err != nil {
		panic(err) // strings can be written as JSON
	}
	im := compose(config, diffIDs)
	for i := range im.Layers {
		im.Layers[i].Size = int64(len(layers[i]))
		s.layers[im.Layers[i].Chain] = layers[i]
	}
	if s.images[im.ID] == nil {
		s.images[im.ID] = &held{Image: im}
	}
	return im.ID
}

// compose makes an image of its configuration. The layers' sizes are left open.
func compose(config []byte, diffIDs []string) image.Image {
	im := image.Image{ID: Digest(config), Config: config}
	chain := ""
	for _, id := range diffIDs {
		chain = image.Chain(chain, id)
		im.Layers = append(im.Layers, image.Layer{DiffID: id, Chain: chain})
	}
	return im
}

// Digest returns the SHA-256 of b as Docker writes it.
func Digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Tag gives an image a name, which no other image of the store has from then on.
func (s *Store) Tag(id, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.images[id] == nil {
		return unknown(id)
	}
	for _, h := range s.images {
		h.tags = slices.DeleteFunc(h.tags, func(tag string) bool { return tag == name })
	}
	s.images[id].tags = append(s.images[id].tags, name)
	return nil
}

func unknown(ref string) error { return fmt.Errorf("%w: %s", image.ErrUnknown, ref) }

// Remove removes an image that has no name.
func (s *Store) Remove(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.images[id]
	switch {
	case h == nil:
		return unknown(id)
	case len(h.tags) > 0:
		return fmt.Errorf("remove image %s: it is %v", id, h.tags)
	}
	s.drop(id)
	return nil
}

// Drop removes an image, whatever names it has.
func (s *Store) Drop(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(id)
}

// drop is called with s.mu held.
func (s *Store) drop(id string) {
	delete(s.images, id)
	used := map[string]bool{}
	for _, h := range s.images {
		for _, l := range h.Image.Layers {
			used[l.Chain] = true
		}
	}
	maps.DeleteFunc(s.layers, func(chain string, _ []byte) bool { return !used[chain] })
}

// Damage flips a bit of one of an image's layers at an offset.
func (s *Store) Damage(id string, layer int, offset int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	chain := s.images[id].Image.Layers[layer].Chain
	s.layers[chain] = bytes.Clone(s.layers[chain])
	s.layers[chain][offset] ^= 1
}

// Held returns how many images and layers there are.
func (s *Store) Held() (images, layers int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.images), len(s.layers)
}

// Layers implements image.Engine. A ref is an ID or a tag.
func (s *Store) Layers(_ context.Context, ref string) (id string, diffIDs []string, size int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.images {
		if h.ID != ref && !slices.Contains(h.tags, ref) {
			continue
		}
		for _, l := range h.Image.Layers {
			diffIDs = append(diffIDs, l.DiffID)
			size += l.Size
		}
		return h.ID, diffIDs, size, nil
	}
	return "", nil, 0, unknown(ref)
}

// List implements image.Engine.
func (s *Store) List(context.Context) (map[string][]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string][]string{}
	for id, h := range s.images {
		all[id] = slices.Clone(h.tags)
	}
	return all, nil
}

// Image implements image.Backend.
func (s *Store) Image(_ context.Context, id string) (*image.Image, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.images[id]
	if h == nil {
		return nil, unknown(id)
	}
	im := h.Image
	im.Layers = slices.Clone(im.Layers)
	return &im, nil
}

// Open implements image.Backend. What it opens fails once the image is dropped.
func (s *Store) Open(_ context.Context, id, chain string, offset int64) (io.ReadCloser, error) {
	content, err := s.content(id, chain)
	if err != nil {
		return nil, err
	}
	if offset < 0 || offset > int64(len(content)) {
		return nil, fmt.Errorf("open layer %s at %d: it has %d bytes", chain, offset, len(content))
	}
	return &open{store: s, id: id, chain: chain, rest: content[offset:]}, nil
}

func (s *Store) content(id, chain string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	content, ok := s.layers[chain]
	if s.images[id] == nil || !ok {
		return nil, unknown(id + ", layer " + chain)
	}
	return content, nil
}

// open is a layer that is being read.
type open struct {
	store     *Store
	id, chain string
	rest      []byte
}

// Read implements io.Reader.
func (o *open) Read(p []byte) (int, error) {
	if _, err := o.store.content(o.id, o.chain); err != nil {
		return 0, err
	}
	if len(o.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, o.rest)
	o.rest = o.rest[n:]
	return n, nil
}

// Close implements io.Closer.
func (o *open) Close() error { return nil }

// Missing implements image.Backend.
func (s *Store) Missing(_ context.Context, im *image.Image) ([]image.Layer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var missing []image.Layer
	for _, l := range im.Layers {
		if _, ok := s.layers[l.Chain]; !ok {
			missing = append(missing, l)
		}
	}
	return missing, nil
}
