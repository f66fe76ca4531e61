package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// shop is a library over an engine in memory whose files may be true or not.
type shop struct {
	*Library
	*shelf
	root Root
	err  error
}

func newShop(t testing.TB, root Root) *shop {
	s := &shop{shelf: &shelf{}, root: root}
	s.Library = NewLibrary(LibraryConfig{Engine: s.shelf, Root: func(context.Context) (Root, error) { return s.root, s.err }})
	return s
}

// stock has the engine hold an image, in its files and to be saved.
func (s *shop) stock(t testing.TB, m *made) {
	t.Helper()
	s.put(m.ID, m, saveDocker(t, m))
	intoOverlay2(t, s.root.Dir, m)
}

func big(t testing.TB, name string) []byte { return tarOf(t, file(name, strings.Repeat(name, 20<<10))) }

func TestLibraryReadsTheEnginesFiles(t *testing.T) {
	s := newShop(t, Root{Dir: t.TempDir(), Driver: "overlay2"})
	m := newMade(t, "", big(t, "a"), tarOf(t), big(t, "b"))
	s.stock(t, m)
	if name := s.Name(); name != "overlay2" {
		t.Errorf("images are read by %q", name)
	}
	holdsImage(t, s.Library, m)
	layers, err := s.Outline(t.Context(), m.ID)
	must(t, err)
	if fmt.Sprint(layers) != fmt.Sprint(m.Layers) {
		t.Errorf("the outline is %v", layers)
	}
	if s.saved() > 0 {
		t.Error("the engine had to save an image")
	}
}

func TestLibraryReadsContainerdsFiles(t *testing.T) {
	root := t.TempDir()
	c := newContentStore(t)
	c.dir = filepath.Join(root, "containerd/daemon/io.containerd.content.v1.content")
	m := newMade(t, "", big(t, "a"))
	engineID := c.add(t, m, gzipped)
	l := NewLibrary(LibraryConfig{Engine: c, Root: func(context.Context) (Root, error) {
		return Root{Dir: root, Driver: "overlayfs", Containerd: true}, nil
	}})
	if name := l.Name(); name != "containerd" {
		t.Errorf("images are read by %q", name)
	}
	holdsImage(t, l, m)
	if id, err := l.EngineID(t.Context(), m.ID); err != nil || id != engineID {
		t.Errorf("the engine calls the image %s (%v)", id, err)
	}
	layers, err := l.Outline(t.Context(), m.ID)
	must(t, err)
	if want := int64(len(gzipped(t, m.tars[m.Layers[0].Chain]))); layers[0].Size != want {
		t.Errorf("the outline has a layer of %d bytes, want the blob's %d", layers[0].Size, want)
	}
}

