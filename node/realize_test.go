package node

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/engine/enginetest"
	"ddocker/node/nodetest"
	"ddocker/sched"
)

func TestRealizeMakesTheContainerAndTheLedgerKnowsIt(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		p, id := h.create("web", sched.Request{})
		wantList(t, "containers", h.has(), "web")
		if got := w.placement(p.ID); got.Container != id {
			t.Errorf("ledger has container %q, engine %q", got.Container, id)
		}
	})
}

func TestRealizeAgainGivesTheSameContainer(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		p, id := h.create("web", sched.Request{})
		status, reply, err := h.Realize(w.Context(), p.ID, 1, "", []byte(plain))
		if status != statusCreated || err != nil || idIn(t, reply) != id {
			t.Errorf("got %d %s %v, want the container %s", status, reply, err, id)
		}
		wantList(t, "containers", h.has(), "web")
	})
}

func TestCallersOfOneCreateAllGetItsOutcome(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.twin.SetLatency(enginetest.Create, time.Second)
		p, index := h.place("web", sched.Request{})
		ids := make([]string, 8)
		var callers sync.WaitGroup
		for i := range ids {
			callers.Go(func() {
				_, reply, err := h.Realize(w.Context(), p.ID, index, "", []byte(plain))
				if err != nil {
					t.Error(err)
					return
				}
				ids[i] = idIn(t, reply)
			})
		}
		callers.Wait()
		for _, id := range ids {
			if id != w.placement(p.ID).Container {
				t.Errorf("got %s", id)
			}
		}
		wantList(t, "containers", h.has(), "web")
	})
}

func TestCreateGoesOnWithoutItsCaller(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.twin.SetLatency(enginetest.Create, time.Minute)
		p, index := h.place("web", sched.Request{})
		ctx, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		if _, _, err := h.Realize(ctx, p.ID, index, "", []byte(plain)); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if w.placement(p.ID).Container == "" {
			t.Error("the container is not confirmed")
		}
	})
}

func TestEnginesRefusalReleasesThePlacement(t *testing.T) {
	for _, c := range []struct {
		name, image, body string
		status            int
	}{
		{"a name that only the engine knows is taken", busybox, plain, 409},
		{"an image that is gone", busybox, `{"Image":"gone"}`, 404},
		{"a limit that makes no sense", busybox, `{"Image":"busybox","HostConfig":{"MemorySwap":1,"CpusetCpus":"x"}}`, 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, 1, func(w *world) {
				h := w.hosts[0]
				p, index := h.place("web", sched.Request{})
				if c.status == 409 {
					h.outside("web", plain)
				}
				status, reply, err := h.Realize(w.Context(), p.ID, index, "", []byte(c.body))
				if status != c.status || err != nil {
					t.Errorf("got %d %s %v", status, reply, err)
				}
				if w.placement(p.ID) != nil {
					t.Error("the placement is still held")
				}
			})
		})
	}
}

func TestEngineThatFailsAfterItsSuccessLeaksNothing(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.twin.FailAfterSuccess(enginetest.Create)
		p, index := h.place("web", sched.Request{})
		status, _, err := h.Realize(w.Context(), p.ID, index, "", []byte(plain))
		if status != statusFailed || err != nil {
			t.Errorf("got %d %v", status, err)
		}
		wantList(t, "containers", h.has())
		if w.placement(p.ID) != nil {
			t.Error("the placement is still held")
		}
	})
}

func TestFailedCreateThatCannotBeUndoneKeepsItsPlacement(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.twin.SetLatency(enginetest.Create, time.Second)
		h.twin.FailAfterSuccess(enginetest.Create)
		time.AfterFunc(time.Second/2, func() { h.twin.FailAfterSuccess(enginetest.Read) }) // when it is undone
		p, index := h.place("web", sched.Request{})
		if status, _, err := h.Realize(w.Context(), p.ID, index, "", []byte(plain)); status != statusFailed || err != nil {
			t.Fatalf("got %d %v", status, err)
		}
		wantList(t, "containers", h.has(), "web")
		if w.placement(p.ID) == nil {
			t.Fatal("the placement is released while its container exists")
		}
		h.look()
		if w.placement(p.ID).Container == "" {
			t.Error("the container is not confirmed")
		}
	})
}

