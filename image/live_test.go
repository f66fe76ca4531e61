package image

import (
	"archive/tar"
	"bytes"
	"context"
	crand "crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// live is the real engine that the environment names.
type live struct {
	http http.Client
	root Root
}

// withEngine runs a test against a real engine, if there is one.
func withEngine(t *testing.T, test func(t *testing.T, e *live)) {
	host := os.Getenv("DDOCKER_TEST_ENGINE")
	if host == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("DDOCKER_TEST_ENGINE is not set: no real engine was tested")
		}
		t.Log("WARNING: DDOCKER_TEST_ENGINE is not set: NO REAL ENGINE WAS TESTED")
		return
	}
	path := strings.TrimPrefix(host, "unix://")
	e := &live{http: http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}}
	t.Cleanup(e.http.CloseIdleConnections)
	var info struct {
		DockerRootDir, Driver string
		DriverStatus          [][2]string
	}
	must(t, e.ask(t.Context(), "GET", "/info", nil, &info))
	e.root = Root{info.DockerRootDir, info.Driver, slices.Contains(info.DriverStatus, [2]string{"driver-type", "io.containerd.snapshotter.v1"})}
	test(t, e)
}

// ask sends a request and decodes the reply into v, if that is not nil.
func (e *live) ask(ctx context.Context, method, path string, body io.Reader, v any) error {
	reply, err := e.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer reply.Close()
	text, err := io.ReadAll(reply)
	if err != nil || v == nil {
		return err
	}
	return json.Unmarshal(text, v)
}

func (e *live) send(ctx context.Context, method, path string, body io.Reader) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://engine"+path, body)
	if err != nil {
		return nil, err
	}
	reply, err := e.http.Do(req)
	if err != nil {
		return nil, err
	}
	if reply.StatusCode < 300 {
		return reply.Body, nil
	}
	defer reply.Body.Close()
	text, _ := io.ReadAll(reply.Body)
	if reply.StatusCode == http.StatusNotFound {
		return nil, fmt.Errorf("%w: %s", ErrUnknown, text)
	}
	return nil, fmt.Errorf("%s %s: %s", method, path, text)
}

func (e *live) Layers(ctx context.Context, ref string) (string, []string, int64, error) {
	var im struct {
		Id     string
		Size   int64
		RootFS struct{ Layers []string }
	}
	err := e.ask(ctx, "GET", "/images/"+ref+"/json", nil, &im)
	return im.Id, im.RootFS.Layers, im.Size, err
}

func (e *live) Load(ctx context.Context, archive io.Reader) error {
	reply, err := e.send(ctx, "POST", "/images/load?quiet=1", archive)
	if err != nil {
		return err
	}
	defer reply.Close()
	text, err := io.ReadAll(reply)
	if err == nil && strings.Contains(string(text), "rror") {
		err = fmt.Errorf("load: %s", text)
	}
	return err
}

func (e *live) Save(ctx context.Context, ref string) (io.ReadCloser, error) {
	return e.send(ctx, "GET", "/images/"+ref+"/get", nil)
}

func (e *live) List(ctx context.Context) (map[string][]string, error) {
	var list []struct {
		Id       string
		RepoTags []string
	}
	err := e.ask(ctx, "GET", "/images/json", nil, &list)
	all := map[string][]string{}
	for _, im := range list {
		all[im.Id] = slices.DeleteFunc(im.RepoTags, func(tag string) bool { return tag == "<none>:<none>" })
	}
	return all, err
}

func (e *live) tag(t testing.TB, ref, name string) {
	t.Helper()
	i := strings.LastIndexByte(name, ':')
	repo, tag := name[:i], name[i+1:]
	must(t, e.ask(t.Context(), "POST", "/images/"+ref+"/tag?"+url.Values{"repo": {repo}, "tag": {tag}}.Encode(), nil, nil))
}

// bring loads an image from its missing layers alone, which are returned, and has
// it removed after the test.
func (e *live) bring(t testing.TB, b Backend, m *made) []Layer {
	t.Helper()
	missing, err := b.Missing(t.Context(), m.Image)
	must(t, err)
	r, w := io.Pipe()
	go func() { w.CloseWithError(b.Pack(context.Background(), w, m.Image, missing, m.body)) }()
	must(t, e.Load(t.Context(), r))
	t.Cleanup(func() { e.remove(t, m.ID) })
	return missing
}

