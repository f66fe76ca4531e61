package imagetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"ddocker/image"
)

var (
	_ image.Engine  = (*Store)(nil)
	_ image.Backend = (*Store)(nil)
)

// write returns how a layer is written into an archive.
func write(content []byte) func(image.Layer, io.Writer) error {
	return func(_ image.Layer, w io.Writer) error {
		_, err := w.Write(content)
		return err
	}
}

func TestAStoreLoadsWhatAnotherSaves(t *testing.T) {
	ctx := context.Background()
	a, b := NewStore(), NewStore()
	id := a.Add([]byte("base"), nil, []byte("top"))
	archive, err := a.Save(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Load(ctx, archive); err != nil {
		t.Fatal(err)
	}
	body, err := b.Open(ctx, id, mustImage(t, b, id).Layers[2].Chain, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(body); err != nil || string(got) != "op" {
		t.Errorf("got %q, %v", got, err)
	}
	if again := b.Add([]byte("base"), nil, []byte("top")); again != id {
		t.Errorf("the same layers are image %s and %s", id, again)
	}
}

func mustImage(t *testing.T, s *Store, id string) *image.Image {
	im, err := s.Image(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	return im
}

func TestAStoreTakesAnArchiveWhollyOrNotAtAll(t *testing.T) {
	ctx := context.Background()
	from := NewStore()
	im := mustImage(t, from, from.Add([]byte("base"), []byte("top")))
	top := im.Layers[1:]
	pack := func(missing []image.Layer, content string) *bytes.Buffer {
		var archive bytes.Buffer
		if err := from.Pack(ctx, &archive, im, missing, write([]byte(content))); err != nil {
			t.Fatal(err)
		}
		return &archive
	}
	s := NewStore()
	if err := s.Load(ctx, pack(top, "top")); err == nil {
		t.Error("it lacks the base, and took the top alone")
	}
	s.Add([]byte("base"))
	if err := s.Load(ctx, pack(top, "pot")); err == nil {
		t.Error("it took wrong bytes")
	}
	whole := pack(top, "top")
	if err := s.Load(ctx, bytes.NewReader(whole.Bytes()[:1024])); err == nil {
		t.Error("it took a part of an archive")
	}
	if images, layers := s.Held(); images != 1 || layers != 1 {
		t.Errorf("it has %d images and %d layers", images, layers)
	}
	if err := s.Load(ctx, whole); err != nil {
		t.Error(err)
	}
}

func TestAStoreRemovesOnlyWhatHasNoName(t *testing.T) {
	ctx := context.Background()
	s := NewStore()
	id, other := s.Add([]byte("base"), []byte("top")), s.Add([]byte("base"))
	if err := s.Tag(id, "a"); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(ctx, id); err == nil {
		t.Error("it removed an image with a name")
	}
	if err := s.Tag(other, "a"); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(ctx, id); err != nil {
		t.Error(err)
	}
	if images, layers := s.Held(); images != 1 || layers != 1 {
		t.Errorf("%d images and %d layers are left", images, layers)
	}
	if err := s.Remove(ctx, id); !errors.Is(err, image.ErrUnknown) {
		t.Errorf("again: %v", err)
	}
}
