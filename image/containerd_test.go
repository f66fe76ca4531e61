package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
)

// blobsOf returns an image's blobs by their 64 digits, as containerd's store has
// them, and the digest of its manifest. press makes the blob of a layer.
func blobsOf(t testing.TB, m *made, press func(testing.TB, []byte) []byte) (string, map[string][]byte) {
	t.Helper()
	blobs := map[string][]byte{}
	add := func(blob []byte) descriptor {
		id := digest.FromBytes(blob)
		blobs[id.Encoded()] = blob
		return descriptor{MediaType: "told by nobody", Digest: id.String(), Size: int64(len(blob))}
	}
	config := add(m.Config)
	list := manifest{SchemaVersion: 2, MediaType: typeManifest, Config: &config}
	for _, l := range m.Layers {
		list.Layers = append(list.Layers, add(press(t, m.tars[l.Chain])))
	}
	text, err := json.Marshal(list)
	must(t, err)
	return add(text).Digest, blobs
}

func plain(_ testing.TB, tar []byte) []byte { return tar }

func zstded(t testing.TB, tar []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	must(t, err)
	defer w.Close()
	return w.EncodeAll(tar, nil)
}

// store is a containerd's content directory with its engine.
type contentStore struct {
	*shelf
	dir string
}

func newContentStore(t testing.TB) *contentStore {
	return &contentStore{&shelf{}, filepath.Join(t.TempDir(), "io.containerd.content.v1.content")}
}

func (s *contentStore) blob(hex string) string { return filepath.Join(s.dir, "blobs/sha256", hex) }

// add puts an image in and returns the engine's ID.
func (s *contentStore) add(t testing.TB, m *made, press func(testing.TB, []byte) []byte, tags ...string) string {
	t.Helper()
	id, blobs := blobsOf(t, m, press)
	for hex, blob := range blobs {
		write(t, s.blob(hex), blob)
	}
	s.put(id, m, nil, tags...)
	return id
}

// addIndex puts an index of manifests in, which the engine takes for one image.
func (s *contentStore) addIndex(t testing.TB, m *made, manifests ...string) string {
	t.Helper()
	list := index{SchemaVersion: 2, MediaType: typeIndex}
	for _, id := range manifests {
		list.Manifests = append(list.Manifests, descriptor{MediaType: typeManifest, Digest: id})
	}
	text, err := json.Marshal(list)
	must(t, err)
	id := digest.FromBytes(text)
	write(t, s.blob(id.Encoded()), text)
	s.put(id.String(), m, nil)
	return id.String()
}

func TestContainerdGivesLayersPlainHoweverTheyLie(t *testing.T) {
	for name, press := range map[string]func(testing.TB, []byte) []byte{"plain": plain, "gzip": gzipped, "zstd": zstded} {
		t.Run(name, func(t *testing.T) {
			s := newContentStore(t)
			m := newMade(t, "", tarOf(t, file("a", strings.Repeat("a", 9000))), tarOf(t), tarOf(t, file("z", "z")))
			engineID := s.add(t, m, press)
			b := NewContainerd(s.dir, s)
			holdsImage(t, b, m)
			for _, l := range m.Layers {
				for _, offset := range []int64{1, l.Size / 2, l.Size} {
					if got := readLayer(t, b, m, l, offset); !bytes.Equal(got, m.tars[l.Chain][offset:]) {
						t.Errorf("from byte %d of %d on layer %s is another", offset, l.Size, l.DiffID)
					}
				}
				for _, offset := range []int64{-1, l.Size + 1} {
					if r, err := b.Open(t.Context(), m.ID, l.Chain, offset); err == nil {
						r.Close()
						t.Errorf("a layer of %d bytes is read from byte %d on", l.Size, offset)
					}
				}
			}
			if id, err := b.ConfigID(t.Context(), engineID); err != nil || id != m.ID {
				t.Errorf("the configuration of %s is %s (%v)", engineID, id, err)
			}
		})
	}
}

func TestContainerdFindsTheImageForThisMachineInAnIndex(t *testing.T) {
	s := newContentStore(t)
	here, there := newMade(t, "here", tarOf(t, file("a", "a"))), newMade(t, "there", tarOf(t, file("b", "b")))
	ids := []string{"sha256:" + strings.Repeat("1", 64), s.add(t, there, gzipped), s.add(t, here, gzipped)}
	s.remove(ids[1])
	s.remove(ids[2])
	b := NewContainerd(s.dir, s)
	flat := s.addIndex(t, here, ids...)
	nested := s.addIndex(t, there, s.addIndex(t, there, ids[1], ids[0]))
	for engineID, want := range map[string]*made{flat: here, nested: there} {
		if id, err := b.ConfigID(t.Context(), engineID); err != nil || id != want.ID {
			t.Errorf("index %s stands for %s (%v), want %s", engineID, id, err, want.ID)
		}
	}
	if id, err := b.EngineID(t.Context(), here.ID); err != nil || id != flat {
		t.Errorf("the engine calls the image %s (%v), want %s", id, err, flat)
	}
	holdsImage(t, b, here)
	self := s.addIndex(t, here)
	if _, err := b.ConfigID(t.Context(), self); !errors.Is(err, ErrUnknown) {
		t.Errorf("an index of nothing: %v", err)
	}
}

