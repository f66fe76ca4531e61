package gossip

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func ring(keys ...byte) (list [][]byte) {
	for _, k := range keys {
		list = append(list, bytes.Repeat([]byte{k}, 32))
	}
	return list
}

func (n *node) mustSetKeys(t *testing.T, keys ...byte) {
	t.Helper()
	if err := n.SetKeys(ring(keys...)); err != nil {
		t.Fatal(err)
	}
}

// The old key's holder is the one who was put out.
func TestTheKeyIsChangedStepByStepAndNobodyIsLostButWhoLacksIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		all := l.startAll(4)
		out, in := all[3], all[:3]
		whole := func(when string) {
			t.Helper()
			time.Sleep(settled)
			if !everyone(in, func(o *node) bool { return o.living() >= 3 }) {
				t.Errorf("members are lost %s", when)
			}
		}
		for _, step := range [][]byte{{1, 2}, {2, 1}, {2}} {
			for _, n := range in { // in turn: in between some have made the step and some have not
				n.mustSetKeys(t, step...)
				time.Sleep(5 * time.Second)
			}
			whole(fmt.Sprintf("with keys %v", step))
		}
		l.within(settled, "who lacks the new key is out", func() bool {
			return everyone(in, func(o *node) bool { return o.living() == 3 }) && out.living() == 1
		})
	})
}

func TestKeysAreReplacedWhateverTheyWere(t *testing.T) {
	g, err := New(validConfig())
	if err != nil {
		t.Fatal(err)
	}
	n := &node{Gossip: g}
	for _, keys := range [][]byte{{1}, {1, 2}, {2, 1}, {2, 1, 3, 4}, {4, 2}, {4, 1, 2, 3}, {3, 1}, {5}} {
		n.mustSetKeys(t, keys...)
		have := slices.Clone(g.ring.GetKeys())
		want := ring(keys...)
		if !bytes.Equal(have[0], want[0]) || len(have) != len(want) {
			t.Fatalf("keys %v became %v", keys, have)
		}
		for _, k := range want {
			if !slices.ContainsFunc(have, func(h []byte) bool { return bytes.Equal(h, k) }) {
				t.Fatalf("key %d of %v is missing", k[0], keys)
			}
		}
	}
	if err := g.SetKeys([][]byte{{1}}); err == nil {
		t.Error("a key of one byte was taken")
	}
}

// Whatever comes over the wire, from whoever has the key, is taken or dropped.
func FuzzWhatMembersSay(f *testing.F) {
	b := newBoard("n2", 7)
	b.set(Load{Containers: 3})
	mine, _ := b.mine()
	f.Add(mine.encode(nil), encodeMeta(Member{Name: "gpu1", Version: "v1"}))
	f.Add([]byte{}, []byte{})
	f.Add(append(b.encode(), 1, 2, 3), []byte{metaVersion, 200, 1})
	f.Fuzz(func(t *testing.T, said, meta []byte) {
		g, err := New(validConfig())
		if err != nil {
			t.Fatal(err)
		}
		d := delegate{g}
		d.NotifyMsg(said)
		d.MergeRemoteState(said, true)
		if n := len(d.LocalState(false)); n%recordSize != 0 || n > len(said)+recordSize {
			t.Errorf("%d bytes became %d of state", len(said), n)
		}
		name, version, err := decodeMeta(meta)
		if err == nil && (len(name) > 4*len(meta) || len(version) > 4*len(meta)) {
			t.Errorf("%d bytes became %q and %q", len(meta), name, version)
		}
	})
}