func TestPortThatAProcessHasIsRefusedAsBusy(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		p, index := h.place("web", sched.Request{Ports: []sched.PortWish{{Proto: "tcp"}}})
		h.machine.Listen(p.Grant.Ports[0].Host)
		_, _, err := h.Realize(w.Context(), p.ID, index, "", []byte(plain))
		wantRefusal(t, err, ledger.Busy, "port 25000/tcp of n1 is in use")
		if w.placement(p.ID) != nil {
			t.Error("the placement is still held")
		}
		wantList(t, "containers", h.has())
		if p, _ := h.place("web", sched.Request{Ports: []sched.PortWish{{Proto: "tcp"}}}); p.Grant.Ports[0].Host != 25001 {
			t.Errorf("the next try gets %v", p.Grant.Ports)
		}
	})
}

func TestPlacementReleasedBeforeItsContainerIsMadeMakesNone(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		p, index := h.place("web", sched.Request{Host: "n1"})
		if err := w.hosts[1].Abandon(w.Context(), p.ID); err != nil {
			t.Fatal(err)
		}
		_, _, err := h.Realize(w.Context(), p.ID, index, "", []byte(plain))
		wantRefusal(t, err, ledger.Busy, "released")
		wantList(t, "containers", h.has())
	})
}

// sabotaged is a machine on which something happens when its ports are read.
type sabotaged struct {
	*nodetest.Machine
	do func()
}

func (m sabotaged) Listening() ([]sched.Port, error) {
	m.do()
	return m.Machine.Listening()
}

func TestContainerOfAnImageThatTookTheNameMeanwhileGoes(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.publish("web:1", "code")
		p, index := h.from("web:1", "box", sched.Request{Ports: []sched.PortWish{{Proto: "tcp"}}})
		h.cfg.Machine = sabotaged{h.machine, func() { h.twin.AddLayered("web:1", []byte("other")) }}
		_, _, err := h.Realize(w.Context(), p.ID, index, "", bodyOf("web:1"))
		wantRefusal(t, err, ledger.Busy, "image web:1 came to mean another on n1")
		wantList(t, "containers", h.has())
		if w.placement(p.ID) != nil {
			t.Error("the placement is still held")
		}
	})
}

func TestPlacementOfAnotherNodeIsNotMadeHere(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		p, index := w.hosts[0].place("web", sched.Request{Host: "n1"})
		_, _, err := w.hosts[1].Realize(w.Context(), p.ID, index, "", []byte(plain))
		wantRefusal(t, err, ledger.Busy, "")
		wantList(t, "containers", w.hosts[1].has())
		if w.placement(p.ID) == nil {
			t.Error("the placement is released")
		}
	})
}

func TestPlacementReleasedWhileItsContainerIsMadeTakesItAlong(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		other := w.log.Replica()
		h.replica.Before(func(c ledger.Command) {
			if c.Confirm != nil {
				other.Propose(w.Context(), ledger.Command{Release: &ledger.Release{Placement: c.Confirm.Placement}})
			}
		})
		p, index := h.place("web", sched.Request{})
		_, _, err := h.Realize(w.Context(), p.ID, index, "", []byte(plain))
		if err == nil || !strings.Contains(err.Error(), "released while the container was made") {
			t.Error(err)
		}
		wantList(t, "containers", h.has())
	})
}

func TestContainerMadeWithoutAQuorumIsConfirmedLater(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		p, index := h.place("web", sched.Request{})
		h.replica.Cut(true)
		if status, _, err := h.Realize(w.Context(), p.ID, index, "", []byte(plain)); status != statusCreated || err != nil {
			t.Fatalf("got %d %v", status, err)
		}
		if err := h.reconcile(w.Context()); !errors.Is(err, nodetest.ErrCut) {
			t.Errorf("reconciled without a quorum: %v", err)
		}
		h.replica.Cut(false)
		h.look()
		if w.placement(p.ID).Container == "" {
			t.Error("the container is not confirmed")
		}
	})
}

func TestBodyThatCannotBeReadReleasesThePlacement(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		p, index := h.place("web", sched.Request{})
		_, _, err := h.Realize(w.Context(), p.ID, index, "", []byte(`{"HostConfig":{},"hostConfig":{}}`))
		wantRefusal(t, err, ledger.Invalid, "HostConfig twice")
		if w.placement(p.ID) != nil {
			t.Error("the placement is still held")
		}
	})
}

func TestSlowFollowerWaitsForThePlacementItIsAskedToMake(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[1].replica.Lag()
		p, index := w.hosts[0].place("web", sched.Request{Host: "n2"})
		status, _, err := w.hosts[1].Realize(w.Context(), p.ID, index, "", []byte(plain))
		if status != statusCreated || err != nil {
			t.Errorf("got %d %v", status, err)
		}
	})
}
