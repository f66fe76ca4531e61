package node

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/engine/enginetest"
	"ddocker/gpu"
	"ddocker/sched"
)

func TestContainersMadeWithPlainDockerAreSeen(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.run()
		h.outside("db", `{"Image":"busybox","HostConfig":{"CpusetCpus":"0-1","Memory":1073741824,"PortBindings":{"80/tcp":[{"HostPort":"8080"}]}}}`)
		w.within(3*time.Second, "it is observed", func() bool { return len(h.outsiders()) == 1 })
		w.log.Replica().View(func(l *ledger.Ledger) {
			host := l.Host(h.id)
			if host.FreeMilliCPU() != 2*sched.Core || host.FreeMemory() != 15<<30 || !host.Held.HasPort(sched.Port{Number: 8080, Proto: "tcp"}) {
				t.Errorf("held are %+v", host.Held)
			}
		})
	})
}

func TestContainerOfACommittedImageIsAnOutsider(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		p, _ := h.create("web", sched.Request{})
		h.outside("copy", `{"Image":"busybox","Labels":{"ddocker.placement":"`+p.ID+`"}}`)
		h.look()
		wantList(t, "outsiders", h.outsiders(), "copy")
		if w.placement(p.ID).Name != "web" {
			t.Errorf("the placement is %+v", w.placement(p.ID))
		}
	})
}

func TestContainerRemovedOnItsHostIsReleasedAtOnce(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.run()
		for range 3 { // faster than reconciliations follow one another
			p, id := h.create("web", sched.Request{})
			if err := h.docker.Remove(w.Context(), id, false, false); err != nil {
				t.Fatal(err)
			}
			w.within(100*time.Millisecond, "its name is free", func() bool { return w.placement(p.ID) == nil })
		}
	})
}

func TestRemovalThatNobodySawIsFoundWithinAMinute(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		p, id := h.create("web", sched.Request{})
		if err := h.docker.Remove(w.Context(), id, false, false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // of which its engine tells no more
		h.run()
		w.within(reconcileEvery, "it is released", func() bool { return w.placement(p.ID) == nil })
	})
}

func TestNameOfARemovedOutsiderIsFreeAtOnce(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		id := h.outside("web", plain)
		h.look()
		if err := h.docker.Remove(w.Context(), id, false, false); err != nil {
			t.Fatal(err)
		}
		if err := h.Removed(w.Context(), id); err != nil {
			t.Fatal(err)
		}
		h.create("web", sched.Request{})
	})
}

func TestReservationThatNobodyRealizesIsReleasedWithinAMinute(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		h.run()
		time.Sleep(5 * time.Second)
		p, _ := w.hosts[1].place("web", sched.Request{Host: "n1"})
		time.Sleep(grace)
		if w.placement(p.ID) == nil {
			t.Error("released before its grace was over")
		}
		w.within(time.Minute-grace, "it is released", func() bool { return w.placement(p.ID) == nil })
	})
}

// A container that is made while the engine is asked for its list is not taken
// for an outsider.
func TestContainerPlacedDuringALookIsNoOutsider(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.twin.SetLatency(enginetest.Read, time.Second)
		looked := make(chan struct{})
		go func() {
			defer close(looked)
			h.look()
		}()
		synctest.Wait() // until the ledger is read and the engine asked
		p, index := h.place("web", sched.Request{})
		if status, _, err := h.Realize(w.Context(), p.ID, index, "", []byte(plain)); status != statusCreated || err != nil {
			t.Fatalf("got %d %v", status, err)
		}
		<-looked
		wantList(t, "outsiders", h.outsiders())
	})
}

func TestAgentThatCrashedBetweenCreateAndConfirmConfirmsLater(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		p, _ := h.place("web", sched.Request{})
		h.outside("web", `{"Image":"busybox","Labels":{"ddocker.placement":"`+p.ID+`"}}`)
		h.run()
		w.within(debounce, "it is confirmed", func() bool { return w.placement(p.ID).Container != "" })
		wantList(t, "outsiders", h.outsiders())
	})
}

