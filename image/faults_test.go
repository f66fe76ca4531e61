package image_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ddocker/image"
	"ddocker/image/imagetest"
)

// cutAt breaks a node's connection once it has sent that many bytes.
func cutAt(limit int64) func(int64) error {
	var cut atomic.Bool
	return func(sent int64) error {
		if sent >= limit && cut.CompareAndSwap(false, true) {
			return errors.New("unplugged")
		}
		return nil
	}
}

func TestALostSourceCostsNoByteTwice(t *testing.T) {
	const size = 24 * mib
	for name, others := range map[string][]string{"another goes on": {"a", "c"}, "it comes back itself": {"a"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				a, b, c := w.host("a"), w.host("b"), w.host("c")
				id := a.Add(noise(1, size))
				c.Add(noise(1, size))
				w.net.Hook("a", cutAt(10*mib))
				if err := b.mover.Bring(t.Context(), b.want(id, others...)); err != nil {
					t.Fatal(err)
				}
				w.has(b, id, noise(1, size))
				if sent := w.net.Sent("a") + w.net.Sent("c"); sent > size+mib {
					t.Errorf("%d bytes were sent again", sent-size)
				}
			})
		})
	}
}

func TestASourceThatDiesIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b, c := w.host("a"), w.host("b"), w.host("c")
		w.net.Limit("a", mib)
		w.net.Limit("c", mib)
		id := a.Add(noise(1, 8*mib), noise(2, 2*mib))
		c.Add(noise(1, 8*mib), noise(2, 2*mib))
		time.AfterFunc(3*time.Second, func() { w.net.Leave("a") })
		if err := b.mover.Bring(t.Context(), b.want(id, "gone", "a", "c")); err != nil {
			t.Fatal(err)
		}
		w.has(b, id, noise(1, 8*mib), noise(2, 2*mib))
		if sent := w.net.Sent("c"); sent > 8*mib {
			t.Errorf("the second source sent %d bytes", sent)
		}
	})
}

func TestAStalledSourceIsLeftAfterHalfAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b, c := w.host("a"), w.host("b"), w.host("c")
		id := a.Add(noise(1, 8*mib))
		c.Add(noise(1, 8*mib))
		w.net.Hook("a", func(sent int64) error {
			if sent > 4*mib {
				time.Sleep(time.Hour)
			}
			return nil
		})
		began := time.Now()
		if err := b.mover.Bring(t.Context(), b.want(id, "a", "c")); err != nil {
			t.Fatal(err)
		}
		w.has(b, id, noise(1, 8*mib))
		if took := time.Since(began); took < 30*time.Second || took > 40*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func TestWhenAllHoldersFailEachIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.host("a")
		b := w.host("b")
		id := imagetest.Digest([]byte("?"))
		err := b.mover.Bring(t.Context(), b.want(id, "a", "gone", "b"))
		var failed *image.HoldersError
		if !errors.As(err, &failed) || len(failed.Failures) != 2 || !errors.Is(err, image.ErrUnknown) {
			t.Fatalf("got %v", err)
		}
		for _, word := range []string{"node a: no such image", "node gone: ", "connection refused", id[7:19]} {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%q does not tell %q", err, word)
			}
		}
		if err := b.mover.Bring(t.Context(), b.want(id)); !errors.As(err, &failed) || !strings.Contains(err.Error(), "ddocker nodes") {
			t.Errorf("nobody holds it: got %v", err)
		}
	})
}

