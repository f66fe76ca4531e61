package gossip

import (
	"bytes"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

func someRecord(id string, epoch uint64, seq uint32) record {
	return record{recordVersion, keyOf(id), epoch, seq, Load{
		FreeMilliCPU: math.MaxUint32, FreeMemoryMiB: 2, FreeGPUs: 3, CPUPercent: 4,
		MemoryPercent: 5, Containers: 6, AppliedIndex: math.MaxUint64,
	}}
}

func TestARecordIsAtMost48BytesAndSurvivesTheWire(t *testing.T) {
	want := someRecord("n1", 7, 8)
	b := want.encode(nil)
	if len(b) != recordSize || len(b) > 48 {
		t.Errorf("a record has %d bytes", len(b))
	}
	got, err := decodeRecord(b)
	if err != nil || got != want {
		t.Errorf("decoded %+v, %v; want %+v", got, err, want)
	}
}

func TestARecordOfAnotherVersionOrLengthIsRefused(t *testing.T) {
	good := someRecord("n1", 7, 8).encode(nil)
	newer := bytes.Clone(good)
	newer[0]++
	for name, b := range map[string][]byte{
		"nothing": nil, "cut off": good[:recordSize-1], "too long": append(bytes.Clone(good), 0), "newer": newer,
	} {
		if _, err := decodeRecord(b); err == nil {
			t.Errorf("%s: decoded", name)
		}
	}
}

func TestTheLaterRecordOfANodeWins(t *testing.T) {
	for _, c := range []struct {
		name       string
		epoch      uint64
		seq        uint32
		wins, news bool
	}{
		{"a later number", 10, 6, true, true},
		{"the same again", 10, 5, false, false},
		{"an earlier number", 10, 4, false, false},
		{"a later start", 11, 1, true, true},
		{"an earlier start", 9, 100, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBoard("me", 1)
			b.merge(someRecord("n1", 10, 5))
			next := someRecord("n1", c.epoch, c.seq)
			next.Load.FreeGPUs = 99
			if news := b.merge(next); news != c.news {
				t.Errorf("news is %v", news)
			}
			if l, _ := b.get("n1"); (l.FreeGPUs == 99) != c.wins {
				t.Errorf("the board shows %+v", l)
			}
		})
	}
}

func TestNobodyElseSetsThisNodesLoad(t *testing.T) {
	b := newBoard("me", 10)
	b.set(Load{Containers: 1})
	for _, r := range []record{someRecord("me", 10, 99), someRecord("me", 50, 1)} {
		if b.merge(r) {
			t.Error("its own record came back as news")
		}
	}
	mine, _ := b.mine()
	if mine.Load != (Load{Containers: 1}) || !mine.after(someRecord("me", 50, 99)) {
		t.Errorf("its record is %+v", mine)
	}
}

func TestTheBoardIsBounded(t *testing.T) {
	b := newBoard("me", 1)
	for i := range maxMembers + 10 {
		b.merge(record{Version: recordVersion, Node: nodeKey{1, byte(i >> 8), byte(i)}})
	}
	if n := len(b.records); n > maxMembers {
		t.Errorf("it holds %d records", n)
	}
}

func TestWhenALoadIsDue(t *testing.T) {
	base := Load{FreeMilliCPU: 1000, FreeMemoryMiB: 1024, CPUPercent: 50, MemoryPercent: 50}
	for _, c := range []struct {
		name   string
		nodes  int
		change func(*Load)
		want   time.Duration
	}{
		{"nothing changed", 3, func(*Load) {}, heartbeat},
		{"little changed", 3, func(l *Load) { l.CPUPercent, l.FreeMemoryMiB, l.AppliedIndex = 54, 1100, 9 }, heartbeat},
		{"a container more", 3, func(l *Load) { l.Containers++ }, 2 * time.Second},
		{"a GPU more", 400, func(l *Load) { l.FreeGPUs++ }, 2 * time.Second},
		{"ten percent more", 3, func(l *Load) { l.CPUPercent += 10 }, 2 * time.Second},
		{"a core less, of many nodes", 1000, func(l *Load) { l.FreeMilliCPU = 0 }, 5 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			next := base
			c.change(&next)
			if got := untilDue(base, next, c.nodes); got != c.want {
				t.Errorf("due after %v, want %v", got, c.want)
			}
		})
	}
}

func TestLoadsThatChangeAllTheTimeAreSentEvery2Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		all := l.startAll(2)
		heard := 0
		var last Load
		for i := range 600 {
			all[0].SetLoad(Load{Containers: uint16(i)})
			time.Sleep(100 * time.Millisecond)
			if now, ok := all[1].Load("n1"); ok && now != last {
				heard, last = heard+1, now
			}
		}
		// 30 of them sent, the rest in the full exchanges of either side.
		if heard < 20 || heard > 35 {
			t.Errorf("in a minute %d loads were heard", heard)
		}
		time.Sleep(3 * time.Second)
		if now, _ := all[1].Load("n1"); now.Containers != 599 {
			t.Errorf("the last load heard is %+v", now)
		}
		mine, _ := all[0].Load("n1")
		if mine.Containers != 599 {
			t.Errorf("its own load is %+v", mine)
		}
	})
}

func FuzzHostileBytesNeverPanic(f *testing.F) {
	good := someRecord("n1", 7, 8).encode(nil)
	f.Add(good)
	f.Add(append(bytes.Clone(good), good...))
	f.Add(encodeMeta(Member{Name: "host", Version: "v1"}))
	f.Add([]byte{metaVersion, 255, 'x'})
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := New(validConfig())
		if err != nil {
			t.Fatal(err)
		}
		d := delegate{g}
		d.NotifyMsg(b)
		d.MergeRemoteState(b, true)
		if n := len(g.board.records); n > 1+len(b)/recordSize {
			t.Errorf("%d records from %d bytes", n, len(b))
		}
		decodeMeta(b)
	})
}
