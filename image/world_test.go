package image_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"testing"

	"ddocker/image"
	"ddocker/image/imagetest"
)

const mib = 1 << 20

// world is hosts with images, on a network in memory.
type world struct {
	t     *testing.T
	net   *imagetest.Net
	hosts map[string]*host
}

// host is one of them.
type host struct {
	*imagetest.Store
	name  string
	mover *image.Mover
	dir   string
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, net: imagetest.NewNet(), hosts: map[string]*host{}}
	t.Cleanup(w.net.Close)
	return w
}

// host adds a host. Each change sees its configuration before it is used.
func (w *world) host(name string, changes ...func(*image.Config)) *host {
	h := &host{Store: imagetest.NewStore(), name: name, dir: w.t.TempDir()}
	w.start(h, changes...)
	return h
}

// start gives a host an agent, which knows what the last one there left.
func (w *world) start(h *host, changes ...func(*image.Config)) {
	cfg := image.Config{
		Engine: h.Store, Backend: h.Store, Remove: h.Remove, Dir: h.dir,
		Self: h.name, Peer: w.net.Peer(h.name), From: imagetest.From,
		Logger: slog.New(slog.DiscardHandler),
	}
	for _, change := range changes {
		change(&cfg)
	}
	h.mover = image.New(cfg)
	w.hosts[h.name] = h
	w.net.Join(h.name, h.mover.Handler())
}

// serve puts a host on the network that answers as h does.
func (w *world) serve(name string, h http.HandlerFunc) { w.net.Join(name, h) }

// want asks for an image from some hosts, and gives it a name.
func (h *host) want(id string, holders ...string) image.Want {
	return image.Want{
		ID: id, Holders: func() []string { return holders },
		Keep: func(context.Context) error { return h.Tag(id, "kept") },
	}
}

// has fails the test unless the host has the image, byte for byte and named.
func (w *world) has(h *host, id string, layers ...[]byte) {
	w.t.Helper()
	im, err := h.Image(context.Background(), id)
	if err != nil {
		w.t.Fatalf("%s: %v", h.name, err)
	}
	for i, l := range im.Layers {
		body, err := h.Open(context.Background(), id, l.Chain, 0)
		if err != nil {
			w.t.Fatalf("%s: %v", h.name, err)
		}
		if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, layers[i]) {
			w.t.Errorf("%s: layer %d is not what it was (%v)", h.name, i, err)
		}
	}
	if tags, _ := h.List(context.Background()); !slices.Contains(tags[id], "kept") {
		w.t.Errorf("%s: the image has the names %q", h.name, tags[id])
	}
	if copies := h.mover.Copies(); !slices.ContainsFunc(copies, func(c image.Copy) bool { return c.ID == id }) {
		w.t.Errorf("%s: the image is not among the copies %v", h.name, copies)
	}
}

// bare fails the test if an engine has anything. The journal may wait for what it may
// still bring.
func (w *world) bare(h *host) {
	w.t.Helper()
	if images, layers := h.Held(); images+layers > 0 {
		w.t.Errorf("%s: %d images and %d layers are left", h.name, images, layers)
	}
}

// empty fails the test if anything is left on a host.
func (w *world) empty(h *host) {
	w.t.Helper()
	w.bare(h)
	if files, err := os.ReadDir(h.dir); err != nil && !errors.Is(err, os.ErrNotExist) || len(files) > 0 {
		w.t.Errorf("%s: the journal has %v (%v)", h.name, files, err)
	}
}

// noise returns n bytes that no other seed makes. No two of its blocks are equal.
func noise(seed byte, n int) []byte {
	const block = 64 << 10
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b[:min(n, block)]) // never fails
	for at := block; at < n; at += block {
		binary.LittleEndian.PutUint32(b[copy(b[at:], b[:block])+at-4:], uint32(at))
	}
	return b
}

// engine is a store whose loads can be changed.
type engine struct {
	*imagetest.Store
	load func(ctx context.Context, archive io.Reader) error
}

func (e engine) Load(ctx context.Context, archive io.Reader) error { return e.load(ctx, archive) }
