package main

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/docker/docker/client"
)

// picture is an image of random bytes, which nobody can compress.
type picture struct {
	name   string
	layers []layer // bottom first
}

// layer is one file of random bytes, the same for the same seed.
type layer struct {
	seed   byte
	size   int64  // of the file, in bytes
	diffID string // "sha256:…"
	moved  int64  // the layer as a tar, in bytes
}

func newLayer(seed byte, size int64) (layer, error) {
	l := layer{seed: seed, size: size}
	sum := sha256.New()
	count := counter{to: sum}
	err := l.write(&count)
	l.diffID, l.moved = fmt.Sprintf("sha256:%x", sum.Sum(nil)), count.n
	return l, err
}

// counter counts what passes.
type counter struct {
	to io.Writer
	n  int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.n += int64(n)
	return n, err
}

// write writes the layer as a tar.
func (l layer) write(to io.Writer) error {
	t := tar.NewWriter(to)
	if err := t.WriteHeader(&tar.Header{Name: fmt.Sprintf("layer-%d", l.seed), Mode: 0o644, Size: l.size}); err != nil {
		return err
	}
	if _, err := io.CopyN(t, rand.NewChaCha8([32]byte{l.seed}), l.size); err != nil {
		return err
	}
	return t.Close()
}

// moved is how large the image's layers are as tars, in bytes.
func (p picture) moved() (n int64) {
	for _, l := range p.layers {
		n += l.moved
	}
	return n
}

// archive writes the image as docker load reads it, without the lowest layers: so
// many of them are held.
func (p picture) archive(to io.Writer, held int) error {
	var files, diffIDs []string
	t := tar.NewWriter(to)
	for i, l := range p.layers {
		files, diffIDs = append(files, l.diffID[len("sha256:"):]+".tar"), append(diffIDs, l.diffID)
		if i < held {
			continue
		}
		if err := t.WriteHeader(&tar.Header{Name: files[i], Mode: 0o644, Size: l.moved}); err != nil {
			return err
		}
		if err := l.write(t); err != nil {
			return err
		}
	}
	return errors.Join(
		document(t, "config.json", map[string]any{
			"architecture": "amd64", "os": "linux", "created": "2020-02-02T02:02:02Z", "config": map[string]any{},
			"rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
		}),
		document(t, "manifest.json", []any{map[string]any{"Config": "config.json", "RepoTags": []string{p.name}, "Layers": files}}),
		t.Close())
}

func document(t *tar.Writer, name string, content any) error {
	text, err := json.Marshal(content)
	if err != nil {
		return err
	}
	if err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
		return err
	}
	_, err = t.Write(text)
	return err
}

// take loads the image, of which the engine holds so many layers already.
func (s *site) take(ctx context.Context, p picture, held int) error {
	r, w := io.Pipe()
	go func() { w.CloseWithError(p.archive(w, held)) }()
	return errors.Join(s.load(ctx, r), r.Close())
}

// load is docker load.
func (s *site) load(ctx context.Context, archive io.Reader) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	resp, err := s.ImageLoad(ctx, archive, client.ImageLoadWithQuiet(true))
	if err != nil {
		return fmt.Errorf("load through %s: %w", s.name, err)
	}
	defer resp.Body.Close()
	if err := outcome(resp.Body); err != nil {
		return fmt.Errorf("load through %s: %w", s.name, err)
	}
	return nil
}

// outcome reads a stream of JSON messages to its end and returns the error that one
// of them tells.
func outcome(r io.Reader) (err error) {
	lines := json.NewDecoder(r)
	for {
		var line struct{ Error string }
		switch fault := lines.Decode(&line); {
		case errors.Is(fault, io.EOF):
			return err
		case fault != nil:
			return fault
		case line.Error != "" && err == nil:
			err = errors.New(line.Error)
		}
	}
}

// saveLoad is docker save | docker load.
func saveLoad(ctx context.Context, from, to *site, name string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	saved, err := from.ImageSave(ctx, []string{name})
	if err != nil {
		return fmt.Errorf("save %s: %w", name, err)
	}
	return errors.Join(to.load(ctx, saved), saved.Close())
}
