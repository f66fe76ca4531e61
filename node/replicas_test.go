package node

import (
	"testing"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/sched"
)

func TestImagesAreCopiedUntilEnoughHostsHaveThem(t *testing.T) {
	inWorld(t, 4, func(w *world) {
		for _, h := range w.hosts {
			h.run()
		}
		id := w.hosts[2].publish("web:1", "code")
		w.within(30*time.Second, "a second host has it", func() bool { return len(w.holders(id)) == 2 })
		time.Sleep(5 * time.Minute)
		if on := w.holders(id); len(on) != 2 {
			t.Errorf("it is on %q", on)
		}
		for _, h := range w.hosts {
			if len(h.mover.Copies()) > 0 {
				h.wantTag("web:1", id)
			}
		}
	})
}

func TestCopyOfADeadHostIsReplaced(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		id := w.hosts[0].publish("web:1", "code")
		w.hosts[1].publish("web:1", "code")
		w.down["id-n2"] = true
		w.hosts[0].run()
		w.within(30*time.Second, "another host has it", func() bool { return len(w.holders(id)) == 3 })
	})
}

func TestHostThatCannotTakeACopyIsPassedOver(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		w.hosts[1].disk.set(1, 1<<40)
		id := w.hosts[0].publish("web:1", "code")
		w.hosts[0].run()
		w.within(30*time.Second, "another host has it", func() bool { return len(w.holders(id)) == 2 })
		wantList(t, "holders", w.holders(id), "n1", "n3")
	})
}

// fill makes the host's disk too full.
func (h *host) fill() {
	h.disk.set(1, 100)
	if err := h.evictCopies(h.w.Context()); err != nil {
		h.w.Fatal(err)
	}
}

func (h *host) bring(id, name string) {
	h.w.Helper()
	if err := h.Bring(h.w.Context(), id, name, nil); err != nil {
		h.w.Fatal(err)
	}
}

func TestFullDiskLosesCopiesButNeverTheLastReplicas(t *testing.T) {
	inWorld(t, 4, func(w *world) {
		id := w.hosts[0].publish("web:1", "code")
		for _, h := range w.hosts[1:] {
			h.bring(id, "web:1")
		}
		w.hosts[3].fill()
		wantList(t, "holders", w.holders(id), "n1", "n2", "n3")
		if len(w.hosts[3].tags()) != 1 || len(w.hosts[3].mover.Copies()) > 0 {
			t.Errorf("n4 has %v", w.hosts[3].tags())
		}
		w.hosts[0].fill() // whose own image it is
		wantList(t, "holders", w.holders(id), "n1", "n2", "n3")
		w.down["id-n1"] = true
		w.hosts[2].replica.Before(func(c ledger.Command) {
			if c.Evict != nil {
				t.Error("the ledger was asked in vain")
			}
		})
		w.hosts[2].fill() // two others have it, but one of them is dead
		w.hosts[2].replica.Before(nil)
		wantList(t, "holders", w.holders(id), "n1", "n2", "n3")
		w.down["id-n1"] = false
		w.hosts[2].fill()
		wantList(t, "holders", w.holders(id), "n1", "n2")
		w.hosts[1].fill()
		wantList(t, "holders", w.holders(id), "n1", "n2")
	})
}

func TestCopyStaysWhereAnotherHostHasItNoMoreButDidNotTell(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		id := w.hosts[0].publish("web:1", "code")
		for _, h := range w.hosts[1:] {
			h.bring(id, "web:1")
		}
		if _, err := w.hosts[1].docker.RemoveImage(w.Context(), "web:1", false); err != nil {
			t.Fatal(err)
		}
		w.hosts[2].fill()
		w.hosts[2].wantTag("web:1", id)
		w.hosts[1].bring(id, "web:1")
		w.hosts[2].fill()
		w.hosts[2].wantTag("web:1", "")
	})
}

// Two hosts may be allowed at once to remove what only both together must not.
func TestEvictionThatAnotherOvertookIsGivenUp(t *testing.T) {
	inWorld(t, 4, func(w *world) {
		id := w.hosts[0].publish("web:1", "code")
		for _, h := range w.hosts[1:] {
			h.bring(id, "web:1")
		}
		w.down["id-n2"] = true
		h := w.hosts[2]
		h.replica.Before(func(c ledger.Command) {
			if c.Evict != nil {
				w.propose(ledger.Command{Evict: &ledger.Evict{Node: "id-n4", ID: id}})
			}
		})
		h.fill()
		h.wantTag("web:1", id)
		wantList(t, "holders", w.holders(id), "n1", "n2", "n3")
	})
}

func TestCopyUsedByAContainerStays(t *testing.T) {
	inWorld(t, 4, func(w *world) {
		id := w.hosts[0].publish("web:1", "code")
		for _, h := range w.hosts[1:] {
			h.bring(id, "web:1")
		}
		h := w.hosts[3]
		p, index := h.from("web:1", "box", sched.Request{Host: "n4"})
		h.fill()
		h.makes(p, index)
		h.fill()
		w.hosts[2].outside("mine", `{"Image":"web:1"}`) // which the ledger has not heard of
		w.hosts[2].fill()
		w.hosts[2].wantTag("web:1", id)
		wantList(t, "holders", w.holders(id), "n1", "n2", "n3", "n4")
	})
}

func TestCopyThatWasNotUsedForLongestGoesFirst(t *testing.T) {
	inWorld(t, 4, func(w *world) {
		old, fresh := w.hosts[0].publish("old:1", "old"), w.hosts[0].publish("fresh:1", "fresh")
		for _, h := range w.hosts[1:] {
			h.bring(old, "old:1")
			h.bring(fresh, "fresh:1")
		}
		h := w.hosts[3]
		time.Sleep(time.Hour)
		h.mover.Used(old)
		h.disk.set(1, 100)
		h.cfg.Disk = func() (int64, int64, error) { // until one image has gone
			if len(h.tags()) < 3 {
				return 50, 100, nil
			}
			return 1, 100, nil
		}
		if err := h.evictCopies(w.Context()); err != nil {
			t.Fatal(err)
		}
		h.wantTag("old:1", old)
		h.wantTag("fresh:1", "")
	})
}
