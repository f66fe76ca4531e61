//go:build faults

package faults

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ddocker/test/lab"
)

// TestTheLeaderIsCutOff unplugs the host that leads, looks at both sides, and plugs it in.
func TestTheLeaderIsCutOff(t *testing.T) {
	w := raise(t)
	before := w.stock()
	alone, others := w.leader()
	alone.Cut(t)
	w.lists(others[0], 10, "unreachable")
	w.lists(alone, 20, "unreachable")
	lab.Eventually(t, onePatience, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), onePatience)
		defer cancel()
		return w.create(ctx, w.number(others[1]), wish{name: "meanwhile", cpus: 0.1, ports: 1})
	})
	// Alone it has no quorum: what runs there can be used, and nothing new is granted.
	w.lists(alone, 20, "pinned-"+alone.Name())
	if out := alone.DDocker(t, "exec", "pinned-"+alone.Name(), "echo", "here"); out != "here\n" {
		t.Errorf("exec says %q", out)
	}
	w.refused(10*time.Second, alone, []string{"leader", others[0].Name(), others[1].Name()},
		"ddocker", "create", "--cpus", "0.1", "--ports", "0", "--name", "never", "busybox")
	w.refused(10*time.Second, alone, []string{others[0].Name()}, "ddocker", "stop", "pinned-"+others[0].Name())
	w.refused(10*time.Second, others[0], []string{alone.Name()}, "ddocker", "stop", "pinned-"+alone.Name())
	alone.Mend(t)
	w.over(before)
}

// TestTwoOfThreeAreCutOff leaves nobody a quorum.
func TestTwoOfThreeAreCutOff(t *testing.T) {
	w := raise(t)
	before := w.stock()
	w.Host(2).Cut(t)
	w.Host(3).Cut(t)
	for _, h := range w.Hosts() {
		w.lists(h, 20, "pinned-"+h.Name())
		w.refused(10*time.Second, h, []string{"leader"}, "ddocker", "create", "--cpus", "0.1", "--ports", "0", "--name", "never", "busybox")
		h.DDocker(t, "exec", "shared-"+h.Name(), "true")
	}
	w.Host(2).Mend(t)
	w.Host(3).Mend(t)
	w.over(before)
}

// TestOneWaySplits has a host hear nothing of another that hears it.
func TestOneWaySplits(t *testing.T) {
	for _, split := range []struct {
		name string
		deaf func(leader *lab.Host, others []*lab.Host) [][2]*lab.Host // who does not hear whom
	}{
		{"the leader does not hear a voter", func(l *lab.Host, o []*lab.Host) [][2]*lab.Host { return [][2]*lab.Host{{l, o[0]}} }},
		{"a voter does not hear the leader", func(l *lab.Host, o []*lab.Host) [][2]*lab.Host { return [][2]*lab.Host{{o[0], l}} }},
		{"the leader hears nobody", func(l *lab.Host, o []*lab.Host) [][2]*lab.Host { return [][2]*lab.Host{{l, o[0]}, {l, o[1]}} }},
		{"nobody hears the leader", func(l *lab.Host, o []*lab.Host) [][2]*lab.Host { return [][2]*lab.Host{{o[0], l}, {o[1], l}} }},
		{"one voter does not hear the other", func(_ *lab.Host, o []*lab.Host) [][2]*lab.Host { return [][2]*lab.Host{{o[0], o[1]}} }},
	} {
		t.Run(split.name, func(t *testing.T) {
			w := raise(t)
			before := w.stock()
			leader, others := w.leader()
			deaf := split.deaf(leader, others)
			for _, d := range deaf {
				w.Deafen(t, d[0], d[1])
			}
			done := 0
			for n := range 9 {
				done += w.tryToCreate(1+n%3, fmt.Sprintf("meanwhile%d", n))
			}
			t.Logf("%d of 9 creates were acknowledged meanwhile", done)
			if done == 0 {
				t.Error("two hosts hear each other, and nothing can be created on any")
			}
			for _, h := range w.Hosts() {
				w.lists(h, 10, "pinned-"+h.Name())
			}
			for _, d := range deaf {
				w.Hear(t, d[0], d[1])
			}
			w.over(before)
		})
	}
}

// tryToCreate returns 1 when a create was acknowledged; if not it has to say why, in time.
func (w *world) tryToCreate(i int, name string) int {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	began := time.Now()
	err := w.create(ctx, i, wish{name: name, cpus: 0.1, ports: 1})
	if err == nil {
		return 1
	}
	if ctx.Err() != nil || !slices.ContainsFunc([]string{"leader", "h1", "h2", "h3"}, func(s string) bool { return strings.Contains(err.Error(), s) }) {
		w.t.Errorf("create %s on h%d: %v", name, i, err)
	}
	w.t.Logf("create %s on h%d, after %v: %v", name, i, time.Since(began).Round(time.Millisecond), err)
	return 0
}

func (w *world) number(h *lab.Host) int { return 1 + slices.Index(w.Hosts(), h) }
