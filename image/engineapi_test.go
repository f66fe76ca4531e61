package image

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// save20 is what docker save writes in 20.10: directories by name, a layer that was
// there before as a link, old configurations beside the layers.
func save20(t testing.TB, m *made) []byte {
	t.Helper()
	var entries []entry
	seen := map[string]string{}
	item := manifestItem{Config: m.ID[7:] + ".json"}
	for i, l := range m.Layers {
		dir := fmt.Sprintf("%x", 15-i)
		entries = append(entries, entry{tar.Header{Typeflag: tar.TypeDir, Name: dir + "/"}, ""}, file(dir+"/VERSION", "1.0"), file(dir+"/json", `{"id":"old"}`))
		if seen[l.DiffID] == "" {
			entries = append(entries, file(dir+"/layer.tar", string(m.tars[l.Chain])))
			seen[l.DiffID] = dir
		} else {
			entries = append(entries, entry{tar.Header{Typeflag: tar.TypeSymlink, Name: dir + "/layer.tar", Linkname: "../" + seen[l.DiffID] + "/layer.tar"}, ""})
		}
		item.Layers = append(item.Layers, dir+"/layer.tar")
	}
	list, err := json.Marshal([]manifestItem{item})
	must(t, err)
	entries = append(entries, file(item.Config, string(m.Config)))
	slices.SortStableFunc(entries, func(a, b entry) int { return strings.Compare(a.Name, b.Name) })
	return tarOf(t, append(entries, file("manifest.json", string(list)), file("repositories", "{}"))...)
}

// save29 is what docker save writes with containerd's store: blobs as they lie
// there, by digest, of which the engine's ID is one.
func save29(t testing.TB, m *made) (engineID string, archive []byte) {
	t.Helper()
	engineID, blobs := blobsOf(t, m, gzipped)
	var entries []entry
	for hex, blob := range blobs {
		entries = append(entries, file("blobs/sha256/"+hex, string(blob)))
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.Name, b.Name) })
	return engineID, tarOf(t, entries...)
}

func TestEngineAPIReadsEverySaveThereIs(t *testing.T) {
	same := tarOf(t, file("same", "same"))
	m := newMade(t, "", tarOf(t, file("a", strings.Repeat("a", 9000))), same, []byte{}, same, tarOf(t, file("z", "z")))
	id29, archive29 := save29(t, m)
	for name, c := range map[string]struct {
		engineID   string
		archive    []byte
		containerd bool
	}{
		"20.10":      {m.ID, save20(t, m), false},
		"25":         {m.ID, saveDocker(t, m), false},
		"containerd": {id29, archive29, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := &shelf{}
			s.put(c.engineID, m, c.archive)
			api := NewEngineAPI(s, c.containerd)
			holdsImage(t, api, m)
			for _, l := range m.Layers {
				if got := readLayer(t, api, m, l, l.Size/3); !bytes.Equal(got, m.tars[l.Chain][l.Size/3:]) {
					t.Errorf("from a third on layer %s is another", l.DiffID)
				}
			}
			if id, err := api.ConfigID(t.Context(), c.engineID); err != nil || id != m.ID {
				t.Errorf("the configuration of %s is %s (%v)", c.engineID, id, err)
			}
			if id, err := api.EngineID(t.Context(), m.ID); err != nil || id != c.engineID {
				t.Errorf("the engine calls %s %s (%v)", m.ID, id, err)
			}
			s.remove(c.engineID)
			if _, err := api.Image(t.Context(), m.ID); !errors.Is(err, ErrUnknown) {
				t.Errorf("an image that is gone: %v", err)
			}
		})
	}
}

// The layers of an engine that saves them by their digest come out of one save, in
// the order in which an archive for load is packed.
func TestEngineAPISavesOnceForAllLayers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var layers [][]byte
		for i := range 12 {
			layers = append(layers, tarOf(t, file(fmt.Sprint(i), "x")))
		}
		m := newMade(t, "", layers...)
		s := &shelf{}
		s.put(m.ID, m, saveDocker(t, m))
		api := NewEngineAPI(s, false)
		_, err := api.Image(t.Context(), m.ID)
		must(t, err)
		before := s.saved()
		send := func(l Layer, w io.Writer) error {
			_, err := w.Write(readLayer(t, api, m, l, 0))
			return err
		}
		must(t, api.Pack(t.Context(), io.Discard, m.Image, m.Layers, send))
		if n := s.saved() - before; n != 1 {
			t.Errorf("%d layers took %d saves", len(layers), n)
		}
		time.Sleep(2 * saveIdle)
		must(t, api.Pack(t.Context(), io.Discard, m.Image, m.Layers[:1], send))
		if n := s.saved() - before; n != 2 {
			t.Errorf("after a pause it was %d saves", n)
		}
		time.Sleep(2 * saveIdle) // the bubble ends with nothing left in it
	})
}

