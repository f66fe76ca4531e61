package enginetest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ddocker/engine/enginetest"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
)

// another serves one more twin in the same bubble.
func (l lab) another(cfg enginetest.Config) (*enginetest.Twin, lab) {
	twin := enginetest.New(cfg)
	pipe := enginetest.Listen()
	serve(l.t, twin, pipe)
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return pipe.Dial(ctx) }}
	l.t.Cleanup(transport.CloseIdleConnections)
	c, err := client.NewClientWithOpts(client.WithHTTPClient(&http.Client{Transport: transport}), client.WithVersion("1.41"))
	l.must(err)
	return twin, lab{Client: c, t: l.t, ctx: l.ctx}
}

// load returns what the engine tells of a load, and the error of asking.
func (l lab) load(ctx context.Context, archive io.Reader) (told string, err error) {
	resp, err := l.ImageLoad(ctx, archive, client.ImageLoadWithQuiet(true))
	if err != nil {
		return "", err
	}
	return l.text(resp.Body), nil
}

func (l lab) text(messages io.ReadCloser) string {
	l.t.Helper()
	defer messages.Close()
	b, err := io.ReadAll(messages)
	l.must(err)
	return strings.ReplaceAll(string(b), "\r\n", "\n")
}

// archive returns what a save of the reference is.
func (l lab) archive(ref string) []byte {
	l.t.Helper()
	body, err := l.ImageSave(l.ctx, []string{ref})
	l.must(err)
	defer body.Close()
	b, err := io.ReadAll(body)
	l.must(err)
	return b
}

func (l lab) lacks(ref string) bool {
	l.t.Helper()
	_, err := l.ImageInspect(l.ctx, ref)
	if err != nil && !errdefs.IsNotFound(err) {
		l.t.Fatal(err)
	}
	return err != nil
}

func TestSameImageHasTheSameIDOnEveryTwin(t *testing.T) {
	one, two := enginetest.New(enginetest.Config{}), enginetest.New(enginetest.Config{})
	if a, b := one.AddImage("app:1"), two.AddImage("docker.io/library/app:1"); a != b {
		t.Errorf("one reference has the IDs %s and %s", a, b)
	}
	if one.AddImage("app:1") == one.AddImage("app:2") {
		t.Error("two references have one ID")
	}
	if one.AddLayered("x:1", []byte("a"), []byte("b")) != two.AddLayered("y:1", []byte("a"), []byte("b")) {
		t.Error("the same layers have two IDs")
	}
}

func TestImageLoadsOnAnotherTwin(t *testing.T) {
	inBubble(t, enginetest.Config{}, func(twin *enginetest.Twin, l lab) {
		_, other := l.another(enginetest.Config{})
		id := twin.AddLayered("app:1", []byte("a"), []byte("b"), []byte("a")) // the third is a link in the archive
		told, err := other.load(l.ctx, bytes.NewReader(l.archive("app:1")))
		l.must(err)
		if want := `{"stream":"Loaded image: app:1\n"}` + "\n"; told != want {
			t.Errorf("the load told %s, want %s", told, want)
		}
		_, layers := l.layers(id)
		if got, there := other.layers("app:1"); got != id || !slices.Equal(there, layers) {
			t.Errorf("it arrived as %s of %v, want %s of %v", got, there, id, layers)
		}
	})
}

