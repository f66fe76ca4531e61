package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ddocker/engine"
	"ddocker/engine/enginetest"
)

// commit makes an image that is gone when the test has ended.
func commit(t *testing.T, ctx context.Context, e *engine.Engine, name string) (id string) {
	t.Helper()
	create(t, ctx, e, name, `{"Image":"busybox:latest"}`)
	status, reply, err := e.Commit(ctx, "", "container="+name+"&repo="+name+"&tag=1", nil)
	if err != nil || status != http.StatusCreated {
		t.Fatalf("commit: %d %s %v", status, reply, err)
	}
	var made struct{ ID string }
	if err := json.Unmarshal(reply, &made); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := e.RemoveImage(context.WithoutCancel(ctx), made.ID, true); err != nil && !engine.IsNotFound(err) {
			t.Error(err)
		}
	})
	return made.ID
}

func saved(t *testing.T, ctx context.Context, e *engine.Engine, ref string) []byte {
	t.Helper()
	body, err := e.SaveImage(ctx, ref)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	archive, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return archive
}

func TestImageIsCommittedNamedSavedRemovedAndLoaded(t *testing.T) {
	onBoth(t, func(t *testing.T, ctx context.Context, e *engine.Engine) {
		name := unique()
		id := commit(t, ctx, e, name)
		same, layers, size, err := e.ImageLayers(ctx, name+":1")
		if err != nil || same != id || len(layers) == 0 || !strings.HasPrefix(layers[0], "sha256:") || size <= 0 {
			t.Errorf("committed %s, it is %s of %v, %d bytes, %v", id, same, layers, size, err)
		}
		if err := e.TagImage(ctx, id, name+":2"); err != nil {
			t.Fatal(err)
		}
		images, err := e.Images(ctx)
		if err != nil || !slices.ContainsFunc(images, func(im engine.Image) bool {
			return im.ID == id && im.Size == size && slices.Contains(im.Refs, name+":1") && slices.Contains(im.Refs, name+":2")
		}) {
			t.Errorf("%s of %d bytes is not with its two names in %+v, %v", id, size, images, err)
		}
		archive := saved(t, ctx, e, id)
		if _, err := e.RemoveImage(ctx, id, false); err == nil || engine.IsNotFound(err) {
			t.Errorf("removing two names without force: %v", err)
		}
		done, err := e.RemoveImage(ctx, name+":1", false)
		if err != nil || !slices.Equal(done, []engine.RemovedImage{{Untagged: name + ":1"}}) {
			t.Errorf("removing one name did %+v, %v", done, err)
		}
		done, err = e.RemoveImage(ctx, name+":2", false)
		if err != nil || len(done) < 2 || done[0].Untagged != name+":2" || done[1].Deleted != id {
			t.Errorf("removing the other did %+v, %v", done, err)
		}
		if err := e.LoadImage(ctx, bytes.NewReader(archive)); err != nil {
			t.Fatal(err)
		}
		if same, now, _, err := e.ImageLayers(ctx, id); err != nil || same != id || !slices.Equal(now, layers) {
			t.Errorf("loaded, it is %s of %v, %v", same, now, err)
		}
	})
}

func TestContainerTellsItsImageByID(t *testing.T) {
	onBoth(t, func(t *testing.T, ctx context.Context, e *engine.Engine) {
		want, _, _, err := e.ImageLayers(ctx, busybox)
		if err != nil {
			t.Fatal(err)
		}
		id := create(t, ctx, e, unique(), `{"Image":"busybox:latest"}`)
		if c, _ := find(t, ctx, e, id); c.ImageID != want {
			t.Errorf("it is of %q, want %s", c.ImageID, want)
		}
	})
}

func TestImageThatIsNotThereIsNotFound(t *testing.T) {
	onBoth(t, func(t *testing.T, ctx context.Context, e *engine.Engine) {
		for is, call := range map[string]func() error{
			"layers": func() error { _, _, _, err := e.ImageLayers(ctx, "ct-none"); return err },
			"save":   func() error { _, err := e.SaveImage(ctx, "ct-none"); return err },
			"tag":    func() error { return e.TagImage(ctx, "ct-none", "ct-other") },
			"remove": func() error { _, err := e.RemoveImage(ctx, "ct-none", false); return err },
		} {
			if err := call(); !engine.IsNotFound(err) {
				t.Errorf("%s: %v", is, err)
			}
		}
		if status, reply, err := e.Commit(ctx, "1.41", "container=ct-none", nil); status != http.StatusNotFound || err != nil {
			t.Errorf("commit: %d %s %v", status, reply, err)
		}
	})
}

func TestLoadTellsWhatTheEngineComplainsOf(t *testing.T) {
	onBoth(t, func(t *testing.T, ctx context.Context, e *engine.Engine) {
		for _, archive := range []string{"", "junk"} {
			if err := e.LoadImage(ctx, strings.NewReader(archive)); err == nil {
				t.Errorf("a load of %q went well", archive)
			}
		}
	})
}

