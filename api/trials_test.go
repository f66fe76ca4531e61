package api

import (
	"testing"
	"testing/synctest"
	"time"

	"ddocker/engine"
	"ddocker/engine/enginetest"
	"ddocker/gpu"
)

// What a host makes to find out how its engine gives GPUs is nobody else's business.
func TestTrialOfAnEngineIsInNoListAndNoEvent(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h, other := w.hosts[0], w.hosts[1]
		e := other.watch("")
		h.twin.SetLatency(enginetest.Start, 3*time.Second)
		h.machine.Plug(gpu.Card{UUID: "GPU-n1", Model: "TITAN Xp", Index: "0", NUMA: gpu.Unread})
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if images := len(h.images("{}")); len(h.twin.Trials()) != 1 || len(h.has()) != 0 || images != 1 {
			t.Errorf("in a trial of %q ps shows %q, and there are %d images", h.twin.Trials(), h.has(), images)
		}
		time.Sleep(10 * time.Second)
		if len(h.twin.Trials()) != 0 {
			t.Errorf("the trial left %q", h.twin.Trials())
		}
		other.start("web", "n1")
		wantList(t, "events", e.told(), "create web on n1", "start web on n1")
		e.close()
		if n := w.host(h.id); len(n.has()) != 1 {
			t.Errorf("ps shows %q", n.has())
		}
	})
}

func TestLabelOfTrialsHidesNothingElse(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.create("web", `{"Image":"busybox","Labels":{"`+engine.LabelProbe+`":"1"}}`)
		wantList(t, "ps", h.has(), "web")
	})
}
