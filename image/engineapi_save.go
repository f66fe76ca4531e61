package image

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"time"

	"github.com/moby/go-archive/compression"
	"github.com/opencontainers/go-digest"
)

// saving is a docker save that is being read.
type saving struct {
	engineID string
	tar      *tar.Reader
	passed   map[string]bool // files that do not come again
	stall    *time.Timer     // ends the save when nothing comes for long
	cancel   context.CancelFunc
}

func newSaving(engineID string, body io.Reader, cancel context.CancelFunc, stall *time.Timer) *saving {
	watched := readerFunc(func(p []byte) (int, error) {
		n, err := body.Read(p)
		if n > 0 && stall.Stop() {
			stall.Reset(saveStall)
		}
		return n, err
	})
	return &saving{engineID: engineID, tar: tar.NewReader(watched), passed: map[string]bool{}, stall: stall, cancel: cancel}
}

// close ends the save. It may be called more than once, by anybody.
func (s *saving) close() {
	s.stall.Stop()
	s.cancel()
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// layerOfSave is one layer in a save, as a plain tar.
type layerOfSave struct {
	io.Reader
	save  *saving
	park  func(*saving)
	stop  func() bool // lets the save outlive the context that it was opened in
	plain io.Closer
	ended bool
}

// open passes over the save until the file, and over the layer's first bytes.
func (s *saving) open(ctx context.Context, file string, offset int64) (*layerOfSave, error) {
	if offset < 0 {
		return nil, errors.New("the offset is negative")
	}
	l := &layerOfSave{save: s, stop: context.AfterFunc(ctx, s.close)}
	err := s.seek(file)
	if err == nil {
		var plain io.ReadCloser
		if plain, err = compression.DecompressStream(s.tar); err == nil {
			l.Reader, l.plain = plain, plain
			_, err = io.CopyN(io.Discard, plain, offset)
		}
	}
	if err != nil {
		l.Close()
		return nil, errors.Join(err, context.Cause(ctx))
	}
	return l, nil
}

func (s *saving) seek(file string) error {
	for {
		h, err := s.tar.Next()
		if err == io.EOF {
			return fmt.Errorf("docker save came without %s: %w", file, io.ErrUnexpectedEOF)
		} else if err != nil {
			return err
		}
		s.passed[path.Clean(h.Name)] = true
		if path.Clean(h.Name) == file {
			return nil
		}
	}
}

func (l *layerOfSave) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	l.ended = l.ended || err == io.EOF
	return n, err
}

// Close keeps the save for another layer when this one was read to its end.
func (l *layerOfSave) Close() error {
	keep := l.stop() && l.ended && l.park != nil
	if !keep {
		l.save.close()
	}
	if l.plain != nil {
		l.plain.Close()
	}
	if keep {
		l.park(l.save)
	}
	return nil
}

// survey is what one pass over a docker save tells of an image.
type survey struct {
	engineID string
	image    *Image
	files    map[string]string // of the layers, by DiffID
}

// look reads a save to its end. The image is the one whose configuration has the
// engine's ID, or else the engine's layers.
func look(in *tar.Reader, engineID string, diffIDs []string) (*survey, error) {
	s := &survey{engineID: engineID, files: map[string]string{}}
	sizes := map[string]int64{}
	for {
		h, err := in.Next()
		if err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		content := bufio.NewReader(in)
		if first, _ := content.Peek(1); h.Size <= maxConfig && string(first) == "{" {
			err = s.document(content, diffIDs)
		} else {
			err = s.layer(path.Clean(h.Name), content, sizes)
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", h.Name, err)
		}
	}
	if s.image == nil {
		return nil, errors.New("its configuration is not there")
	}
	for i, l := range s.image.Layers {
		if s.files[l.DiffID] == "" {
			return nil, fmt.Errorf("layer %s is not there", l.DiffID)
		}
		s.image.Layers[i].Size = sizes[l.DiffID]
	}
	return s, nil
}

// document takes the image's configuration when it comes.
func (s *survey) document(content io.Reader, diffIDs []string) error {
	text, err := io.ReadAll(content)
	if err != nil {
		return err
	}
	im, err := read(text)
	if err != nil || !hasLayers(im, diffIDs) {
		return nil // another document
	}
	if s.image == nil || im.ID == s.engineID {
		s.image = im
	}
	return nil
}

// layer hashes what may be a layer, without its compression.
func (s *survey) layer(file string, content io.Reader, sizes map[string]int64) error {
	plain, err := compression.DecompressStream(content)
	if err != nil {
		return err
	}
	defer plain.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, plain)
	if err != nil {
		return err
	}
	id := digest.NewDigest(digest.SHA256, sum).String()
	s.files[id], sizes[id] = file, n
	return nil
}