func TestPullTellsEveryLayer(t *testing.T) {
	inBubble(t, enginetest.Config{}, func(twin *enginetest.Twin, l lab) {
		twin.AddLayered("base:1", []byte("a"))
		id := twin.Publish("app:1", []byte("a"), []byte("b"))
		pull := func() string {
			t.Helper()
			body, err := l.ImagePull(l.ctx, "app:1", image.PullOptions{})
			l.must(err)
			return l.text(body)
		}
		first := pull()
		in, err := l.ImageInspect(l.ctx, "app:1")
		l.must(err)
		a, b := in.RootFS.Layers[0][7:19], in.RootFS.Layers[1][7:19]
		if in.ID != id || len(in.RepoDigests) != 1 {
			t.Fatalf("it is %s with the digests %v, want %s", in.ID, in.RepoDigests, id)
		}
		_, manifest, _ := strings.Cut(in.RepoDigests[0], "@")
		want := `{"status":"Pulling from library/app","id":"1"}
{"status":"Already exists","progressDetail":{},"id":"` + a + `"}
{"status":"Pulling fs layer","progressDetail":{},"id":"` + b + `"}
{"status":"Downloading","progressDetail":{"current":2048,"total":2048},"id":"` + b + `"}
{"status":"Download complete","progressDetail":{},"id":"` + b + `"}
{"status":"Extracting","progressDetail":{"current":2048,"total":2048},"id":"` + b + `"}
{"status":"Pull complete","progressDetail":{},"id":"` + b + `"}
{"status":"Digest: ` + manifest + `"}
{"status":"Status: Downloaded newer image for app:1"}
`
		if first != want {
			t.Errorf("the pull told\n%swant\n%s", first, want)
		}
		if again := pull(); !strings.Contains(again, `"Already exists","progressDetail":{},"id":"`+b) || !strings.HasSuffix(again, `{"status":"Status: Image is up to date for app:1"}`+"\n") {
			t.Errorf("the second pull told\n%s", again)
		}
		done, err := l.ImageRemove(l.ctx, "app:1", image.RemoveOptions{})
		l.must(err)
		if len(done) < 3 || done[0].Untagged != "app:1" || done[1].Untagged != in.RepoDigests[0] || done[2].Deleted != id {
			t.Errorf("its removal did %+v", done)
		}
		body, err := l.ImagePull(l.ctx, in.RepoDigests[0], image.PullOptions{})
		l.must(err)
		l.text(body)
		if got, _ := l.layers(in.RepoDigests[0]); got != id {
			t.Errorf("pulled by digest it is %s, want %s", got, id)
		}
	})
}

func TestPullWithoutATagTakesAll(t *testing.T) {
	inBubble(t, enginetest.Config{}, func(twin *enginetest.Twin, l lab) {
		twin.Publish("reg:5000/team/app:1")
		twin.Publish("reg:5000/team/app:2")
		twin.Publish("reg:5000/team/apple:1")
		body, err := l.ImagePull(l.ctx, "reg:5000/team/app", image.PullOptions{All: true})
		l.must(err)
		l.text(body)
		if l.lacks("reg:5000/team/app:1") || l.lacks("reg:5000/team/app:2") || !l.lacks("reg:5000/team/apple:1") {
			t.Error("it did not pull the two tags alone")
		}
	})
}

func TestTwinsShareARegistryAndItsAuth(t *testing.T) {
	world := &enginetest.Registry{}
	inBubble(t, enginetest.Config{Registry: world}, func(twin *enginetest.Twin, l lab) {
		_, other := l.another(enginetest.Config{Registry: world})
		id := twin.AddLayered("reg:5000/app:1", []byte("a"))
		_, err := other.ImagePull(l.ctx, "reg:5000/app:1", image.PullOptions{})
		l.refuses(err, errdefs.IsNotFound, `pull access denied for reg:5000/app, repository does not exist`)
		world.RequireAuth("secret")
		body, err := l.ImagePush(l.ctx, "reg:5000/app:1", image.PushOptions{RegistryAuth: "guess"})
		l.must(err)
		if told := l.text(body); !strings.Contains(told, `"error":"denied: `) {
			t.Errorf("without the secret a push told %s", told)
		}
		body, err = l.ImagePush(l.ctx, "reg:5000/app:1", image.PushOptions{RegistryAuth: "secret"})
		l.must(err)
		if told := l.text(body); !strings.HasPrefix(told, `{"status":"The push refers to repository [reg:5000/app]"}`) || !strings.Contains(told, `{"status":"1: digest: sha256:`) {
			t.Errorf("the push told %s", told)
		}
		_, err = other.ImagePull(l.ctx, "reg:5000/app:1", image.PullOptions{})
		l.refuses(err, errdefs.IsNotFound, `pull access denied`)
		body, err = other.ImagePull(l.ctx, "reg:5000/app:1", image.PullOptions{RegistryAuth: "secret"})
		l.must(err)
		other.text(body)
		if got, _ := other.layers("reg:5000/app:1"); got != id {
			t.Errorf("the other twin has %s, want %s", got, id)
		}
	})
}

