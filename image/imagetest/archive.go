package imagetest

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"ddocker/image"
)

// contents is the manifest.json of a docker-archive with one image.
type contents []struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// Pack implements image.Backend: a docker-archive whose contents come last.
func (s *Store) Pack(_ context.Context, w io.Writer, im *image.Image, missing []image.Layer, body func(image.Layer, io.Writer) error) error {
	out := tar.NewWriter(w)
	packed := map[string]bool{}
	for _, l := range missing {
		if packed[l.DiffID] {
			continue
		}
		packed[l.DiffID] = true
		if err := out.WriteHeader(&tar.Header{Name: file(l), Mode: 0o444, Size: l.Size}); err != nil {
			return err
		}
		if err := body(l, out); err != nil {
			return fmt.Errorf("pack layer %s: %w", l.DiffID, err)
		}
	}
	list := make(contents, 1)
	list[0].Config = "config.json"
	for _, l := range im.Layers {
		list[0].Layers = append(list[0].Layers, file(l))
	}
	text, err := json.Marshal(list)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		text []byte
	}{{"config.json", im.Config}, {"manifest.json", text}} {
		if err := out.WriteHeader(&tar.Header{Name: f.name, Mode: 0o444, Size: int64(len(f.text))}); err != nil {
			return err
		}
		if _, err := out.Write(f.text); err != nil {
			return err
		}
	}
	return out.Close()
}

// file names a layer in an archive.
func file(l image.Layer) string { return strings.TrimPrefix(l.DiffID, "sha256:") + ".tar" }

// Save implements image.Engine.
func (s *Store) Save(ctx context.Context, ref string) (io.ReadCloser, error) {
	id, _, _, err := s.Layers(ctx, ref)
	if err != nil {
		return nil, err
	}
	im, err := s.Image(ctx, id)
	if err != nil {
		return nil, err
	}
	r, w := io.Pipe()
	go func() {
		w.CloseWithError(s.Pack(ctx, w, im, im.Layers, func(l image.Layer, w io.Writer) error {
			content, err := s.content(id, l.Chain)
			if err == nil {
				_, err = w.Write(content)
			}
			return err
		}))
	}()
	return r, nil
}

// Load implements image.Engine, for docker-archives of one image.
func (s *Store) Load(_ context.Context, archive io.Reader) error {
	files := map[string][]byte{}
	for in := tar.NewReader(archive); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read the archive: %w", err)
		}
		content := bytes.NewBuffer(make([]byte, 0, min(h.Size, 1<<30)+bytes.MinRead))
		if _, err := content.ReadFrom(in); err != nil {
			return fmt.Errorf("read %s: %w", h.Name, err)
		}
		files[h.Name] = content.Bytes()
	}
	var list contents
	if err := json.Unmarshal(files["manifest.json"], &list); err != nil || len(list) != 1 {
		return fmt.Errorf("an archive without a manifest.json of one image: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	var config struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(files[list[0].Config], &config); err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	im := compose(files[list[0].Config], config.RootFS.DiffIDs)
	return s.register(&held{Image: im, tags: list[0].RepoTags}, list[0].Layers, files)
}

// register takes an image wholly or not at all.
func (s *Store) register(h *held, names []string, files map[string][]byte) error {
	if len(names) != len(h.Image.Layers) {
		return fmt.Errorf("the archive lists %d layers, the configuration %d", len(names), len(h.Image.Layers))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := map[string][]byte{}
	for i := range h.Image.Layers {
		l := &h.Image.Layers[i]
		content, there := s.layers[l.Chain]
		if !there {
			if content, there = files[names[i]]; !there {
				return fmt.Errorf("layer %s is neither held nor in the archive", l.DiffID)
			}
			if Digest(content) != l.DiffID {
				return fmt.Errorf("layer %s: wrong digest %s", l.DiffID, Digest(content))
			}
		}
		fresh[l.Chain] = content
		l.Size = int64(len(content))
	}
	for chain, content := range fresh {
		s.layers[chain] = content
	}
	if s.images[h.ID] == nil {
		s.images[h.ID] = h
	}
	return nil
}