// liars change what an honest source answers.
func liars(honest *host, id string) map[string]http.HandlerFunc {
	description := func(change func(*image.Image)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/layer/") {
				honest.mover.Handler().ServeHTTP(w, r)
				return
			}
			im, err := honest.Image(r.Context(), id)
			if err != nil {
				http.NotFound(w, r)
				return
			}
			change(im)
			json.NewEncoder(w).Encode(im)
		}
	}
	layer := func(change func(w http.ResponseWriter, r *http.Request)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/layer/") {
				change(w, r)
				return
			}
			honest.mover.Handler().ServeHTTP(w, r)
		}
	}
	return map[string]http.HandlerFunc{
		"a layer is said to be longer":  description(func(im *image.Image) { im.Layers[0].Size++ }),
		"a layer is said to be shorter": description(func(im *image.Image) { im.Layers[0].Size-- }),
		"a layer is said to be empty":   description(func(im *image.Image) { im.Layers[0].Size = 0 }),
		"a size is negative":            description(func(im *image.Image) { im.Layers[0].Size = -1 }),
		"sizes overflow":                description(func(im *image.Image) { im.Layers[0].Size = 1 << 62 }),
		"a layer is another":            description(func(im *image.Image) { im.Layers[0].DiffID = im.Layers[1].DiffID }),
		"a layer too many":              description(func(im *image.Image) { im.Layers = append(im.Layers, im.Layers[0]) }),
		"the configuration is another":  description(func(im *image.Image) { im.Config = append(im.Config, ' ') }),
		"the configuration is huge":     description(func(im *image.Image) { im.Config = make([]byte, 5*mib) }),
		"the image is another":          description(func(im *image.Image) { im.ID = imagetest.Digest(nil) }),
		"chains are wrong, and mean nothing": description(func(im *image.Image) {
			im.Layers[0].Chain, im.Layers[1].Chain = "../../etc", imagetest.Digest(nil)
		}),
		"no JSON": func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>") },
		"an endless description": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, mib)); err != nil {
					return
				}
			}
		},
		"silence":          func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"an endless error": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500); endless(w, r) },
		"an endless layer": layer(endless),
		"layers from other bytes": layer(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes 5-100/200")
			w.WriteHeader(http.StatusPartialContent)
		}),
		"a part that has no end": layer(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %s-%d/%d", "0", 3*mib-1, 3*mib))
			w.WriteHeader(http.StatusPartialContent)
			endless(w, r)
		}),
		"a chain to nowhere": layer(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Ddocker-Forwarder", "nobody")
			w.WriteHeader(http.StatusTemporaryRedirect)
		}),
		"a flipped bit": layer(func(w http.ResponseWriter, r *http.Request) {
			answer := httptest.NewRecorder()
			honest.mover.Handler().ServeHTTP(answer, r)
			for key, values := range answer.Header() {
				w.Header()[key] = values
			}
			w.WriteHeader(answer.Code)
			body := answer.Body.Bytes()
			body[len(body)/2] ^= 4
			w.Write(body)
		}),
	}
}

func endless(w http.ResponseWriter, r *http.Request) {
	for zeros := make([]byte, mib); r.Context().Err() == nil; {
		if _, err := w.Write(zeros); err != nil {
			return
		}
	}
}

func TestALyingSourceIsSeenThrough(t *testing.T) {
	layers := [][]byte{noise(1, 3*mib), noise(2, mib)}
	honest := imagetest.NewStore()
	id := honest.Add(layers...)
	for name := range liars(nil, id) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				a, b, c := w.host("a"), w.host("b"), w.host("c")
				a.Add(layers...)
				w.serve("liar", liars(a, id)[name])
				if err := b.mover.Bring(t.Context(), b.want(id, "liar", "a")); err != nil {
					t.Errorf("beside an honest one: %v", err)
				}
				w.has(b, id, layers...)
				err := c.mover.Bring(t.Context(), c.want(id, "liar"))
				var failed *image.HoldersError
				if name == "chains are wrong, and mean nothing" {
					if err != nil {
						t.Errorf("alone: %v", err)
					}
					return
				}
				if !errors.As(err, &failed) || len(failed.Failures) != 1 {
					t.Errorf("alone: got %v", err)
				}
				w.empty(c)
			})
		})
	}
}

// When two holders sent parts of a layer that is wrong, nobody knows whose part it
// was: the honest one is asked again.
func TestAnHonestSourceIsNotBlamedForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b, c := w.host("a"), w.host("b"), w.host("c")
		id := a.Add(noise(1, 8*mib))
		c.Add(noise(1, 8*mib))
		c.Damage(id, 0, 7*mib)
		w.net.Hook("a", cutAt(4*mib))
		if err := b.mover.Bring(t.Context(), b.want(id, "a", "c")); err != nil {
			t.Fatal(err)
		}
		w.has(b, id, noise(1, 8*mib))
	})
}

func TestAnImageRemovedAtItsSourceComesFromAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b, c, d := w.host("a"), w.host("b"), w.host("c"), w.host("d")
		id := a.Add(noise(1, 8*mib))
		c.Add(noise(1, 8*mib))
		w.net.Hook("a", func(sent int64) error {
			if sent > 4*mib {
				a.Drop(id)
			}
			return nil
		})
		if err := b.mover.Bring(t.Context(), b.want(id, "a", "c")); err != nil {
			t.Fatal(err)
		}
		w.has(b, id, noise(1, 8*mib))
		err := d.mover.Bring(t.Context(), d.want(id, "a"))
		if !errors.Is(err, image.ErrUnknown) {
			t.Errorf("alone: got %v", err)
		}
		w.empty(d)
	})
}

