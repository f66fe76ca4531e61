package node

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"ddocker/engine/enginetest"
	"ddocker/sched"
)

func TestAnUpdateWaitsForThoseOfItsContainerAlone(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		_, a := h.create("web", sched.Request{MilliCPU: 500})
		_, b := h.create("log", sched.Request{MilliCPU: 500})
		h.twin.SetLatency(enginetest.Update, time.Minute)
		begun := time.Now()
		done := make(chan time.Duration, 3)
		for _, id := range []string{a, b} {
			go func() {
				if status, reply, err := h.Update(w.Context(), id, "", []byte(`{"NanoCpus":600000000}`)); status != 200 || err != nil {
					t.Errorf("got %d, %s, %v", status, reply, err)
				}
				done <- time.Since(begun)
			}()
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		if _, _, err := h.Update(ctx, a, "", []byte(`{"NanoCpus":700000000}`)); err != context.DeadlineExceeded {
			t.Errorf("a client that goes away hears %v", err)
		}
		for range 2 {
			if took := <-done; took > 61*time.Second {
				t.Errorf("an update took %v", took)
			}
		}
		h.end()
		if p := w.placement("p1"); p.Grant.MilliCPU != 600 {
			t.Errorf("who went away was heard: %+v", p.Grant)
		}
	})
}