func TestFullDiskTakesNoImage(t *testing.T) {
	inBubble(t, enginetest.Config{}, func(twin *enginetest.Twin, l lab) {
		full, other := l.another(enginetest.Config{})
		twin.AddLayered("app:1", bytes.Repeat([]byte("a"), 1<<20))
		archive := l.archive("app:1")
		full.SetDisk(1 << 19)
		told, err := other.load(l.ctx, bytes.NewReader(archive))
		l.must(err)
		if !strings.Contains(told, `"errorDetail":{"message":"Error processing tar file(exit status 1): write `) || !strings.Contains(told, `no space left on device"`) {
			t.Errorf("the load told %s", told)
		}
		_, err = other.ImageImport(l.ctx, image.ImportSource{Source: bytes.NewReader(archive), SourceName: "-"}, "", image.ImportOptions{})
		l.refuses(err, errdefs.IsInternal, `no space left on device`)
		if !other.lacks("app:1") {
			t.Error("the image is there")
		}
		full.SetDisk(1 << 30)
		_, err = other.load(l.ctx, bytes.NewReader(archive))
		l.must(err)
		if other.lacks("app:1") {
			t.Error("with room it is not there")
		}
	})
}

// halting hands out an archive until half of it, then waits for release.
type halting struct {
	*bytes.Reader
	half    int64
	release chan struct{}
}

func (h *halting) Read(p []byte) (int, error) {
	if h.Size()-int64(h.Len()) >= h.half {
		<-h.release
		return h.Reader.Read(p)
	}
	return h.Reader.Read(p[:min(int64(len(p)), h.half)])
}

func TestLoadUnderWayFollowsTheEngine(t *testing.T) {
	for is, c := range map[string]struct {
		befall func(*enginetest.Twin)
		lands  bool
	}{
		"undisturbed": {func(*enginetest.Twin) {}, true},
		"hung":        {func(t *enginetest.Twin) { t.Hang(); time.AfterFunc(time.Hour, t.Unhang) }, true},
		"restarted":   {(*enginetest.Twin).Restart, false},
	} {
		inBubble(t, enginetest.Config{}, func(twin *enginetest.Twin, l lab) {
			busy, other := l.another(enginetest.Config{})
			twin.AddLayered("app:1", bytes.Repeat([]byte("a"), 1<<20))
			archive := &halting{Reader: bytes.NewReader(l.archive("app:1")), half: 1 << 19, release: make(chan struct{})}
			done := make(chan error)
			go func() {
				_, err := other.load(l.ctx, archive)
				done <- err
			}()
			synctest.Wait()
			_, err := other.ImageList(l.ctx, image.ListOptions{}) // the body is read without the lock
			l.must(err)
			c.befall(busy)
			close(archive.release)
			if err := <-done; (err == nil) != c.lands {
				t.Errorf("%s: the load ended with %v", is, err)
			}
			if other.lacks("app:1") == c.lands {
				t.Errorf("%s: the image is there: %v, want %v", is, !c.lands, c.lands)
			}
		})
	}
}

func TestSlowLoadLandsAfterItsCallerHasGone(t *testing.T) {
	inBubble(t, enginetest.Config{}, func(twin *enginetest.Twin, l lab) {
		slow, other := l.another(enginetest.Config{})
		slow.SetLatency(enginetest.Load, 10*time.Second)
		ctx, cancel := context.WithTimeout(l.ctx, time.Second)
		defer cancel()
		if _, err := other.load(ctx, bytes.NewReader(l.archive(busybox))); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("load: %v", err)
		}
		time.Sleep(10 * time.Second)
		if other.lacks(busybox) {
			t.Error("it never came")
		}
	})
}

func TestLieIsNotSpentOnAFailedLoad(t *testing.T) {
	inBubble(t, enginetest.Config{}, func(twin *enginetest.Twin, l lab) {
		liar, other := l.another(enginetest.Config{})
		liar.FailAfterSuccess(enginetest.Load)
		told, err := other.load(l.ctx, strings.NewReader(""))
		l.must(err)
		if !strings.Contains(told, "errorDetail") {
			t.Errorf("a load of nothing told %s", told)
		}
		if _, err := other.load(l.ctx, bytes.NewReader(l.archive(busybox))); err == nil {
			t.Error("no lie was told")
		}
		if other.lacks(busybox) {
			t.Error("the lie was the truth: it is not there")
		}
	})
}