// Whatever is wrong with the engine's files, its images are read all the same.
func TestLibraryDoesNotBelieveFilesThatLie(t *testing.T) {
	m := newMade(t, "", tarOf(t), big(t, "a"))
	for name, spoil := range map[string]func(t *testing.T, s *shop){
		"not there": func(t *testing.T, s *shop) { s.root.Dir = filepath.Join(s.root.Dir, "elsewhere") },
		"remote":    func(t *testing.T, s *shop) { s.root.Dir = "" },
		"another driver": func(t *testing.T, s *shop) {
			s.root.Driver = "btrfs"
		},
		"containerd's, not read": func(t *testing.T, s *shop) {
			id, archive := save29(t, m)
			s.remove(m.ID)
			s.put(id, m, archive)
			s.root.Containerd = true
		},
		"another content": func(t *testing.T, s *shop) {
			write(t, filepath.Join(diffDir(s.root.Dir, m.Layers[1]), "a"), []byte(strings.Repeat("b", 20<<10)))
		},
		"a file is gone": func(t *testing.T, s *shop) {
			must(t, os.Remove(filepath.Join(diffDir(s.root.Dir, m.Layers[1]), "a")))
		},
		"another image": func(t *testing.T, s *shop) {
			write(t, filepath.Join(s.root.Dir, "image/overlay2/imagedb/content/sha256", m.ID[7:]), []byte("{}"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShop(t, Root{Dir: t.TempDir(), Driver: "overlay2"})
			s.stock(t, m)
			spoil(t, s)
			if name := s.Name(); !strings.HasPrefix(name, "engine API: ") || len(name) < 20 {
				t.Errorf("images are read by %q", name)
			}
			holdsImage(t, s.Library, m)
			layers, err := s.Outline(t.Context(), m.ID)
			must(t, err)
			if layers[0].Size != 0 || layers[1].Size != m.Layers[0].Size+m.Layers[1].Size {
				t.Errorf("the outline is %v, want all on the top layer", layers)
			}
		})
	}
}

// Files of another engine that holds the same images would say that layers are held
// which this engine lacks: without an image to try them with they are not believed.
func TestLibraryWithoutAnImageHoldsNoLayer(t *testing.T) {
	s := newShop(t, Root{Dir: t.TempDir(), Driver: "overlay2"})
	m := newMade(t, "", big(t, "a"))
	intoOverlay2(t, s.root.Dir, m)
	missing, err := s.Missing(t.Context(), m.Image)
	must(t, err)
	if len(missing) != 1 {
		t.Errorf("missing are %v", missing)
	}
	if name := s.Name(); !strings.Contains(name, "no image to try") {
		t.Errorf("images are read by %q", name)
	}
}

func TestLibraryIsNotConvincedByImagesWithoutFiles(t *testing.T) {
	s := newShop(t, Root{Dir: t.TempDir(), Driver: "overlay2"})
	s.stock(t, newMade(t, "without layers"))
	s.stock(t, newMade(t, "without files", tarOf(t)))
	if name := s.Name(); name != "overlay2" {
		t.Errorf("images without files are read by %q", name)
	}
	s = newShop(t, s.root)
	large := newMade(t, "large", big(t, "l"))
	s.stock(t, newMade(t, "without files", tarOf(t)))
	s.stock(t, large)
	must(t, os.RemoveAll(diffDir(s.root.Dir, large.Layers[0])))
	if name := s.Name(); !strings.HasPrefix(name, apiName) {
		t.Errorf("images are read by %q", name)
	}
}

func TestLibraryIsNotPutOffByOneDamagedImage(t *testing.T) {
	s := newShop(t, Root{Dir: t.TempDir(), Driver: "overlay2"})
	small, large := newMade(t, "small", tarOf(t, file("s", "s"))), newMade(t, "large", big(t, "l"))
	s.stock(t, small)
	s.stock(t, large)
	path := filepath.Join(diffDir(s.root.Dir, small.Layers[0]), "s")
	must(t, os.Remove(path))
	if name := s.Name(); name != "overlay2" {
		t.Errorf("images are read by %q", name)
	}
	holdsImage(t, s.Library, large)
	if s.saved() > 0 {
		t.Error("the engine had to save the image that is whole")
	}
}

func TestLibraryAsksTheEngineForALayerThatCameOutWrong(t *testing.T) {
	s := newShop(t, Root{Dir: t.TempDir(), Driver: "overlay2"})
	small, large := newMade(t, "small", big(t, "s")), newMade(t, "large", big(t, "l"), big(t, "ll"))
	s.stock(t, small)
	s.stock(t, large)
	bad, good := large.Layers[0], large.Layers[1]
	write(t, filepath.Join(diffDir(s.root.Dir, bad), "l"), []byte(strings.Repeat("x", 20<<10)))
	if got := readLayer(t, s.Library, large, bad, 0); string(got) == string(large.tars[bad.Chain]) {
		t.Fatal("the damaged layer is read as if it was whole")
	}
	if got := readLayer(t, s.Library, large, bad, 0); string(got) != string(large.tars[bad.Chain]) {
		t.Error("the damaged layer is not had from the engine")
	}
	before := s.saved()
	if got := readLayer(t, s.Library, large, good, 0); string(got) != string(large.tars[good.Chain]) || s.saved() > before {
		t.Error("another layer is not read from the engine's files any more")
	}
	if name := s.Name(); name != "overlay2" {
		t.Errorf("images are read by %q", name)
	}
}

// An image may be removed at any time: that says nothing against the store.
func TestLibraryTakesARemovedImageForNoDamage(t *testing.T) {
	var log bytes.Buffer
	s := newShop(t, Root{Dir: t.TempDir(), Driver: "overlay2"})
	s.Library.cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	small, large := newMade(t, "small", big(t, "s")), newMade(t, "large", tarOf(t, file("a", strings.Repeat("a", 20<<10)), file("b", "b")))
	s.stock(t, small)
	s.stock(t, large)
	layer := large.Layers[0]
	r, err := s.Open(t.Context(), large.ID, layer.Chain, 0)
	must(t, err)
	_, err = io.ReadFull(r, make([]byte, 4096))
	must(t, err)
	s.remove(large.ID)
	must(t, os.RemoveAll(diffDir(s.root.Dir, layer)))
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the layer ends with %v", err)
	}
	must(t, r.Close())
	if _, read := s.cameOut(layer.Chain); read || s.Library.store.direct == nil {
		t.Error("the store is condemned")
	}
	if _, err := s.Open(t.Context(), large.ID, layer.Chain, 0); !errors.Is(err, ErrUnknown) {
		t.Errorf("Open: %v", err)
	}
	if log.Len() > 0 {
		t.Errorf("the log has %s", &log)
	}
}