func TestLoadKnowsTheEnginesComplaints(t *testing.T) {
	for answer, want := range map[string]string{
		`{"errorDetail":{"message":"disk full"},"error":"disk full"}`: "disk full",
		`{"error":"disk full"}`: "disk full",
		`{"stream":"Loaded image: a:1\n"}` + "\n" + `{"stream":"Error unpacking image a:1: content digest: not found\n"}`: "Error unpacking image a:1: content digest: not found",
		`{"stream":`: "unexpected end",
	} {
		scripted(t, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			fmt.Fprintln(w, answer)
		}, func(t *testing.T, e *engine.Engine) {
			if err := e.LoadImage(t.Context(), strings.NewReader("archive")); err == nil || !strings.HasPrefix(err.Error(), "load image: ") || !strings.Contains(err.Error(), want) {
				t.Errorf("after %s: %v, want %s", answer, err, want)
			}
		})
	}
}

// broken is a reader that fails after its bytes.
func broken(b []byte, err error) io.Reader {
	return io.MultiReader(bytes.NewReader(b), readerFunc(func([]byte) (int, error) { return 0, err }))
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestLoadFailsWithItsArchive(t *testing.T) {
	onBoth(t, func(t *testing.T, ctx context.Context, e *engine.Engine) {
		name := unique()
		id := commit(t, ctx, e, name)
		archive := saved(t, ctx, e, name+":1")
		if _, err := e.RemoveImage(ctx, id, false); err != nil {
			t.Fatal(err)
		}
		lost := errors.New("the other host has gone")
		for _, cut := range []int{0, 700, len(archive) - 2000} {
			if err := e.LoadImage(ctx, broken(archive[:cut], lost)); !errors.Is(err, lost) {
				t.Errorf("after %d bytes: %v", cut, err)
			}
		}
		if _, _, _, err := e.ImageLayers(ctx, id); !engine.IsNotFound(err) {
			t.Errorf("the image is there: %v", err)
		}
	})
}

func TestRootTellsTheStore(t *testing.T) {
	onHosts(t, func(t *testing.T, ctx context.Context, host string) {
		e, err := engine.New(engine.Config{Host: host})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		if r, err := e.Root(ctx); err != nil || r.Dir == "" || r.Driver == "" || !r.Local {
			t.Errorf("root is %+v, %v", r, err)
		}
	})
}

func TestRootKnowsContainerdAndEnginesElsewhere(t *testing.T) {
	scripted(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"DockerRootDir":"/d","Driver":"overlayfs","DriverStatus":[["driver-type","io.containerd.snapshotter.v1"]]}`)
	}, func(t *testing.T, e *engine.Engine) {
		want := engine.Root{Dir: "/d", Driver: "overlayfs", Containerd: true}
		if r, err := e.Root(t.Context()); err != nil || r != want {
			t.Errorf("root is %+v, %v, want %+v", r, err, want)
		}
	})
}

// scripted plays in virtual time with an engine that answers everything but its
// version by answer.
func scripted(t *testing.T, answer http.HandlerFunc, play func(*testing.T, *engine.Engine)) {
	synctest.Test(t, func(t *testing.T) {
		pipe := enginetest.Listen()
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/version" {
				fmt.Fprint(w, `{"ApiVersion":"1.41","MinAPIVersion":"1.12"}`)
				return
			}
			answer(w, r)
		})}
		go server.Serve(pipe)
		defer server.Close()
		e, err := engine.New(engine.Config{Dial: pipe.Dial})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		play(t, e)
	})
}

func TestLoadGoesOnAsLongAsTheEngineSpeaks(t *testing.T) {
	scripted(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		for range 10 {
			time.Sleep(29 * time.Minute)
			fmt.Fprintln(w, `{"status":"Loading layer","progressDetail":{"current":1,"total":2},"id":"a"}`)
			http.NewResponseController(w).Flush()
		}
	}, func(t *testing.T, e *engine.Engine) {
		if err := e.LoadImage(t.Context(), strings.NewReader("archive")); err != nil {
			t.Error(err)
		}
	})
}

func TestLoadEndsWhenTheEngineSpeaksNoMore(t *testing.T) {
	for is, answer := range map[string]http.HandlerFunc{
		"before it answers": func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		},
		"after a message": func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			fmt.Fprintln(w, `{"status":"Loading layer"}`)
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
	} {
		scripted(t, answer, func(t *testing.T, e *engine.Engine) {
			began := time.Now()
			err := e.LoadImage(t.Context(), strings.NewReader("archive"))
			if err == nil || !strings.Contains(err.Error(), "neither reads nor answers") || time.Since(began) != 30*time.Minute {
				t.Errorf("%s: after %v: %v", is, time.Since(began), err)
			}
		})
	}
}

func TestLoadEndsWhenTheEngineReadsNoMore(t *testing.T) {
	inBubble(t, func(t *testing.T, twin *enginetest.Twin, _ *wire, e *engine.Engine) {
		archive := io.MultiReader(bytes.NewReader(saved(t, t.Context(), e, busybox)[:1000]), readerFunc(func(p []byte) (int, error) {
			twin.Hang()
			return len(p), nil
		}))
		defer twin.Unhang()
		began := time.Now()
		err := e.LoadImage(t.Context(), archive)
		if err == nil || !strings.Contains(err.Error(), "neither reads nor answers") || time.Since(began) != 2*time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

func TestLoadGivesItsArchiveAllTheTimeItTakes(t *testing.T) {
	inBubble(t, func(t *testing.T, twin *enginetest.Twin, _ *wire, e *engine.Engine) {
		id := twin.AddLayered("app:1", []byte("a"))
		archive := saved(t, t.Context(), e, "app:1")
		if _, err := e.RemoveImage(t.Context(), "app:1", false); err != nil {
			t.Fatal(err)
		}
		slow := io.MultiReader(bytes.NewReader(archive[:1000]), readerFunc(func([]byte) (int, error) {
			time.Sleep(time.Hour)
			return 0, io.EOF
		}), bytes.NewReader(archive[1000:]))
		if err := e.LoadImage(t.Context(), slow); err != nil {
			t.Fatal(err)
		}
		if got, _, _, err := e.ImageLayers(t.Context(), "app:1"); err != nil || got != id {
			t.Errorf("it is %s, %v, want %s", got, err, id)
		}
	})
}

func TestLoadEndsWithItsCaller(t *testing.T) {
	inBubble(t, func(t *testing.T, twin *enginetest.Twin, _ *wire, e *engine.Engine) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		in, out := io.Pipe() // whose writer never comes
		defer out.Close()
		if err := e.LoadImage(ctx, in); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("load: %v", err)
		}
	})
}

func TestTheArchiveIsReadNoMoreAfterTheEnginesRefusal(t *testing.T) {
	scripted(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, `{"errorDetail":{"message":"disk full"},"error":"disk full"}`)
	}, func(t *testing.T, e *engine.Engine) {
		over, last := make(chan struct{}), make(chan struct{}, 1)
		endless := readerFunc(func(p []byte) (int, error) {
			select {
			case <-over:
				select {
				case last <- struct{}{}: // it was about to begin
				default:
					t.Error("a second read began after the end")
					return 0, io.EOF
				}
			default:
			}
			return len(p), nil
		})
		if err := e.LoadImage(t.Context(), endless); err == nil || !strings.Contains(err.Error(), "disk full") {
			t.Errorf("load: %v", err)
		}
		close(over)
		time.Sleep(time.Second) // the server waits that long before it hangs up
	})
}

func TestSaveEndsWhenTheEngineSendsNoMore(t *testing.T) {
	for is, c := range map[string]struct {
		sends string
		after time.Duration
	}{"nothing": {"", 30 * time.Minute}, "a part": {"part", 2 * time.Minute}} {
		scripted(t, func(w http.ResponseWriter, r *http.Request) {
			if c.sends != "" {
				io.WriteString(w, c.sends)
				http.NewResponseController(w).Flush()
			}
			<-r.Context().Done()
		}, func(t *testing.T, e *engine.Engine) {
			began := time.Now()
			body, err := e.SaveImage(t.Context(), "app:1")
			var got []byte
			if err == nil {
				defer body.Close()
				got = make([]byte, len(c.sends))
				for i := range got { // a slow reader is no slow engine
					time.Sleep(time.Hour)
					if _, err := io.ReadFull(body, got[i:i+1]); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(time.Hour)
				began = time.Now()
				_, err = body.Read(make([]byte, 1))
			}
			if err == nil || !strings.Contains(err.Error(), "neither reads nor answers") || time.Since(began) != c.after || string(got) != c.sends {
				t.Errorf("of %s: %q after %v, %v", is, got, time.Since(began), err)
			}
		})
	}
}

func TestClosedSaveTellsTheEngine(t *testing.T) {
	gone := make(chan struct{})
	scripted(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(gone)
		for {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	}, func(t *testing.T, e *engine.Engine) {
		body, err := e.SaveImage(t.Context(), "app:1")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(body, make([]byte, 1<<20)); err != nil {
			t.Error(err)
		}
		if err := body.Close(); err != nil {
			t.Error(err)
		}
		if _, err := body.Read(make([]byte, 1)); err == nil {
			t.Error("a closed save was read")
		}
		<-gone
	})
}

func TestAbandonedCommitIsAnErrorAndLandsNevertheless(t *testing.T) {
	inBubble(t, func(t *testing.T, twin *enginetest.Twin, _ *wire, e *engine.Engine) {
		create(t, t.Context(), e, "web", `{"Image":"busybox:latest"}`)
		twin.SetLatency(enginetest.Commit, time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if status, _, err := e.Commit(ctx, "1.41", "container=web&repo=app", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("commit: %d, %v", status, err)
		}
		time.Sleep(time.Minute)
		if _, _, _, err := e.ImageLayers(t.Context(), "app"); err != nil {
			t.Error(err)
		}
	})
}
