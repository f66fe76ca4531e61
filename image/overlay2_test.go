package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// Whatever tar a layer came as, Overlay2 gives it again, from any byte on.
func TestOverlay2GivesEveryByteOfATarAgain(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		root := filepath.Join(dir, fmt.Sprint(n))
		m := newMade(t, "random", drawTar(t, rt), drawTar(t, rt))
		intoOverlay2(t, root, m)
		b := NewOverlay2(root)
		holdsImage(t, b, m)
		for _, l := range m.Layers {
			whole := m.tars[l.Chain]
			offset := rapid.IntRange(0, len(whole)).Draw(rt, "offset")
			if got := readLayer(t, b, m, l, int64(offset)); !bytes.Equal(got, whole[offset:]) {
				rt.Fatalf("from byte %d on the layer is another", offset)
			}
		}
	})
}

// drawTar makes a tar of all sorts of entries, in several formats.
func drawTar(t testing.TB, rt *rapid.T) []byte {
	var entries []entry
	for i := range rapid.IntRange(0, 8).Draw(rt, "entries") {
		dirs := strings.Repeat("dir with a name of some length/", rapid.SampledFrom([]int{0, 1, 4, 12}).Draw(rt, "depth"))
		name := rapid.SampledFrom([]string{"", "./", "/"}).Draw(rt, "prefix") + dirs + fmt.Sprint(i) +
			rapid.SampledFrom([]string{"", "ü日本", " b", "\xff\xfe", strings.Repeat("x", 120)}).Draw(rt, "name")
		e := file(name, strings.Repeat(rapid.String().Draw(rt, "content"), rapid.IntRange(0, 200).Draw(rt, "times")))
		e.Format = tar.FormatPAX
		if strings.Contains(name, "\xff") || rapid.Bool().Draw(rt, "gnu") {
			e.Format = tar.FormatGNU
		} else if rapid.Bool().Draw(rt, "xattr") {
			e.PAXRecords = map[string]string{"SCHILY.xattr.user.a": strings.Repeat("v", 700)}
		}
		switch kind := rapid.SampledFrom([]byte{tar.TypeReg, tar.TypeReg, tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeLink, tar.TypeFifo, tar.TypeChar}).Draw(rt, "kind"); kind {
		case tar.TypeReg:
		case tar.TypeDir:
			e.Typeflag, e.Name, e.content = kind, e.Name+"/", ""
		default:
			e.Typeflag, e.Linkname, e.content = kind, "/elsewhere", ""
		}
		entries = append(entries, e)
	}
	made := tarOf(t, entries...)
	switch rapid.IntRange(0, 3).Draw(rt, "end") {
	case 0:
		return append(made, make([]byte, 10240)...) // as GNU tar pads
	case 1:
		return append(made, "what nobody asked for"...)
	case 2:
		return made[:len(made)-1024] // without an end
	}
	return made
}

func TestOverlay2ReadsInPiecesOfAnySize(t *testing.T) {
	root := t.TempDir()
	m := newMade(t, "", tarOf(t, file("a", strings.Repeat("a", 5000)), file("b", ""), file("c", "c")))
	intoOverlay2(t, root, m)
	r, err := NewOverlay2(root).Open(t.Context(), m.ID, m.Layers[0].Chain, 0)
	must(t, err)
	defer r.Close()
	must(t, iotest.TestReader(r, m.tars[m.Layers[0].Chain]))
}

func TestOverlay2KnowsWhatIsNotThere(t *testing.T) {
	root := t.TempDir()
	base, other := tarOf(t, file("base", "1")), tarOf(t, file("other", "2"))
	m := newMade(t, "", base)
	intoOverlay2(t, root, m)
	b := NewOverlay2(root)
	for _, id := range []string{newMade(t, "", other).ID, "", "sha256:../../../../etc/passwd", "busybox"} {
		if _, err := b.Image(t.Context(), id); !errors.Is(err, ErrUnknown) {
			t.Errorf("image %q: %v", id, err)
		}
		if _, err := b.Open(t.Context(), m.ID, id, 0); !errors.Is(err, ErrUnknown) {
			t.Errorf("layer %q: %v", id, err)
		}
	}
	for _, offset := range []int64{-1, int64(len(base)) + 1} {
		if r, err := b.Open(t.Context(), m.ID, m.Layers[0].Chain, offset); err == nil {
			r.Close()
			t.Errorf("the layer begins at byte %d", offset)
		}
	}
	// The same files on others below are another layer.
	wanted := newMade(t, "", base, other, base)
	missing, err := b.Missing(t.Context(), wanted.Image)
	must(t, err)
	if fmt.Sprint(missing) != fmt.Sprint(wanted.Layers[1:]) {
		t.Errorf("missing are %v", missing)
	}
}

