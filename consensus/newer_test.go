package consensus

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"ddocker/consensus/ledger"
)

func wantUpgrade(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), "upgrade ddocker on this machine") {
		t.Errorf("%s: got %v", what, err)
	}
}

func TestANodeThatMeetsAnEntryOfANewerVersionEndsAndLeavesItInTheLog(t *testing.T) {
	inCluster(t, 1, func(t *testing.T, c *cluster) {
		n := c.nodes[0]
		before := n.propose(write(1))
		r := n.raft.Load()
		newer := r.Apply([]byte(`{"v":99,"release":{"placement":"p1"}}`), time.Second)
		later := r.Apply([]byte(`{"v":1,"release":{"placement":"p2"}}`), time.Second)
		for what, f := range map[string]raft.ApplyFuture{"the entry": newer, "the next": later} {
			if err := f.Error(); err != nil {
				t.Fatal(err)
			}
			if res, ok := f.Response().(ledger.Result); ok {
				t.Errorf("%s was carried out: %+v", what, res)
			}
		}
		if err := r.Snapshot().Error(); err == nil {
			t.Error("there is a snapshot past the entry")
		}
		if _, err := n.readIndex(t.Context()); err == nil {
			t.Error("it answers for what it has not applied")
		}
		for _, life := range []string{"when it meets it", "when it is started again"} {
			wantUpgrade(t, life, <-n.ended)
			if n.Applied() != before {
				t.Errorf("%s: applied up to %d, want %d", life, n.Applied(), before)
			}
			n.off()
			n.start()
		}
		var kept raft.Log
		if err := n.stores.log.GetLog(newer.Index(), &kept); err != nil || !strings.Contains(string(kept.Data), `"v":99`) {
			t.Errorf("the log keeps %q, %v", kept.Data, err)
		}
		wantUpgrade(t, "at last", <-n.ended)
		n.off()
	})
}

func TestASnapshotOfANewerVersionHaltsAlsoWhereAnOlderOneIsRead(t *testing.T) {
	f := newFSM(NewStores(), nil)
	wantUpgrade(t, "newer", f.Restore(io.NopCloser(strings.NewReader(`{"v":99}`))))
	wantUpgrade(t, "older", f.Restore(io.NopCloser(strings.NewReader(`{"v":1,"index":7}`))))
	wantUpgrade(t, "halted", f.halted())
	if f.applied() != 0 {
		t.Errorf("applied up to %d", f.applied())
	}
	f = newFSM(NewStores(), nil)
	if err := f.Restore(io.NopCloser(strings.NewReader(`{"v":1,"images":-1}`))); err == nil || f.halted() != nil {
		t.Errorf("a damaged one: %v, %v", err, f.halted())
	}
}
