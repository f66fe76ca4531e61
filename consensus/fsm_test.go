package consensus

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"ddocker/consensus/ledger"
)

func TestAnOlderSnapshotTakesNothingBack(t *testing.T) {
	f := newFSM(NewStores(), nil)
	var old bytes.Buffer
	for i, name := range []string{"a", "b"} {
		data, err := ledger.Encode(ledger.Command{Register: &ledger.Register{Node: name, Name: name}})
		if err != nil {
			t.Fatal(err)
		}
		f.Apply(&raft.Log{Index: uint64(i + 1), AppendedAt: time.Now(), Data: data})
		if i == 0 {
			f.view(func(l *ledger.Ledger) { l.Snapshot().WriteTo(&old) })
		}
	}
	if err := f.Restore(io.NopCloser(&old)); err != nil {
		t.Error(err)
	}
	if got := f.applied(); got != 2 {
		t.Errorf("the ledger is at %d", got)
	}
	f.view(func(l *ledger.Ledger) {
		if l.Node("b") == nil {
			t.Error("what was decided last is forgotten")
		}
	})
}

// Raft and a server that feeds this node may both bring it a command.
func TestACommandIsCarriedOutOnceWhoeverBringsIt(t *testing.T) {
	f := newFSM(NewStores(), nil)
	for i, c := range []ledger.Command{
		{AddToken: &ledger.Token{Hash: "h", Expires: time.Now().Add(time.Hour), Uses: 3}},
		{UseToken: &ledger.UseToken{Hash: "h"}},
	} {
		data, err := ledger.Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		index, now := uint64(i+1), time.Now()
		if err := f.feed([]entry{{index, now, data}, {index, now, data}}); err != nil {
			t.Fatal(err)
		}
		f.Apply(&raft.Log{Index: index, AppendedAt: now, Data: data})
	}
	f.view(func(l *ledger.Ledger) {
		if got := l.Tokens()[0].Uses; got != 2 {
			t.Errorf("a token for 3 is good for %d more after it was used once", got)
		}
	})
}
