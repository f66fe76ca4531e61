package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/vbatts/tar-split/tar/asm"
	"github.com/vbatts/tar-split/tar/storage"
)

// made is an image that a test made.
type made struct {
	*Image
	tars map[string][]byte // of the layers, by chain
}

func newMade(t testing.TB, label string, layers ...[]byte) *made {
	t.Helper()
	ids := []string{}
	for _, l := range layers {
		ids = append(ids, digest.FromBytes(l).String())
	}
	config, err := json.Marshal(map[string]any{
		"architecture": "amd64", "os": "linux", "created": "2024-01-01T00:00:00Z",
		"config": map[string]any{"Cmd": []string{"/bin/true"}, "Labels": map[string]string{"made": label}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": ids},
	})
	must(t, err)
	im, err := read(config)
	must(t, err)
	m := &made{Image: im, tars: map[string][]byte{}}
	for i, tar := range layers {
		im.Layers[i].Size = int64(len(tar))
		m.tars[im.Layers[i].Chain] = tar
	}
	return m
}

func (m *made) diffIDs() []string {
	ids := []string{}
	for _, l := range m.Layers {
		ids = append(ids, l.DiffID)
	}
	return ids
}

// body writes a layer as Pack asks for it.
func (m *made) body(l Layer, w io.Writer) error {
	_, err := w.Write(m.tars[l.Chain])
	return err
}

// entry is one file of a tar; the zero Typeflag is a regular file.
type entry struct {
	tar.Header
	content string
}

func file(name, content string) entry { return entry{tar.Header{Name: name}, content} }

func tarOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if e.Typeflag == 0 {
			e.Typeflag = tar.TypeReg
		}
		if e.Mode == 0 {
			e.Mode = 0o755
		}
		e.Size = int64(len(e.content))
		must(t, w.WriteHeader(&e.Header))
		_, err := w.Write([]byte(e.content))
		must(t, err)
	}
	must(t, w.Close())
	return b.Bytes()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, path string, content []byte) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, content, 0o644))
}

func gzipped(t testing.TB, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write(plain)
	must(t, err)
	must(t, z.Close())
	return b.Bytes()
}

// intoOverlay2 puts an image into an engine's root directory as the engine would.
func intoOverlay2(t testing.TB, root string, m *made) {
	t.Helper()
	hex := func(id string) string { return strings.TrimPrefix(id, "sha256:") }
	write(t, filepath.Join(root, "image/overlay2/imagedb/content/sha256", hex(m.ID)), m.Config)
	for _, l := range m.Layers {
		db := filepath.Join(root, "image/overlay2/layerdb/sha256", hex(l.Chain))
		dir := diffDir(root, l)
		must(t, os.MkdirAll(dir, 0o755))
		write(t, filepath.Join(db, "cache-id"), []byte(filepath.Base(filepath.Dir(dir))))
		write(t, filepath.Join(db, "diff"), []byte(l.DiffID))
		write(t, filepath.Join(db, "tar-split.json.gz"), gzipped(t, split(t, m.tars[l.Chain], dir)))
	}
}

// diffDir is where intoOverlay2 puts a layer's files.
func diffDir(root string, l Layer) string {
	return filepath.Join(root, "overlay2", "c"+l.Chain[7:], "diff")
}

// split takes a layer's tar apart: files go to dir, all else is returned.
func split(t testing.TB, layer []byte, dir string) []byte {
	t.Helper()
	var index bytes.Buffer
	stream, err := asm.NewInputTarStream(bytes.NewReader(layer), storage.NewJSONPacker(&index), putter(dir))
	must(t, err)
	_, err = io.Copy(io.Discard, stream)
	must(t, err)
	return index.Bytes()
}

type putter string

func (dir putter) Put(name string, content io.Reader) (int64, []byte, error) {
	path := filepath.Join(string(dir), name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return 0, nil, err
	}
	text, err := io.ReadAll(content)
	if err != nil {
		return 0, nil, err
	}
	return int64(len(text)), []byte("12345678"), os.WriteFile(path, text, 0o600)
}

// shelf is an Engine in memory. Its images are there to be saved.
type shelf struct {
	mu     sync.Mutex
	images map[string]*onShelf // by the engine's ID
	saves  int
}

type onShelf struct {
	*made
	tags    []string
	archive []byte
}

func (s *shelf) put(engineID string, m *made, archive []byte, tags ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.images == nil {
		s.images = map[string]*onShelf{}
	}
	s.images[engineID] = &onShelf{m, tags, archive}
}

func (s *shelf) remove(engineID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.images, engineID)
}

func (s *shelf) saved() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.saves
}

func (s *shelf) find(ref string) (*onShelf, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	im, ok := s.images[ref]
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrUnknown, ref)
	}
	return im, nil
}

func (s *shelf) Layers(_ context.Context, ref string) (string, []string, int64, error) {
	im, err := s.find(ref)
	if err != nil {
		return "", nil, 0, err
	}
	var size int64
	for _, l := range im.Layers {
		size += l.Size
	}
	return ref, im.diffIDs(), size, nil
}

func (s *shelf) Load(_ context.Context, archive io.Reader) error {
	_, err := io.Copy(io.Discard, archive)
	return err
}

func (s *shelf) Save(_ context.Context, ref string) (io.ReadCloser, error) {
	im, err := s.find(ref)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saves++
	return &body{Reader: bytes.NewReader(im.archive)}, nil
}

func (s *shelf) List(context.Context) (map[string][]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string][]string{}
	for id, im := range s.images {
		all[id] = im.tags
	}
	return maps.Clone(all), nil
}

// body is a reply that cannot be read once it is closed.
type body struct {
	mu sync.Mutex
	*bytes.Reader
	closed bool
}

func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, fs.ErrClosed
	}
	return b.Reader.Read(p)
}

func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return nil
}

// saveDocker is what docker save writes on an engine with a storage driver.
func saveDocker(t testing.TB, m *made) []byte {
	t.Helper()
	var b bytes.Buffer
	must(t, packDocker(&b, m.Image, m.Layers, m.body))
	return b.Bytes()
}

// readLayer reads a layer from offset on.
func readLayer(t testing.TB, b Backend, m *made, l Layer, offset int64) []byte {
	t.Helper()
	r, err := b.Open(t.Context(), m.ID, l.Chain, offset)
	must(t, err)
	text, err := io.ReadAll(r)
	must(t, err)
	must(t, r.Close())
	return text
}

// holdsImage fails unless the backend gives the image, byte for byte.
func holdsImage(t testing.TB, b Backend, m *made) {
	t.Helper()
	im, err := b.Image(t.Context(), m.ID)
	must(t, err)
	if im.ID != m.ID || !bytes.Equal(im.Config, m.Config) || fmt.Sprint(im.Layers) != fmt.Sprint(m.Layers) {
		t.Fatalf("the image came out as\n%s %s\n%v, want\n%v", im.ID, im.Config, im.Layers, m.Layers)
	}
	for i, l := range m.Layers {
		if !bytes.Equal(readLayer(t, b, m, l, 0), m.tars[l.Chain]) {
			t.Errorf("layer %d of %d is not the tar that it was", i+1, len(m.Layers))
		}
	}
}