func TestEngineAPIDropsASaveThatNobodyReadsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMade(t, "", tarOf(t, file("a", strings.Repeat("a", 100<<10))))
		s := &shelf{}
		s.put(m.ID, m, saveDocker(t, m))
		api := NewEngineAPI(s, false)
		ctx, cancel := context.WithCancel(t.Context())
		r, err := api.Open(ctx, m.ID, m.Layers[0].Chain, 0)
		must(t, err)
		cancel()
		synctest.Wait()
		if _, err := io.ReadAll(r); err == nil {
			t.Error("the layer is read on when its reader has left")
		}
		must(t, r.Close())
		r, err = api.Open(t.Context(), m.ID, m.Layers[0].Chain, 0)
		must(t, err)
		must(t, r.Close()) // half-way
		before := s.saved()
		readLayer(t, api, m, m.Layers[0], 0)
		if s.saved() == before {
			t.Error("a save that was left half-way is read on")
		}
		time.Sleep(2 * saveIdle)
	})
}

func TestEngineAPIRefusesASaveThatIsNotTheImage(t *testing.T) {
	m, other := newMade(t, "", tarOf(t, file("a", "a"))), newMade(t, "other", tarOf(t, file("b", "b")))
	whole := saveDocker(t, m)
	for name, archive := range map[string][]byte{
		"another image":      saveDocker(t, other),
		"half of it":         whole[:len(whole)/2],
		"nothing":            {},
		"no layer":           tarOf(t, file("config", string(m.Config))),
		"a broken gzip file": tarOf(t, file("config", string(m.Config)), file("layer", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x00\x00")),
	} {
		t.Run(name, func(t *testing.T) {
			s := &shelf{}
			s.put(m.ID, m, archive)
			if _, err := NewEngineAPI(s, false).Image(t.Context(), m.ID); err == nil || errors.Is(err, ErrUnknown) {
				t.Errorf("the image is read: %v", err)
			}
		})
	}
}

func TestEngineAPIHoldsTheLayersOfTheEnginesImages(t *testing.T) {
	base, top := tarOf(t, file("base", "1")), tarOf(t, file("top", "2"))
	held, wanted := newMade(t, "held", base, top), newMade(t, "wanted", base, base, top)
	s := &shelf{}
	s.put(held.ID, held, nil)
	missing, err := NewEngineAPI(s, false).Missing(t.Context(), wanted.Image)
	must(t, err)
	if fmt.Sprint(missing) != fmt.Sprint(wanted.Layers[1:]) {
		t.Errorf("missing are %v, want all but the base", missing)
	}
	all := NewEngineAPI(s, true)
	missing, err = all.Missing(t.Context(), wanted.Image)
	must(t, err)
	if fmt.Sprint(missing) != fmt.Sprint(wanted.Layers) {
		t.Errorf("missing on containerd's store are %v, want all", missing)
	}
	if err := all.Pack(t.Context(), io.Discard, wanted.Image, missing[1:], wanted.body); err == nil {
		t.Error("an archive without a layer is made for containerd's store")
	}
}

func TestAnArchiveThatIsNotFullIsNoArchive(t *testing.T) {
	m := newMade(t, "", tarOf(t, file("a", "a")))
	for name, b := range map[string]Backend{"docker": NewOverlay2(t.TempDir()), "OCI": NewContainerd(t.TempDir(), &shelf{})} {
		lost := errors.New("the holder is lost")
		for what, body := range map[string]func(Layer, io.Writer) error{
			"broken off": func(_ Layer, w io.Writer) error { w.Write([]byte("some")); return lost },
			"too short":  func(_ Layer, w io.Writer) error { w.Write([]byte("some")); return nil },
			"too long":   func(l Layer, w io.Writer) error { _, err := w.Write(make([]byte, l.Size+1)); return err },
		} {
			var archive bytes.Buffer
			if err := b.Pack(t.Context(), &archive, m.Image, m.Layers, body); err == nil || what == "broken off" && !errors.Is(err, lost) {
				t.Errorf("%s: a layer that is %s: %v", name, what, err)
			}
			if s := archive.String(); strings.Contains(s, "manifest.json") || strings.Contains(s, "index.json") {
				t.Errorf("%s: the archive with a layer that is %s lists its contents", name, what)
			}
		}
	}
}