func (e *live) remove(t testing.TB, configID string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	id, err := e.library().EngineID(ctx, configID)
	if err == nil {
		err = e.ask(ctx, "DELETE", "/images/"+id+"?force=1", nil, nil)
	}
	if err != nil {
		t.Error(err)
	}
}

func (e *live) library() *Library {
	return NewLibrary(LibraryConfig{Engine: e, Root: func(context.Context) (Root, error) { return e.root, nil }})
}

// hardLayers are layers with all that makes layers hard to give again.
func hardLayers(t testing.TB) [][]byte {
	long := strings.Repeat("a directory with quite a long name/", 12)
	device := tar.Header{Typeflag: tar.TypeChar, Name: "null", Mode: 0o666, Devmajor: 1, Devminor: 3}
	gnu := func(name, content string) entry { return entry{tar.Header{Name: name, Format: tar.FormatGNU}, content} }
	many := make([]entry, 2000)
	for i := range many {
		many[i] = file(fmt.Sprintf("many/%d/%d", i%7, i), fmt.Sprint(i))
	}
	return [][]byte{
		tarOf(t, file("bin/true", "#!"), entry{tar.Header{Typeflag: tar.TypeDir, Name: "dir/"}, ""}, file("dir/old", "old"), file("old", "old")),
		{},
		tarOf(t),
		make([]byte, 10240),
		tarOf(t,
			entry{tar.Header{Name: "setuid", Mode: 0o4755}, "s"},
			entry{tar.Header{Name: "hard", Typeflag: tar.TypeLink, Linkname: "setuid"}, ""},
			entry{tar.Header{Name: "soft", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, ""},
			entry{tar.Header{Name: "pipe", Typeflag: tar.TypeFifo}, ""}, entry{device, ""},
			entry{tar.Header{Name: "marked", PAXRecords: map[string]string{"SCHILY.xattr.user.mark": "yes"}}, "m"}),
		tarOf(t, file(".wh.old", ""), file("dir/.wh..wh..opq", ""), file("dir/new", "new")),
		tarOf(t, file(long+"file", "deep"), gnu("gnu/"+long+"file", "deep"), file("ü/日本語", "utf-8"), gnu("latin\xe9", "not utf-8"),
			file(strings.Repeat("n", 255), "as long as names can be")),
		tarOf(t, file("./dot", "dot"), file("/slash", "slash"), file("holes", strings.Repeat("\x00", 1<<20)+"x"+strings.Repeat("\x00", 1<<20))),
		append(tarOf(t, file("padded", "p")), make([]byte, 64<<10)...),
		tarOf(t, many...),
		tarOf(t),
		tarOf(t, file("top", "top")),
	}
}

func TestARealEnginesLayersComeOutAsTheyWentIn(t *testing.T) {
	withEngine(t, func(t *testing.T, e *live) {
		m := newMade(t, t.Name(), hardLayers(t)...)
		e.bring(t, e.library(), m)
		library := e.library()
		if strings.HasPrefix(library.Name(), apiName) {
			t.Fatalf("the engine's files are not read: %s", library.Name())
		}
		t.Logf("images are read by %s", library.Name())
		for name, b := range map[string]Backend{"library": library, "engine API": NewEngineAPI(e, e.root.Containerd)} {
			t.Run(name, func(t *testing.T) {
				holdsImage(t, b, m)
				for _, l := range m.Layers {
					offset := rand.Int64N(l.Size + 1)
					if got := readLayer(t, b, m, l, offset); !bytes.Equal(got, m.tars[l.Chain][offset:]) {
						t.Errorf("from byte %d of %d on layer %s is another", offset, l.Size, l.DiffID)
					}
				}
			})
		}
	})
}

func TestARealEngineTakesAnImageWithoutTheLayersThatItHolds(t *testing.T) {
	withEngine(t, func(t *testing.T, e *live) {
		l := e.library()
		fresh := crand.Text() // engines keep layers longer than their images
		base := e.imported(t, l, tarOf(t, file("base", strings.Repeat(fresh, 1000))))
		middle, top := tarOf(t, file("middle", "m")), tarOf(t, file("top", "t"))
		e.bring(t, l, newMade(t, "lower", base, middle))
		upper := newMade(t, "upper", base, middle, top, middle)
		missing := e.bring(t, l, upper)
		if len(missing) == 0 || missing[0].DiffID == upper.Layers[0].DiffID || missing[0].DiffID == upper.Layers[1].DiffID {
			t.Errorf("missing were %v", missing)
		}
		holdsImage(t, e.library(), upper)
		holdsImage(t, NewEngineAPI(e, e.root.Containerd), upper)
		if missing, err := l.Missing(t.Context(), upper.Image); err != nil || len(missing) > 0 {
			t.Errorf("missing are %v afterwards (%v)", missing, err)
		}
	})
}

// imported makes an image as docker import does and returns its layer.
func (e *live) imported(t testing.TB, l *Library, files []byte) []byte {
	t.Helper()
	must(t, e.ask(t.Context(), "POST", "/images/create?fromSrc=-&repo=imported", bytes.NewReader(files), nil))
	engineID, _, _, err := e.Layers(t.Context(), "imported")
	must(t, err)
	id, err := l.ConfigID(t.Context(), engineID)
	must(t, err)
	t.Cleanup(func() { e.remove(t, id) })
	im, err := l.Image(t.Context(), id)
	must(t, err)
	return readLayer(t, l, &made{Image: im}, im.Layers[0], 0)
}

func TestARealEngineTakesAnImageWithoutLayers(t *testing.T) {
	withEngine(t, func(t *testing.T, e *live) {
		m := newMade(t, t.Name())
		e.bring(t, e.library(), m)
		holdsImage(t, e.library(), m) // docker save gives no such image
	})
}

func TestARealEngineTakesALargeNumberOfLayers(t *testing.T) {
	withEngine(t, func(t *testing.T, e *live) {
		var layers [][]byte
		for i := range 40 {
			layers = append(layers, tarOf(t, file(fmt.Sprint(i), t.Name())))
		}
		m := newMade(t, "", layers...)
		e.bring(t, e.library(), m)
		holdsImage(t, e.library(), m)
	})
}

func TestARealEngineLoadsAnArchiveWithoutItsNames(t *testing.T) {
	withEngine(t, func(t *testing.T, e *live) {
		m := newMade(t, t.Name(), tarOf(t, file("a", "1")), tarOf(t, file("b", "2")), tarOf(t, file("a", "1")))
		e.bring(t, e.library(), m)
		engineID, err := e.library().EngineID(t.Context(), m.ID)
		must(t, err)
		e.tag(t, engineID, "strip/names:1")
		e.tag(t, engineID, "registry.example:5000/strip:two")
		reply, err := e.send(t.Context(), "GET", "/images/get?names=strip/names:1&names=registry.example:5000/strip:two", nil)
		must(t, err)
		saved, err := io.ReadAll(reply)
		must(t, err)
		must(t, e.ask(t.Context(), "DELETE", "/images/"+engineID+"?force=1", nil, nil))

		for name, archive := range map[string][]byte{"plain": saved, "gzip": gzipped(t, saved)} {
			t.Run(name, func(t *testing.T) {
				var bare bytes.Buffer
				named, err := StripNames(&bare, bytes.NewReader(archive))
				must(t, err)
				slices.SortFunc(named, func(a, b Named) int { return strings.Compare(b.Name, a.Name) })
				if want := []Named{{"strip/names:1", m.ID}, {"registry.example:5000/strip:two", m.ID}}; !slices.Equal(named, want) {
					t.Errorf("the names were %v, want %v", named, want)
				}
				must(t, e.Load(t.Context(), &bare))
				holdsImage(t, e.library(), m)
				id, err := e.library().EngineID(t.Context(), m.ID)
				must(t, err)
				images, err := e.List(t.Context())
				must(t, err)
				if tags := images[id]; len(tags) > 0 {
					t.Errorf("the image has the names %q", tags)
				}
			})
		}
	})
}
