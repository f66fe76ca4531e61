package node

import (
	"context"
	"testing"

	"ddocker/consensus/ledger"
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
