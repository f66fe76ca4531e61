package consensus

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ddocker/consensus/ledger"
)

// recover makes a node that is off the only voter.
func (nd *node) recoverAlone() {
	nd.of.t.Helper()
	rem, err := Examine(nd.stores)
	if err == nil {
		err = Recover(nd.stores, rem, nd.id, nd.ip)
	}
	if err != nil {
		nd.of.t.Fatal(err)
	}
}

func TestALostMajorityIsRecoveredByOneNode(t *testing.T) {
	for _, c := range []struct {
		name  string
		nodes int
		by    func(c *cluster) *node
	}{
		{"a voter of three", 3, func(c *cluster) *node { return c.others(c.leader())[0] }},
		{"one of nine that was only fed", 9, func(c *cluster) *node { return c.wantReaders(2)[0] }},
	} {
		t.Run(c.name, func(t *testing.T) {
			inCluster(t, c.nodes, func(t *testing.T, cl *cluster) {
				by := c.by(cl)
				others := cl.others(by)
				by.propose(write(41))
				index := by.propose(write(42))
				if err := by.Wait(t.Context(), index); err != nil {
					t.Fatal(err)
				}
				by.halt()
				for range 20 {
					others[0].propose(write(43)) // which is lost with the others
				}
				time.Sleep(time.Second)
				for _, o := range others {
					o.halt()
				}
				rem, err := Examine(by.stores)
				if err != nil || rem.Index < index || rem.Term == 0 || len(rem.Voters) != votersFor(c.nodes) {
					t.Fatalf("its stores hold %+v, %v", rem, err)
				}
				by.recoverAlone()
				by.start()
				if err := by.Read(t.Context()); err != nil || by.value() != 42 {
					t.Fatalf("recovered it reads %d, error %v", by.value(), err)
				}
				by.propose(write(44))
				for _, o := range others {
					o.start()
				}
				for _, o := range others {
					cl.eventually("the others follow it", func() bool { return o.value() == 44 })
				}
				cl.within(5*time.Minute, "all is well again", cl.complete)
			})
		})
	}
}

func TestARestoredSnapshotIsEverybodysLedger(t *testing.T) {
	inCluster(t, 8, func(t *testing.T, c *cluster) {
		n := c.wantReaders(1)[0]
		n.propose(write(1))
		if err := n.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
		var saved bytes.Buffer
		n.View(func(l *ledger.Ledger) {
			if _, err := l.Snapshot().WriteTo(&saved); err != nil {
				t.Error(err)
			}
		})
		n.propose(write(2))
		if err := n.Restore(t.Context(), saved.Bytes()); err == nil {
			t.Error("a node that does not lead restored it")
		}
		if err := c.leader().Restore(t.Context(), []byte(`{"v":4`)); err == nil {
			t.Error("half a snapshot was restored")
		}
		if err := c.leader().Restore(t.Context(), saved.Bytes()); err != nil {
			t.Fatal(err)
		}
		for _, o := range c.nodes {
			c.eventually("it has the saved ledger", func() bool { return o.value() == 1 })
		}
		index := n.propose(write(3))
		for _, o := range c.nodes {
			if err := o.Wait(t.Context(), index); err != nil || o.value() != 3 {
				t.Errorf("%s has %d, error %v", o.id, o.value(), err)
			}
		}
		c.leader().crash()
		n.propose(write(4))
		if !slices.ContainsFunc(c.nodes, func(o *node) bool { return o.host == nil }) {
			t.Error("nobody is off")
		}
	})
}

func TestALogOnDiskIsWholeAfterARestoreAndARecovery(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 20)
	var saved bytes.Buffer
	for life := range 3 {
		synctest.Test(t, func(t *testing.T) {
			n := onDisk(t, dir)
			n.open()
			n.run()
			if err := n.Read(t.Context()); err != nil || n.value() != 20+uint16(life) {
				t.Errorf("value %d, error %v", n.value(), err)
			}
			if life == 0 {
				n.register()
				n.View(func(l *ledger.Ledger) { l.Snapshot().WriteTo(&saved) })
				if err := n.Restore(t.Context(), saved.Bytes()); err != nil {
					t.Error(err)
				}
			}
			n.propose(write(21 + uint16(life)))
			n.halt()
		})
		if life == 1 {
			stores, err := OpenStores(dir, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			rem, err := Examine(stores)
			if err == nil {
				err = Recover(stores, rem, "n1", "10.0.0.1")
			}
			if err = errors.Join(err, stores.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
}
