package identity

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// hall is a crowd whose guests are called by their names.
type hall struct {
	*Crowd
	guests map[string]*Place
	out    []string
}

func newHall(most, each int, fresh time.Duration) *hall {
	return &hall{Crowd: NewCrowd(most, each, fresh), guests: map[string]*Place{}}
}

// enter lets one in and returns who was shown out for it; "refused" if it was not let in.
func (h *hall) enter(source, name string) string {
	h.out = nil
	g := h.Enter(source, func() { h.out = append(h.out, name) })
	if g == nil {
		return "refused"
	}
	h.guests[name] = g
	return slices.Concat(h.out, []string{""})[0]
}

func TestAFullCrowdMakesRoomByWhoeverHasMost(t *testing.T) {
	h := newHall(4, 3, 0)
	for _, step := range []struct {
		source, name, out string
		busy, idle, leave string
	}{
		{source: "a", name: "a1"}, {source: "a", name: "a2"}, {source: "a", name: "a3"},
		{source: "a", name: "a4", out: "a1"}, // a has his share
		{source: "b", name: "b1"},
		{source: "b", name: "b2", out: "a2"}, // all are there: a has most
		{source: "c", name: "c1", out: "a3"},
		{source: "c", name: "c2", out: "b1", busy: "a4"}, // b has two as well, and a4 only one
		{source: "d", name: "d1", out: "c1", busy: "b2"},
		{source: "e", name: "e1", out: "refused", busy: "c2 d1"},
		{source: "e", name: "e2", out: "b2", idle: "b2"},
		{source: "f", name: "f1", leave: "a4 a4 a4"},
		{source: "g", name: "g1", out: "e2"},
	} {
		for _, name := range strings.Fields(step.busy) {
			h.guests[name].Busy(true)
		}
		for _, name := range strings.Fields(step.idle) {
			h.guests[name].Busy(false)
		}
		for _, name := range strings.Fields(step.leave) {
			h.guests[name].Leave()
		}
		if got := h.enter(step.source, step.name); got != step.out {
			t.Errorf("%s came: %q was shown out, want %q", step.name, got, step.out)
		}
	}
	if h.guests["a1"].Busy(true) || !h.guests["g1"].Busy(true) {
		t.Error("who was shown out does not know it")
	}
}

func TestWhoHasJustComeMakesNoRoomForHisOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(4, 3, time.Second)
		for _, name := range []string{"a1", "a2", "a3"} {
			h.enter("a", name)
		}
		if got := h.enter("a", "a4"); got != "refused" {
			t.Errorf("at once: %q was shown out", got)
		}
		h.enter("b", "b1")
		if got := h.enter("c", "c1"); got != "a1" {
			t.Errorf("for another: %q was shown out", got)
		}
		time.Sleep(time.Second)
		h.guests["a2"].Busy(true)
		h.guests["a2"].Busy(false)
		h.guests["c1"].Leave()
		h.enter("a", "a5")
		if got := h.enter("a", "a6"); got != "a3" {
			t.Errorf("a second later: %q was shown out", got)
		}
	})
}
