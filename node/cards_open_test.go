package node

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/engine/enginetest"
	"ddocker/gpu"
)

// strangers are processes that no card was granted to.
var strangers = []gpu.Process{
	{PID: 312, User: "alice", Command: "python"},
	{PID: 7, User: "root", Command: "x", Container: strings.Repeat("k8", 32)},
}

// neverOpen lets the time pass, in which GPU-a is not to be offered as if nobody had it.
func (h *host) neverOpen(d time.Duration) {
	h.w.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		synctest.Wait()
		held := slices.ContainsFunc(h.known().Cards, func(c ledger.ClosedCard) bool { return c.UUID == "GPU-a" })
		for _, o := range h.known().Containers {
			held = held || slices.Contains(o.Grant.GPUs, "GPU-a")
		}
		if slices.Contains(h.registered(), "GPU-a") && !held {
			h.w.Fatalf("GPU-a is open %v before the end", time.Until(end))
		}
	}
}

func TestCardInUseIsNotOpenAfterARestart(t *testing.T) {
	for _, by := range strangers {
		for _, blind := range []bool{true, false} {
			withCards(t, func(h *host) {
				h.machine.Plug(card("GPU-a", 0, by))
				h.wantClosed(doubtFor+5*time.Second, "GPU-a: busy: ")
				h.end()
				if blind {
					h.machine.Blind("not read yet")
				}
				h.run()
				h.neverOpen(time.Second)
				h.machine.Plug(card("GPU-a", 0, by))
				h.neverOpen(20 * time.Second)
				h.wantClosed(0, "GPU-a: busy: ")
			}, "GPU-a")
		}
	}
}

func TestCardInUseIsNeverOpenWhenItComes(t *testing.T) {
	for _, by := range strangers {
		inWorld(t, 1, func(w *world) {
			h := w.hosts[0]
			h.machine.Plug(card("GPU-a", 0, by))
			h.run()
			h.neverOpen(20 * time.Second)
			wantList(t, "registered", h.registered(), "GPU-a")
			h.wantClosed(0, "GPU-a: busy: ")
			h.plug("GPU-a")
			h.wantClosed(reopenAfter + 5*time.Second)
		})
	}
}

// Whom the cluster did not make and who runs nothing has a card all the same.
func TestCardOfAnOutsiderIsHeldWhenItComes(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.outside("theirs", `{"Image":"busybox:latest","HostConfig":{"DeviceRequests":[{"Count":-1,"Capabilities":[["gpu"]]}]}}`)
		for _, op := range []enginetest.Op{enginetest.Read, enginetest.Start, enginetest.Load} {
			h.twin.SetLatency(op, 300*time.Millisecond)
		}
		h.run()
		time.Sleep(5 * time.Second)
		h.plug("GPU-a")
		h.neverOpen(20 * time.Second)
		wantList(t, "registered", h.registered(), "GPU-a")
		h.wantClosed(0)
	})
}

// Of a card that is not known yet the variable in an image would make a container's own.
func TestCardsAreHiddenUnlessThereIsSurelyNone(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		want := func(when string, want bool) {
			t.Helper()
			if _, hide := h.gpuWay(len(h.registered())); hide != want {
				t.Errorf("%s they are hidden: %v", when, hide)
			}
		}
		h.live()
		h.plug()
		want("before the engine was asked", true)
		h.runs()
		time.Sleep(5 * time.Second)
		want("without cards", false)
		h.machine.Blind("not read yet")
		want("while nothing is known of cards", true)
		h.plug()
		h.twin.SetToolkit(enginetest.Runtime)
		for range 10 {
			time.Sleep(10 * time.Second)
			want("with a runtime that gives them", true)
		}
		h.twin.SetToolkit(enginetest.None)
		time.Sleep(2 * time.Minute)
		want("without the runtime", false)
		h.plug("GPU-a")
		want("with a card that nobody can have", true)
	})
}