// An engine without a readable store may work on an answer for minutes.
func TestASlowAnswerIsWaitedForWhileItIsWorkedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.host("b")
		a := w.host("a", func(c *image.Config) { c.Backend = slow{c.Backend} })
		id := a.Add(noise(1, mib))
		if err := b.mover.Bring(t.Context(), b.want(id, "a")); err != nil {
			t.Fatal(err)
		}
		w.has(b, id, noise(1, mib))
	})
}

// slow is a backend that answers after minutes.
type slow struct{ image.Backend }

func (s slow) Image(ctx context.Context, id string) (*image.Image, error) {
	time.Sleep(3 * time.Minute)
	return s.Backend.Image(ctx, id)
}

func (s slow) Open(ctx context.Context, id, chain string, offset int64) (io.ReadCloser, error) {
	time.Sleep(3 * time.Minute)
	return s.Backend.Open(ctx, id, chain, offset)
}

// What an agent left that died is seen by copying its journal when it does.
func TestAnAgentThatDiesLeavesNothingHalfLoaded(t *testing.T) {
	for name, c := range map[string]struct {
		loaded, named, late bool
		want                string
	}{
		"before the engine had it":             {want: "nothing"},
		"before an engine that is slow had it": {late: true, want: "nothing"},
		"before it was named":                  {loaded: true, want: "nothing"},
		"before the name was recorded":         {loaded: true, named: true, want: "a copy"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				a, b := w.host("a"), w.host("b")
				id, journal := a.Add(noise(1, mib)), t.TempDir()
				want := b.want(id, "a")
				want.Keep = func(context.Context) error { return os.CopyFS(journal, os.DirFS(b.dir)) }
				if err := b.mover.Bring(t.Context(), want); err != nil {
					t.Fatal(err)
				}
				if !c.loaded {
					b.Drop(id)
				}
				if c.named {
					b.Tag(id, "kept")
				}
				own := b.Add(noise(2, 100)) // without a name, and not the cluster's
				b.dir = journal
				w.start(b)
				ctx, stop := context.WithCancel(t.Context())
				ran := make(chan error, 1)
				go func() { ran <- b.mover.Run(ctx) }()
				if c.late {
					time.Sleep(30 * time.Second)
					b.Add(noise(1, mib))
				}
				time.Sleep(4 * time.Minute) // what an engine may still bring is waited for
				stop()
				if err := <-ran; err != nil {
					t.Error(err)
				}
				if _, _, _, err := b.Layers(t.Context(), own); err != nil {
					t.Error("the host's own image is gone")
				}
				b.Drop(own)
				if c.want == "nothing" {
					w.empty(b)
				} else {
					w.has(b, id, noise(1, mib))
				}
			})
		})
	}
}

func TestWhatCannotBeRemovedYetIsRemovedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.host("a")
		var down atomic.Bool
		down.Store(true)
		b := w.host("b", func(c *image.Config) {
			remove := c.Remove
			c.Remove = func(ctx context.Context, id string) error {
				if down.Load() {
					return errors.New("the engine is away")
				}
				return remove(ctx, id)
			}
		})
		want := b.want(a.Add(noise(1, mib)), "a")
		want.Keep = func(context.Context) error { return errors.New("the tag moved") }
		if err := b.mover.Bring(t.Context(), want); err == nil {
			t.Fatal("it was named")
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go b.mover.Run(ctx)
		time.Sleep(90 * time.Second)
		if images, _ := b.Held(); images != 1 {
			t.Error("it was removed while that was not possible")
		}
		down.Store(false)
		time.Sleep(time.Minute)
		w.empty(b)
		stop()
		synctest.Wait()
	})
}

func TestCopiesAreKnownOverRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.host("a"), w.host("b")
		id, began := a.Add(noise(1, 100)), time.Now()
		if err := b.mover.Bring(t.Context(), b.want(id, "a")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		b.mover.Used(id)
		b.mover.Used(imagetest.Digest(nil))
		b.mover.Used("../x")
		w.start(b)
		if copies := b.mover.Copies(); len(copies) != 1 || copies[0].ID != id || copies[0].Used.Sub(began) != time.Hour {
			t.Errorf("got %v", copies)
		}
		b.mover.Forget(id)
		if copies := b.mover.Copies(); len(copies) > 0 {
			t.Errorf("got %v", copies)
		}
	})
}