func TestContainerRenamedOnItsHostIsKnownByItsNewName(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.run()
		p, id := h.create("web", sched.Request{})
		time.Sleep(2 * renameGrace) // before, it may be a rename of the cluster's that was not carried out yet
		h.rename(id, "www")
		w.within(3*time.Second, "the ledger has the new name", func() bool { return w.placement(p.ID).Name == "www" })
	})
}

// The ledger hears of a new name first: a look in between, or the first one of another
// life, is not to take it back.
func TestContainerThatIsAboutToBeRenamedKeepsItsNewName(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		p, id := h.create("web", sched.Request{})
		h.renameInLedger(p.ID, "www")
		h.look()
		h.look()
		if name := w.placement(p.ID).Name; name != "www" {
			t.Errorf("the ledger calls it %s again", name)
		}
		h.rename(id, "www")
		h.renameInLedger(p.ID, "site") // and another rename begins
		h.look()
		if name := w.placement(p.ID).Name; name != "site" {
			t.Errorf("while it is renamed again the ledger calls it %s", name)
		}
		h.rename(id, "site")
		h.look()
		time.Sleep(renameGrace)
		h.look()
		if name := w.placement(p.ID).Name; name != "site" {
			t.Errorf("after the renames the ledger calls it %s", name)
		}
	})
}

func TestContainerThatIsNotRenamedInTimeGetsItsOldNameBack(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.run()
		p, _ := h.create("web", sched.Request{})
		h.renameInLedger(p.ID, "www")
		w.within(renameGrace+2*reconcileEvery, "the ledger has the old name", func() bool { return w.placement(p.ID).Name == "web" })
	})
}

func TestEngineThatComesBackOpensItsHostAgain(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.outside("db", plain)
		h.look()
		h.twin.Hang()
		if err := h.reconcile(w.Context()); err == nil {
			t.Error("reconciled with an engine that hangs")
		}
		if o := h.known(); o.Closed == "" || len(o.Containers) != 1 {
			t.Errorf("observed is %+v: want a closed host, its containers as last seen", o)
		}
		h.twin.Unhang()
		h.look()
		if o := h.known(); o.Closed != "" {
			t.Errorf("still closed: %s", o.Closed)
		}
	})
}

func TestPortOfAProcessIsToldWithinTenSeconds(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.run()
		h.machine.Listen(8080)
		w.within(observeEvery+2*debounce, "it is observed", func() bool { return len(h.known().Ports) == 1 })
	})
}

func TestSettledNodeIsSilent(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.outside("db", plain)
		h.create("web", sched.Request{})
		h.run()
		time.Sleep(time.Minute)
		h.replica.Before(func(c ledger.Command) { t.Errorf("proposes %+v", c) })
		time.Sleep(time.Hour)
		h.replica.Before(nil)
	})
}

func TestNewCardsAreRegistered(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.run()
		h.machine.Plug(gpu.Card{UUID: "GPU-a", Model: "TITAN Xp"})
		w.within(2*reconcileEvery, "the card is known", func() bool {
			n := 0
			w.log.Replica().View(func(l *ledger.Ledger) { n = l.Host(h.id).FreeGPUs("TITAN Xp") })
			return n == 1
		})
	})
}

// renameInLedger has the ledger call a container otherwise, as every rename begins.
func (h *host) renameInLedger(placement, name string) {
	h.w.Helper()
	result, _, err := h.cfg.Log.Propose(h.w.Context(), ledger.Command{Rename: &ledger.Rename{Placement: placement, Name: name}})
	if err != nil || result.Refusal != nil {
		h.w.Fatal(result.Refusal, err)
	}
}

// rename renames a container with plain docker.
func (h *host) rename(id, name string) {
	h.w.Helper()
	ctx, cancel := context.WithTimeout(h.w.Context(), time.Second)
	defer cancel()
	if err := post(ctx, h.docker, "/containers/"+id+"/rename?name="+name); err != nil {
		h.w.Fatal(err)
	}
}
