package api

import (
	"net/http"
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

// Images and commits hand labels on, so the label hides nothing that was made of them,
// frees no card of theirs, and removes nothing.
func TestLabelOfTrialsHidesNothingElse(t *testing.T) {
	for _, mark := range []string{"1", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"} { // the second as trials make them
		inWorld(t, 1, func(w *world) {
			h := w.hosts[0]
			h.machine.Plug(gpu.Card{UUID: "GPU-n1", Model: "TITAN Xp", Index: "0", NUMA: gpu.Unread})
			time.Sleep(20 * time.Second)
			h.create("web", `{"Image":"busybox","Labels":{"`+engine.LabelProbe+`":"`+mark+`"}}`)
			h.want(http.StatusCreated, "", post, "/v1.41/commit?container=web&repo=marked", "")
			body := `{"Image":"marked","HostConfig":{"DeviceRequests":[{"Count":1,"Capabilities":[["gpu"]]}]}}`
			h.create("ddocker-probe-"+mark, body)
			if status, reply, err := h.docker.Create(w.Context(), "theirs", "", []byte(`{"Image":"marked"}`)); status != http.StatusCreated || err != nil {
				t.Fatalf("docker create: %d %s %v", status, reply, err)
			}
			for range 2 {
				time.Sleep(2 * time.Minute)
				wantList(t, "ps", h.has(), "ddocker-probe-"+mark, "theirs", "web")
				if images := len(h.images("{}")); images != 2 {
					t.Errorf("there are %d images", images)
				}
				if made := h.ask(post, "/v1.41/containers/create?name=other", body); made.status == http.StatusCreated {
					t.Errorf("the card is given again: %s", made.body)
				}
				h.twin.Restart() // and it is tried again
			}
		})
	}
}
