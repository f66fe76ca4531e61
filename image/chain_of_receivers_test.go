package image_test

import (
	"context"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"ddocker/image"
	"ddocker/image/imagetest"
)

const gigabit = 125e6 // bytes a second

// crowd is a source and receivers, all on equal links.
func crowd(w *world, receivers int, changes ...func(*image.Config)) (source *host, all []*host) {
	source = w.host("source")
	w.net.Limit("source", gigabit)
	for i := range receivers {
		h := w.host(fmt.Sprintf("r%d", i), changes...)
		w.net.Limit(h.name, gigabit)
		all = append(all, h)
	}
	return source, all
}

// together has all receivers bring the image, each begun gap after the last, and
// returns their outcomes when the last one is done.
func together(t *testing.T, all []*host, id string, gap time.Duration) []error {
	outcomes, done := make([]error, len(all)), make(chan int)
	for i, h := range all {
		go func() {
			outcomes[i] = h.mover.Bring(t.Context(), h.want(id, "source"))
			done <- i
		}()
		time.Sleep(gap)
	}
	for range all {
		<-done
	}
	return outcomes
}

func TestEightReceiversAtOnceFormAChain(t *testing.T) {
	layers := [][]byte{noise(1, 16*mib), noise(2, 4*mib)}
	const size = 20 * mib
	for _, c := range []struct {
		receivers int
		gap       time.Duration
	}{
		{8, 0}, {8, 5 * time.Millisecond}, {8, 15 * time.Millisecond},
		{3, 45 * time.Millisecond}, // the window is past the newcomer's first byte
	} {
		t.Run(fmt.Sprintf("%d, begun every %s", c.receivers, c.gap), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				source, all := crowd(w, c.receivers)
				id := source.Add(layers...)
				began := time.Now()
				for i, err := range together(t, all, id, c.gap) {
					if err != nil {
						t.Fatalf("%s: %v", all[i].name, err)
					}
				}
				took, alone := time.Since(began).Seconds(), float64(size)/gigabit
				for _, h := range all {
					w.has(h, id, layers...)
				}
				sent := float64(w.net.Sent("source"))
				t.Logf("the source sent the image %.2f times, the last receiver was done after %.2f times what one takes", sent/size, took/alone)
				if sent > 2*size {
					t.Errorf("the source sent %.2f times the image", sent/size)
				}
				if allowed := 1.5*alone + float64(c.receivers)*c.gap.Seconds(); took > allowed {
					t.Errorf("it took %.2fs, %.2fs alone", took, alone)
				}
			})
		})
	}
}

func TestAReceiverThatDiesDoesNotTakeTheChainAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		source, all := crowd(w, 8)
		layer := noise(1, 16*mib)
		id := source.Add(layer)
		dies, die := context.WithCancel(t.Context())
		time.AfterFunc(60*time.Millisecond, func() {
			w.net.Leave("r3")
			die()
		})
		dead := make(chan error, 1)
		rest := append(append([]*host{}, all[:3]...), all[4:]...)
		go func() { dead <- all[3].mover.Bring(dies, all[3].want(id, "source")) }()
		for i, err := range together(t, rest, id, 0) {
			if err != nil {
				t.Errorf("%s: %v", rest[i].name, err)
			}
			w.has(rest[i], id, layer)
		}
		if err := <-dead; err == nil {
			t.Error("the dead one has it too")
		}
		w.bare(all[3])
		if sent := w.net.Sent("source"); sent > 2*16*mib {
			t.Errorf("the source sent %d bytes", sent)
		}
	})
}

// hung is an engine that takes a part of an archive, and the rest much later.
func hung(c *image.Config) {
	store := c.Engine.(*imagetest.Store)
	c.Engine = engine{store, func(ctx context.Context, r io.Reader) error {
		return store.Load(ctx, &pausing{r, 8 * mib, 10 * time.Minute})
	}}
}

// pausing is a reader that pauses once.
type pausing struct {
	io.Reader
	after int
	pause time.Duration
}

func (p *pausing) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	if p.after -= n; p.after < 0 && p.pause > 0 {
		time.Sleep(p.pause)
		p.pause = 0
	}
	return n, err
}

func TestAHungReceiverIsPassedBy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		source, all := crowd(w, 4)
		slow := w.host("slow", hung)
		layer := noise(1, 16*mib)
		id := source.Add(layer)
		late := make(chan error, 1)
		began := time.Now()
		go func() { late <- slow.mover.Bring(t.Context(), slow.want(id, "source")) }()
		synctest.Wait() // it is the first of the chain
		for i, err := range together(t, all, id, 0) {
			if err != nil {
				t.Errorf("%s: %v", all[i].name, err)
			}
			w.has(all[i], id, layer)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("the others took %s", took)
		}
		if err := <-late; err != nil {
			t.Error("the slow one: ", err)
		}
		w.has(slow, id, layer)
	})
}

// Whoever is last in a chain and slow does not slow down those before it for long.
func TestASlowFollowerIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		source, all := crowd(w, 2)
		slow := w.host("slow", hung)
		layer := noise(1, 16*mib)
		id := source.Add(layer)
		late := make(chan error, 1)
		time.AfterFunc(10*time.Millisecond, func() {
			late <- slow.mover.Bring(t.Context(), slow.want(id, "source"))
		})
		began := time.Now()
		for i, err := range together(t, all, id, 0) {
			if err != nil {
				t.Errorf("%s: %v", all[i].name, err)
			}
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the others took %s", took)
		}
		if err := <-late; err != nil {
			t.Error("the slow one: ", err)
		}
	})
}
