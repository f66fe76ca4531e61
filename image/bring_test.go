package image_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ddocker/image"
	"ddocker/image/imagetest"
)

func TestOnlyMissingLayersMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.host("a"), w.host("b")
		base, top := noise(1, 8*mib), noise(2, mib)
		b.Add(base)
		id := a.Add(base, top)
		if err := b.mover.Bring(t.Context(), b.want(id, "a")); err != nil {
			t.Fatal(err)
		}
		w.has(b, id, base, top)
		if sent := w.net.Sent("a"); sent > mib*102/100 {
			t.Errorf("%d bytes were sent for a layer of %d", sent, mib)
		}
	})
}

func TestOddImagesMove(t *testing.T) {
	many := make([][]byte, 127)
	for i := range many {
		many[i] = noise(byte(i), 100+i)
	}
	same := noise(9, 5000)
	for name, layers := range map[string][][]byte{
		"no layer":             {},
		"an empty layer":       {{}},
		"an empty one between": {noise(1, 100), {}, noise(2, 100)},
		"one byte":             {{1}},
		"the window exactly":   {noise(3, 4*mib)},
		"a byte more":          {noise(4, 4*mib+1)},
		"a layer twice":        {same, noise(1, 10), same},
		"127 layers":           many,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				a, b := w.host("a"), w.host("b")
				id := a.Add(layers...)
				if err := b.mover.Bring(t.Context(), b.want(id, "a")); err != nil {
					t.Fatal(err)
				}
				w.has(b, id, layers...)
			})
		})
	}
}

func TestAnImageThatIsHereIsOnlyNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.host("b")
		id := b.Add(noise(1, 100))
		if err := b.mover.Bring(t.Context(), b.want(id)); err != nil {
			t.Fatal(err)
		}
		if tags, _ := b.List(t.Context()); !slices.Contains(tags[id], "kept") {
			t.Errorf("it has the names %q", tags[id])
		}
		if copies := b.mover.Copies(); len(copies) > 0 {
			t.Errorf("the host's own image is among the cluster's copies %v", copies)
		}
		want := b.want(id)
		want.Keep = func(context.Context) error { return errors.New("the tag moved") }
		if err := b.mover.Bring(t.Context(), want); err == nil {
			t.Error("nobody heard that it was not named")
		}
		if images, _ := b.Held(); images != 1 {
			t.Error("the host's own image is gone")
		}
	})
}

func TestAFailedNameUndoesTheImage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.host("a"), w.host("b")
		id := a.Add(noise(1, 1000))
		moved := errors.New("the tag moved")
		want := b.want(id, "a")
		want.Keep = func(context.Context) error {
			if images, _ := b.Held(); images != 1 {
				t.Error("the image is not here yet")
			}
			return moved
		}
		if err := b.mover.Bring(t.Context(), want); !errors.Is(err, moved) {
			t.Errorf("got %v", err)
		}
		w.empty(b)
	})
}

func TestTwoWantsLoadOnceAndEachNamesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		loads := 0
		a := w.host("a")
		b := w.host("b", func(c *image.Config) {
			store := c.Engine.(*imagetest.Store)
			c.Engine = engine{store, func(ctx context.Context, r io.Reader) error {
				loads++
				return store.Load(ctx, r)
			}}
		})
		w.net.Limit("a", mib)
		id := a.Add(noise(1, 4*mib))
		outcome := make(chan error, 2)
		first, second := b.want(id, "a"), b.want(id, "a")
		second.Keep = func(context.Context) error { return errors.New("the tag moved") }
		go func() { outcome <- b.mover.Bring(t.Context(), first) }()
		time.Sleep(time.Second)
		if err := b.mover.Bring(t.Context(), second); err == nil {
			t.Error("the second heard nothing of its failed name")
		}
		if err := <-outcome; err != nil {
			t.Error(err)
		}
		if loads != 1 {
			t.Errorf("%d loads", loads)
		}
		w.has(b, id, noise(1, 4*mib))
	})
}

func TestALoadGoesOnWhileOneCallerIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.host("a"), w.host("b")
		w.net.Limit("a", mib)
		id := a.Add(noise(1, 8*mib))
		outcome := make(chan error, 1)
		leaves, leave := context.WithCancel(t.Context())
		go func() { outcome <- b.mover.Bring(leaves, b.want(id, "a")) }()
		time.Sleep(2 * time.Second)
		stays := make(chan error, 1)
		go func() { stays <- b.mover.Bring(t.Context(), b.want(id, "a")) }()
		synctest.Wait()
		leave()
		if err := <-outcome; !errors.Is(err, context.Canceled) {
			t.Errorf("the first got %v", err)
		}
		if err := <-stays; err != nil {
			t.Error(err)
		}
		w.has(b, id, noise(1, 8*mib))
		if sent := w.net.Sent("a"); sent > 9*mib {
			t.Errorf("%d bytes were sent", sent)
		}
	})
}

