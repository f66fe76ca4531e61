package node

import (
	"testing"
	"testing/synctest"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/engine/enginetest"
	"ddocker/sched"
)

// The late create: absence from the engine's list is no proof.
func TestCreateThatLandsAfterTheAgentGaveItUpIsReaped(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.twin.SetLatency(enginetest.Create, 5*time.Minute)
		p, index := h.place("web", sched.Request{})
		go h.Realize(w.Context(), p.ID, index, "", []byte(plain))
		synctest.Wait()
		time.Sleep(2 * time.Minute)
		h.look()
		if w.placement(p.ID) == nil {
			t.Fatal("released while the call is open")
		}
		h.end()
		h.run()
		time.Sleep(inheritedGrace - time.Second)
		if w.placement(p.ID) == nil {
			t.Fatal("released before the grace was over")
		}
		w.within(time.Minute, "the reservation is released", func() bool { return w.placement(p.ID) == nil })
		h.twin.SetLatency(enginetest.Create, 0)
		time.Sleep(time.Minute) // until the first create has landed
		w.within(3*time.Second, "the late container is removed", func() bool { return len(h.has()) == 0 })
		h.create("web", sched.Request{})
	})
}

func TestHungEngineKeepsTheReservationAndClosesTheHost(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.run()
		h.twin.SetLatency(enginetest.Create, time.Second)
		p, index := h.place("web", sched.Request{})
		done := make(chan error, 1)
		go func() {
			_, _, err := h.Realize(w.Context(), p.ID, index, "", []byte(plain))
			done <- err
		}()
		time.Sleep(time.Second / 2)
		h.twin.Hang() // with the create under way
		w.within(2*time.Minute, "the host is closed", func() bool { return h.known().Closed != "" })
		_, _, err := h.Place(w.Context(), w.ask("db", sched.Request{}))
		wantRefusal(t, err, ledger.Full, "its Docker Engine does not answer")
		time.Sleep(5 * time.Minute)
		if w.placement(p.ID) == nil {
			t.Error("the reservation is released")
		}
		h.twin.Unhang()
		if err := <-done; err != nil {
			t.Error(err)
		}
		w.within(time.Minute, "the host is open again", func() bool { return h.known().Closed == "" })
	})
}

func TestHungEngineThatWasNotAskedYetGivesThePlaceUp(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		p, index := h.place("web", sched.Request{})
		h.twin.Hang()
		_, _, err := h.Realize(w.Context(), p.ID, index, "", []byte(plain))
		wantRefusal(t, err, ledger.Busy, "n1 is out of order: its Docker Engine does not answer")
		if w.placement(p.ID) != nil || h.known().Closed == "" {
			t.Error("the place is held, or offered to others")
		}
	})
}

func TestStoppedAgentBeginsNoCreate(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.run()
		p, index := h.place("web", sched.Request{})
		h.end()
		if _, _, err := h.Realize(w.Context(), p.ID, index, "", []byte(plain)); err == nil || !contains(err.Error(), "stops") {
			t.Errorf("got %v", err)
		}
		wantList(t, "containers", h.has())
	})
}

// Without a leader nothing would tell the one who makes the container that its place was
// given up meanwhile.
func TestWhatIsBeingGivenUpIsNotMade(t *testing.T) {
	for name, shown := range map[string]bool{"as this replica knows": true, "as this replica does not know yet": false} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 1, func(w *world) {
				h := w.hosts[0]
				p, index := h.place("web", sched.Request{})
				h.look()
				time.Sleep(grace)
				h.twin.SetLatency(enginetest.Create, time.Second)
				done := make(chan error, 1)
				begin := func() {
					go func() {
						_, _, err := h.Realize(w.Context(), p.ID, index, "", []byte(plain))
						done <- err
					}()
				}
				h.replica.Before(func(c ledger.Command) {
					if c.Release != nil && c.Release.Expired && !shown {
						begin()
					}
				})
				if !shown {
					h.replica.Lag()
				}
				h.look()
				if shown {
					begin()
				}
				time.Sleep(time.Second / 2)
				h.replica.Cut(true)
				wantRefusal(t, <-done, ledger.Busy, "")
				h.replica.Cut(false)
				h.look()
				wantList(t, "containers", h.has())
				if w.placement(p.ID) != nil {
					t.Error("its place is still held")
				}
			})
		})
	}
}