func TestOverlay2FailsAtAChangedFile(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	write(t, secret, []byte("12345"))
	outside := filepath.Dir(secret)
	for name, change := range map[string]func(path string) error{
		"gone":        os.Remove,
		"longer":      func(path string) error { return os.WriteFile(path, []byte("123456"), 0) },
		"shorter":     func(path string) error { return os.Truncate(path, 4) },
		"a pipe":      func(path string) error { return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)) },
		"a directory": func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
		"a link out":  func(path string) error { return errors.Join(os.Remove(path), os.Symlink(secret, path)) },
		"in a directory's out": func(path string) error {
			dir := filepath.Dir(path)
			return errors.Join(os.RemoveAll(dir), os.Symlink(outside, dir))
		},
		"in a climbing link": func(path string) error {
			dir := filepath.Dir(path)
			out, err := filepath.Rel(filepath.Dir(dir), outside)
			return errors.Join(err, os.RemoveAll(dir), os.Symlink(out, dir))
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			m := newMade(t, "", tarOf(t, file("dir/secret", "abcde")))
			intoOverlay2(t, root, m)
			l := m.Layers[0]
			must(t, change(filepath.Join(diffDir(root, l), "dir/secret")))
			r, err := NewOverlay2(root).Open(t.Context(), m.ID, l.Chain, 0)
			must(t, err)
			defer r.Close()
			got, err := io.ReadAll(r)
			if err == nil || strings.Contains(string(got), "1234") {
				t.Errorf("the file is read as %q", got)
			}
		})
	}
}

func TestOverlay2NoticesADamagedStore(t *testing.T) {
	m := newMade(t, "", tarOf(t, file("a", "abcde")))
	hex := m.Layers[0].Chain[7:]
	for name, change := range map[string]struct{ path, text string }{
		"another configuration": {"image/overlay2/imagedb/content/sha256/" + m.ID[7:], `{"rootfs":{}}`},
		"no configuration":      {"image/overlay2/imagedb/content/sha256/" + m.ID[7:], ``},
		"a climbing directory":  {"image/overlay2/layerdb/sha256/" + hex + "/cache-id", "../../etc"},
		"no directory":          {"image/overlay2/layerdb/sha256/" + hex + "/cache-id", "elsewhere"},
		"no index":              {"image/overlay2/layerdb/sha256/" + hex + "/tar-split.json.gz", ""},
		"half an index":         {"image/overlay2/layerdb/sha256/" + hex + "/tar-split.json.gz", string(gzipped(t, []byte(`{"type":2,"pay`)))},
		"a strange index":       {"image/overlay2/layerdb/sha256/" + hex + "/tar-split.json.gz", string(gzipped(t, []byte(`{"type":3}`)))},
		"a negative size":       {"image/overlay2/layerdb/sha256/" + hex + "/tar-split.json.gz", string(gzipped(t, []byte(`{"type":1,"name":"a","size":-5}`)))},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			intoOverlay2(t, root, m)
			write(t, filepath.Join(root, change.path), []byte(change.text))
			if _, err := NewOverlay2(root).Image(t.Context(), m.ID); err == nil || errors.Is(err, ErrUnknown) {
				t.Errorf("the image is read: %v", err)
			}
		})
	}
}

func TestOverlay2StopsMeasuringWhenNobodyWaits(t *testing.T) {
	root := t.TempDir()
	m := newMade(t, "", tarOf(t, file("a", "abcde")))
	intoOverlay2(t, root, m)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewOverlay2(root).Image(ctx, m.ID); !errors.Is(err, context.Canceled) {
		t.Errorf("Image: %v", err)
	}
}
