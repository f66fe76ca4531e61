package image

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// Whatever the sizes and speeds, every reader of a flow gets the same bytes.
func TestAFlowGivesEveryReaderTheSameBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		layer := rapid.SliceOfN(rapid.Byte(), 1, 500).Draw(t, "layer")
		window := rapid.IntRange(1, 64).Draw(t, "window")
		steps := rapid.SliceOfN(rapid.IntRange(1, 20), 3, 3).Draw(t, "steps")
		fl := newFlow(int64(len(layer)), make([]byte, min(window, len(layer))), func([]byte) {})
		var followers []*follower
		for range rapid.IntRange(0, 3).Draw(t, "followers") {
			fo, err := fl.follow(0, false)
			if err != nil {
				t.Fatal(err)
			}
			followers = append(followers, fo)
		}
		var all sync.WaitGroup
		all.Go(func() {
			for at := 0; at < len(layer); {
				p, err := fl.space(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				n := copy(p[:min(len(p), steps[0])], layer[at:])
				fl.filled(n)
				at += n
			}
		})
		for _, fo := range followers {
			all.Go(func() {
				var got []byte
				for p := make([]byte, steps[1]); ; {
					n, err := fo.read(context.Background(), p)
					got = append(got, p[:n]...)
					if err != nil {
						break
					}
				}
				if !bytes.Equal(got, layer) {
					t.Errorf("a follower got %d bytes of %d", len(got), len(layer))
				}
				fo.close()
			})
		}
		var got []byte
		for {
			p, err := fl.next(context.Background())
			if err == io.EOF {
				break
			}
			p = p[:min(len(p), steps[2])]
			got = append(got, p...)
			fl.taken(len(p))
		}
		all.Wait()
		if !bytes.Equal(got, layer) {
			t.Errorf("the engine got %d bytes of %d", len(got), len(layer))
		}
	})
}

// run fills and drains a flow as fast as it goes, and returns when all came.
func run(t *testing.T, fl *flow) {
	go func() {
		for fl.position() < fl.size {
			p, err := fl.space(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			fl.filled(len(p))
		}
	}()
	for {
		p, err := fl.next(t.Context())
		if err != nil {
			return
		}
		fl.taken(len(p))
	}
}

func TestAFollowerThatReadsNothingIsDroppedWhenPatienceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fl := newFlow(100, make([]byte, 10), func([]byte) {})
		fo, err := fl.follow(0, false)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		run(t, fl)
		if took := time.Since(began); took < patience || took > 2*patience {
			t.Errorf("it was waited for for %s", took)
		}
		if _, err := fo.read(t.Context(), make([]byte, 10)); !errors.Is(err, errSlow) {
			t.Errorf("it reads on: %v", err)
		}
	})
}

func TestAFollowerMayComeLateAndFinishLate(t *testing.T) {
	given := false
	fl := newFlow(100, make([]byte, 10), func([]byte) { given = true })
	for range 3 {
		p, _ := fl.space(t.Context())
		fl.filled(len(p))
		fl.taken(len(p))
	}
	if _, err := fl.follow(5, false); !errors.Is(err, errPassed) {
		t.Errorf("from byte 5 of a window from 20 to 30: %v", err)
	}
	if _, err := fl.follow(31, true); !errors.Is(err, errPassed) {
		t.Errorf("from a byte that did not come yet: %v", err)
	}
	late, err := fl.follow(5, true)
	if err != nil || late.pos != 30 {
		t.Fatalf("late, it begins at %d: %v", late.pos, err)
	}
	within, err := fl.follow(25, false)
	if err != nil || within.pos != 25 {
		t.Fatalf("within the window, it begins at %d: %v", within.pos, err)
	}
	within.close()
	fl.fail(io.ErrUnexpectedEOF)
	fl.leave()
	fl.leave()
	if given {
		t.Error("the window was given back while it is read")
	}
	if _, err := late.read(t.Context(), make([]byte, 1)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("after a failure it reads %v", err)
	}
	late.close()
	if !given {
		t.Error("nobody uses the window, and it was not given back")
	}
}

func TestALineLeadsNewcomersToItsLast(t *testing.T) {
	const size = 100 * windowSize
	p := part{"image", "layer"}
	var ls lines
	whole := span{0, size}
	to, s := ls.join(p, newcomer{"a", whole, size, false})
	if to != "" {
		t.Fatalf("the first is led to %s", to)
	}
	s.pos.Store(2 * windowSize)
	for _, c := range []struct {
		node   string
		asked  span
		direct bool
		want   string
	}{
		{"b", whole, false, "a"},
		{"c", whole, false, "b"},
		{"b", span{0, windowSize}, true, ""},         // what it came too late for
		{"d", span{3 * windowSize, size}, false, ""}, // it is ahead of the chain
		{"e", whole, false, "d"},
		{"", whole, false, ""}, // nobody knows who that is, so nobody can follow it
		{"f", whole, false, ""},
		{"f", whole, false, ""}, // it cannot follow itself
		{"g", whole, false, "f"},
	} {
		if to, _ := ls.join(p, newcomer{c.node, c.asked, size, c.direct}); to != c.want {
			t.Errorf("%q from %d is led to %q, not %q", c.node, c.asked.from, to, c.want)
		}
	}
	l := ls.byOf[p]
	if l.behind != windowSize {
		t.Errorf("late comers cost %d bytes", l.behind)
	}
	l.lead.pos.Store(size - windowSize/2)
	if to, _ := ls.join(p, newcomer{"h", whole, size, false}); to != "" {
		t.Errorf("one that would cost too much is led to %s", to)
	}
	for range l.sends {
		ls.leave(p)
	}
	if len(ls.byOf) != 0 {
		t.Error("a line lasts after its last sending")
	}
}