// vanishing is an engine whose first image goes when its layers were told once.
type vanishing struct {
	*shelf
	id   string
	told bool
}

func (v *vanishing) Layers(ctx context.Context, ref string) (string, []string, int64, error) {
	if ref == v.id && v.told {
		v.remove(v.id)
	}
	v.told = v.told || ref == v.id
	return v.shelf.Layers(ctx, ref)
}

func TestTrialPassesOverAnImageThatIsRemovedMeanwhile(t *testing.T) {
	s := newShop(t, Root{Dir: t.TempDir(), Driver: "overlay2"})
	small, large := newMade(t, "small", tarOf(t, file("s", "s"))), newMade(t, "large", tarOf(t))
	s.stock(t, small)
	s.stock(t, large)
	must(t, os.RemoveAll(diffDir(s.root.Dir, small.Layers[0])))
	store := NewOverlay2(s.root.Dir)
	same := func(_ context.Context, id string) (string, error) { return id, nil }
	if err := trial(t.Context(), store, same, &vanishing{shelf: s.shelf, id: small.ID}); err != nil {
		t.Errorf("the trial fails: %v", err)
	}
	s.remove(large.ID)
	s.put(small.ID, small, nil)
	if err := trial(t.Context(), store, same, &vanishing{shelf: s.shelf, id: small.ID}); !errors.Is(err, errNothingTried) {
		t.Errorf("the trial without an image left: %v", err)
	}
}

func TestLibraryTriesAStoreThatFailsEverMoreRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, Root{Dir: t.TempDir(), Driver: "overlay2"})
		m := newMade(t, "", big(t, "a"))
		if name := s.Name(); !strings.Contains(name, "no image to try") {
			t.Errorf("images are read by %q", name)
		}
		time.Sleep(trust)
		s.stock(t, m)
		path := filepath.Join(diffDir(s.root.Dir, m.Layers[0]), "a")
		content, err := os.ReadFile(path)
		must(t, err)
		for _, pause := range []time.Duration{time.Minute, 5 * time.Minute, 30 * time.Minute, 30 * time.Minute} {
			write(t, path, []byte("damaged"))
			if name := s.Name(); !strings.HasPrefix(name, apiName) {
				t.Fatalf("images are read by %q", name)
			}
			write(t, path, content)
			time.Sleep(pause - time.Second)
			if name := s.Name(); !strings.HasPrefix(name, apiName) {
				t.Errorf("%s before the pause of %s is over, images are read by %q", time.Second, pause, name)
			}
			time.Sleep(trust)
		}
		if name := s.Name(); name != "overlay2" {
			t.Errorf("images are read by %q", name)
		}
	})
}

func TestLibraryHearsThatTheEngineKeepsItsImagesElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, Root{Dir: t.TempDir(), Driver: "overlay2"})
		m := newMade(t, "", big(t, "a"))
		s.stock(t, m)
		for _, step := range []struct {
			driver, want string
		}{{"overlay2", "overlay2"}, {"vfs", "engine API: "}, {"overlay2", "overlay2"}} {
			s.root.Driver = step.driver
			time.Sleep(2 * trust)
			if name := s.Name(); !strings.HasPrefix(name, step.want) {
				t.Errorf("with driver %s images are read by %q", step.driver, name)
			}
		}
		s.err = errors.New("the engine does not answer")
		time.Sleep(2 * trust)
		if name := s.Name(); !strings.Contains(name, s.err.Error()) {
			t.Errorf("without an engine images are read by %q", name)
		}
		if _, err := s.Image(t.Context(), m.ID); !errors.Is(err, s.err) {
			t.Errorf("Image: %v", err)
		}
	})
}

func TestLibraryKnowsWhatTheEngineDoesNotHave(t *testing.T) {
	s := newShop(t, Root{Dir: t.TempDir(), Driver: "overlay2"})
	s.stock(t, newMade(t, "", big(t, "a")))
	other := newMade(t, "other", big(t, "b"))
	_, imageErr := s.Image(t.Context(), other.ID)
	_, openErr := s.Open(t.Context(), other.ID, other.Layers[0].Chain, 0)
	_, outlineErr := s.Outline(t.Context(), other.ID)
	_, engineErr := s.EngineID(t.Context(), other.ID)
	for i, err := range []error{imageErr, openErr, outlineErr, engineErr} {
		if !errors.Is(err, ErrUnknown) {
			t.Errorf("question %d: %v", i, err)
		}
	}
}