func TestContainerdPrefersAnImageWithATag(t *testing.T) {
	s := newContentStore(t)
	m := newMade(t, "", tarOf(t, file("a", "a")))
	s.add(t, m, plain)
	s.add(t, m, zstded)
	tagged := s.add(t, m, gzipped, "a:1")
	if id, err := NewContainerd(s.dir, s).EngineID(t.Context(), m.ID); err != nil || id != tagged {
		t.Errorf("the image is called %s (%v), want %s, which has a tag", id, err, tagged)
	}
}

func TestContainerdDoesNotHaveAnImageThatLacksABlob(t *testing.T) {
	m := newMade(t, "", tarOf(t, file("a", "a")), tarOf(t, file("b", "b")))
	engineID, _ := blobsOf(t, m, plain)
	for name, lost := range map[string]string{"manifest": engineID, "configuration": m.ID, "layer": m.Layers[1].DiffID} {
		t.Run(name, func(t *testing.T) {
			s := newContentStore(t)
			s.add(t, m, plain)
			must(t, os.Remove(s.blob(lost[7:])))
			b := NewContainerd(s.dir, s)
			if _, err := b.Image(t.Context(), m.ID); !errors.Is(err, ErrUnknown) {
				t.Errorf("Image: %v", err)
			}
			if _, err := b.Open(t.Context(), m.ID, m.Layers[1].Chain, 0); !errors.Is(err, ErrUnknown) {
				t.Errorf("Open: %v", err)
			}
			missing, err := b.Missing(t.Context(), m.Image)
			must(t, err)
			if len(missing) == 0 {
				t.Error("nothing is missing")
			}
		})
	}
}

// What is left out of an archive for containerd is called as it lies in the store.
func TestContainerdPacksWithTheBlobsThatItHolds(t *testing.T) {
	s := newContentStore(t)
	zipped, bare, fresh := tarOf(t, file("zipped", "1")), tarOf(t, file("bare", "2")), tarOf(t, file("fresh", "3"))
	s.add(t, newMade(t, "", zipped), gzipped)
	s.add(t, newMade(t, "", bare), plain)
	wanted := newMade(t, "wanted", bare, fresh, zipped, fresh)
	b := NewContainerd(s.dir, s)
	missing, err := b.Missing(t.Context(), wanted.Image)
	must(t, err)
	if want := []Layer{wanted.Layers[1], wanted.Layers[3]}; fmt.Sprint(missing) != fmt.Sprint(want) {
		t.Fatalf("missing are %v, want %v", missing, want)
	}
	var archive bytes.Buffer
	must(t, b.Pack(t.Context(), &archive, wanted.Image, missing, wanted.body))

	files, order := unpack(t, archive.Bytes())
	if order[len(order)-1] != "index.json" {
		t.Errorf("the archive ends with %s", order[len(order)-1])
	}
	var list index
	must(t, json.Unmarshal([]byte(files["index.json"]), &list))
	var m manifest
	must(t, json.Unmarshal([]byte(files["blobs/sha256/"+list.Manifests[0].Digest[7:]]), &m))
	gz := gzipped(t, zipped)
	for i, want := range []descriptor{
		{MediaType: typeLayer, Digest: wanted.Layers[0].DiffID, Size: int64(len(bare))},
		{MediaType: typeLayer, Digest: wanted.Layers[1].DiffID, Size: int64(len(fresh))},
		{MediaType: typeLayer + "+gzip", Digest: digest.FromBytes(gz).String(), Size: int64(len(gz))},
		{MediaType: typeLayer, Digest: wanted.Layers[1].DiffID, Size: int64(len(fresh))},
	} {
		if fmt.Sprint(m.Layers[i]) != fmt.Sprint(want) {
			t.Errorf("layer %d is called %v, want %v", i, m.Layers[i], want)
		}
	}
	if files["blobs/sha256/"+wanted.Layers[1].DiffID[7:]] != string(fresh) || files["blobs/sha256/"+wanted.ID[7:]] != string(wanted.Config) || len(files) != 5 {
		t.Errorf("the archive has %q", order)
	}
	s.remove(digest.FromString("").String())
	must(t, os.Remove(s.blob(wanted.Layers[0].DiffID[7:])))
	if err := b.Pack(t.Context(), io.Discard, wanted.Image, missing, wanted.body); err == nil {
		t.Error("a layer that went away is left out")
	}
}

// unpack returns the files of an archive, and their names in its order.
func unpack(t testing.TB, archive []byte) (files map[string]string, order []string) {
	t.Helper()
	files = map[string]string{}
	for in := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := in.Next()
		if err == io.EOF {
			return files, order
		}
		must(t, err)
		text, err := io.ReadAll(in)
		must(t, err)
		files[h.Name] = string(text)
		order = append(order, h.Name)
	}
}
