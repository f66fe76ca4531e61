package node

import (
	"context"
	"testing"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/engine/enginetest"
	"ddocker/gpu"
	"ddocker/sched"
)

// Before it has read what the cluster decided, an agent knows neither what is an orphan
// nor what is an outsider.
func TestAReplicaThatLagsBehindIsNoReasonToReconcile(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		h.look()
		h.replica.Lag()
		p, _ := w.hosts[1].place("web", sched.Request{Host: "n1"})
		h.outside("web", `{"Image":"busybox","Labels":{"ddocker.placement":"`+p.ID+`"}}`)
		h.look()
		if w.placement(p.ID).Container == "" {
			t.Error("the container is not confirmed")
		}
		wantList(t, "outsiders", h.outsiders())
	})
}

// reading is a log in which something happens while it is read for the first time.
type reading struct {
	Log
	do func()
}

func (r *reading) Read(ctx context.Context) error {
	if do := r.do; do != nil {
		r.do = nil
		do()
	}
	return r.Log.Read(ctx)
}

func TestAContainerThatIsMadeDuringALookIsNotReleased(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.look()
		var p *ledger.Placement
		h.cfg.Log = &reading{h.cfg.Log, func() { p, _ = h.create("web", sched.Request{}) }}
		h.look()
		if p == nil {
			t.Fatal("the ledger was not read")
		}
		if w.placement(p.ID) == nil {
			t.Error("the container is there, and what it holds is free")
		}
	})
}

// The log sends a command again whose answer got lost.
func TestAReservationThatIsSentAgainIsTheSame(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		lost := w.log.Replica()
		h.replica.Before(func(c ledger.Command) {
			if c.Reserve != nil {
				lost.Propose(w.Context(), c)
			}
		})
		p, index := h.place("web", sched.Request{})
		if status, reply, err := h.Realize(w.Context(), p.ID, index, "", []byte(plain)); status != statusCreated || err != nil {
			t.Errorf("got %d %s %v", status, reply, err)
		}
	})
}

// Nobody hears of a container that the engine, or the ledger, does not have yet.
func TestACreateIsAcknowledgedWhenEngineAndLedgerHaveIt(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.twin.SetLatency(enginetest.Create, time.Second)
		h.replica.Before(func(c ledger.Command) {
			if c.Confirm != nil {
				time.Sleep(time.Second)
			}
		})
		p, id := h.create("web", sched.Request{})
		if got := w.placement(p.ID).Container; got != id {
			t.Errorf("acknowledged is %q, the ledger has %q", id, got)
		}
		list, err := h.docker.Containers(w.Context())
		if err != nil || len(list) != 1 || list[0].ID != id {
			t.Errorf("acknowledged is %q, the engine has %+v, %v", id, list, err)
		}
	})
}

func TestAnEngineThatIsGivenUpMayStillMakeIt(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.twin.SetLatency(enginetest.Create, time.Hour)
		p, index := h.place("web", sched.Request{})
		if status, _, err := h.Realize(w.Context(), p.ID, index, "", []byte(plain)); err == nil {
			t.Fatalf("after an hour it is %d", status)
		}
		if w.placement(p.ID) == nil {
			t.Error("what the container will hold is free")
		}
	})
}

func TestAGrantedCardThatAProcessTookMeanwhileIsNotUsed(t *testing.T) {
	withCards(t, func(h *host) {
		p, index := h.place("web", gpus(1))
		h.machine.Plug(card(p.Grant.GPUs[0], 0, gpu.Process{PID: 312, User: "alice", Command: "python"}))
		h.wantClosed(8*time.Second, p.Grant.GPUs[0]+": busy: used by python (pid 312, alice), outside any container")
		_, _, err := h.Realize(h.w.Context(), p.ID, index, "", []byte(plain))
		wantRefusal(h.w.T, err, ledger.Busy, p.Grant.GPUs[0])
		wantList(h.w.T, "containers", h.has())
	}, "GPU-a")
}

func TestAFullClusterOfBeforeIsNoReasonToRefuse(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h, late := w.hosts[0], w.hosts[1]
		_, web := h.create("web", sched.Request{MilliCPU: 3 * sched.Core})
		late.create("full", sched.Request{MilliCPU: 3 * sched.Core})
		late.replica.Lag()
		if err := h.Removed(w.Context(), web); err != nil {
			t.Fatal(err)
		}
		if p, _, err := late.Place(w.Context(), w.ask("other", sched.Request{MilliCPU: 3 * sched.Core})); err != nil || p.Node != h.id {
			t.Errorf("got %v, %v: the cores of n1 are free", p, err)
		}
	})
}

func TestAReplicaThatHopedForTheWrongHostFindsTheRightOne(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		most := sched.Request{MilliCPU: 3 * sched.Core}
		late := w.hosts[2]
		late.create("own", most)
		_, gone := w.hosts[1].create("gone", most)
		late.replica.Lag()
		w.hosts[0].create("new", most)
		if err := w.hosts[1].Removed(w.Context(), gone); err != nil {
			t.Fatal(err)
		}
		if p, _, err := late.Place(w.Context(), w.ask("web", most)); err != nil || p.Node != "id-n2" {
			t.Errorf("got %v, %v: n2 is free, and not n1", p, err)
		}
	})
}

func TestAnAgentThatEndsLeavesItsContainers(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		for range 2 { // lives
			h.run()
			time.Sleep(time.Minute)
			if len(h.has()) == 0 {
				h.create("web", sched.Request{})
			}
			h.end()
			wantList(t, "containers", h.has(), "web")
		}
	})
}