// What has come and is verified is not thrown away because whoever asked for it
// goes while it is given its name.
func TestAnImageThatIsHereIsKeptWhenItsCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.host("a"), w.host("b")
		layer := noise(1, mib)
		id := a.Add(layer)
		want := b.want(id, "a")
		ctx, leave := context.WithCancel(t.Context())
		keep := want.Keep
		want.Keep = func(ctx context.Context) error {
			leave()
			time.Sleep(time.Second)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return keep(ctx)
		}
		if err := b.mover.Bring(ctx, want); !errors.Is(err, context.Canceled) {
			t.Errorf("the caller that left hears %v", err)
		}
		time.Sleep(2 * time.Second)
		w.has(b, id, layer)
	})
}

func TestTheLastCallerTakesTheLoadAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.host("a"), w.host("b")
		w.net.Limit("a", mib)
		id := a.Add(noise(1, 8*mib))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := b.mover.Bring(ctx, b.want(id, "a")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		w.bare(b)
		if err := b.mover.Bring(t.Context(), b.want(id, "a")); err != nil {
			t.Error("again: ", err)
		}
	})
}

func TestTheAgentsEndEndsLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.host("a"), w.host("b")
		w.net.Limit("a", mib)
		id := a.Add(noise(1, 8*mib))
		ctx, stop := context.WithCancel(t.Context())
		ran, outcome := make(chan error, 1), make(chan error, 1)
		go func() { ran <- b.mover.Run(ctx) }()
		go func() { outcome <- b.mover.Bring(t.Context(), b.want(id, "a")) }()
		time.Sleep(2 * time.Second)
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		w.bare(b)
		if err := <-outcome; err == nil || !strings.Contains(err.Error(), "the agent stops") {
			t.Errorf("got %v", err)
		}
		if err := b.mover.Bring(t.Context(), b.want(id, "a")); err == nil {
			t.Error("it goes on after its end")
		}
	})
}

func TestADiskWithoutRoomIsSeenBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.host("a")
		b := w.host("b", func(c *image.Config) {
			c.Disk = func() (free, total int64, err error) { return 2*mib - 1, 100 * mib, nil }
			c.Engine = engine{c.Engine.(*imagetest.Store), func(context.Context, io.Reader) error {
				t.Error("it is loaded")
				return nil
			}}
		})
		id := a.Add(noise(1, mib))
		var full *image.NoRoomError
		if err := b.mover.Bring(t.Context(), b.want(id, "a")); !errors.As(err, &full) || full.Need != 2*mib || full.Free != 2*mib-1 {
			t.Errorf("got %v", err)
		}
		w.empty(b)
	})
}

func TestADiskThatFillsUpIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.host("a")
		b := w.host("b", func(c *image.Config) {
			c.Engine = engine{c.Engine.(*imagetest.Store), func(_ context.Context, r io.Reader) error {
				go io.Copy(io.Discard, r) // it ends with the load
				time.Sleep(5 * time.Second)
				return errors.New("Error processing tar file(exit status 1): write /x: no space left on device")
			}}
		})
		id := a.Add(noise(1, 8*mib))
		w.net.Hook("a", func(sent int64) error {
			if sent > 3*mib {
				time.Sleep(time.Hour) // nobody waits for more of the layer
			}
			return nil
		})
		began := time.Now()
		var full *image.NoRoomError
		err := b.mover.Bring(t.Context(), b.want(id, "a"))
		if !errors.As(err, &full) || !strings.Contains(err.Error(), syscall.ENOSPC.Error()) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("it was told after %s", took)
		}
		w.empty(b)
	})
}

// An engine that takes a broken archive for a whole one leaves what is not wanted.
func TestWhatAnEngineTookWronglyIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.host("a")
		layer := noise(1, 2*mib)
		b := w.host("b", func(c *image.Config) {
			store := c.Engine.(*imagetest.Store)
			c.Engine = engine{store, func(_ context.Context, r io.Reader) error {
				io.Copy(io.Discard, r)
				store.Add(layer)
				return nil
			}}
		})
		id := a.Add(layer)
		a.Damage(id, 0, mib)
		if err := b.mover.Bring(t.Context(), b.want(id, "a")); err == nil || !strings.Contains(err.Error(), "came damaged") {
			t.Errorf("got %v", err)
		}
		w.empty(b)
	})
}

func TestProgressIsToldInDockersWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.host("a"), w.host("b")
		w.net.Limit("a", mib)
		base, top := noise(1, 1000), noise(2, 2*mib)
		b.Add(base)
		want := b.want(a.Add(base, top), "a")
		said := map[string][]string{}
		var most int64
		want.Report = func(p image.Progress) {
			time.Sleep(time.Minute) // a client that reads slowly holds nothing up
			if told := said[p.Layer]; len(told) == 0 || told[len(told)-1] != p.Status {
				said[p.Layer] = append(told, p.Status)
			}
			most = max(most, p.Current)
		}
		if err := b.mover.Bring(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		if got := said[imagetest.Digest(base)]; !slices.Equal(got, []string{"Already exists"}) {
			t.Errorf("of the base it said %q", got)
		}
		if got := said[imagetest.Digest(top)]; !slices.Equal(got, []string{"Pulling fs layer", "Downloading", "Download complete", "Pull complete"}) {
			t.Errorf("of the top it said %q", got)
		}
		if most > 2*mib {
			t.Errorf("it counted to %d", most)
		}
	})
}
