//go:build faults

package faults

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"ddocker/test/judge"
	"ddocker/test/lab"
)

// TestAnEngineHangs stops an engine in its tracks, as a bad disk does.
func TestAnEngineHangs(t *testing.T) {
	w := raise(t)
	before := w.stock()
	sick := w.Host(2)
	sick.HangEngine(t)
	for _, h := range w.Hosts() {
		w.lists(h, 5, "pinned-h2", "unreachable")
	}
	for n := range 4 {
		name := fmt.Sprintf("meanwhile%d", n)
		ctx, cancel := context.WithTimeout(t.Context(), onePatience)
		if err := w.create(ctx, 1+n%3, wish{name: name, cpus: 0.1, ports: 1}); err != nil {
			t.Errorf("create %s on h%d: %v", name, 1+n%3, err)
		}
		cancel()
	}
	lab.Eventually(t, onePatience, func() error {
		if out := w.Host(1).Run("ddocker", "nodes").Stdout; !strings.Contains(out, "unready") {
			return fmt.Errorf("an engine that hangs is not told of:\n%s", out)
		}
		return nil
	})
	w.refused(15*time.Second, w.Host(1), []string{"h2"}, "ddocker", "stop", "pinned-h2")
	w.refused(15*time.Second, sick, []string{"h2"}, "ddocker", "exec", "pinned-h2", "true")
	sick.WakeEngine(t)
	w.over(before)
}

// TestAnEngineRestarts ends an engine beside its containers. Without live-restore they end
// with it, and the cluster has to say so; with it they do not notice.
func TestAnEngineRestarts(t *testing.T) {
	for _, signal := range []string{"TERM", "KILL"} {
		for _, live := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, live-restore %v", signal, live), func(t *testing.T) {
				w := raise(t)
				sick := w.Host(2)
				if live { // and so it stays for this host of the lab
					sick = w.Host(3)
					sick.KeepContainers(t)
				}
				before := w.stock()
				sick.RestartEngine(t, signal)
				if live {
					w.over(before)
				} else {
					w.over(on(before, sick.Name(), false))
					w.ended(sick)
				}
				if err := w.create(t.Context(), 1, wish{name: "next", on: sick.Name(), ports: 1}); err != nil {
					t.Errorf("create on the engine that restarted: %v", err)
				}
				w.over(on(before, sick.Name(), false))
			})
		}
	}
}

// ended looks that a host's containers are listed as ended, and that they start again with
// what they were given.
func (w *world) ended(h *lab.Host) {
	w.t.Helper()
	for id, c := range on(w.containers(), h.Name(), true) {
		if c.Running {
			w.t.Errorf("%s runs, after its engine ended it", c.Name)
		}
		if out := w.Host(1).DDocker(w.t, "ps", "-a", "--filter", "name="+c.Name); !strings.Contains(out, "False") {
			w.t.Errorf("%s has ended, and is listed as\n%s", c.Name, out)
		}
		w.Host(1).DDocker(w.t, "start", c.Name)
		var now judge.Container
		if now = w.containers()[id]; !now.Running || now.Cores != c.Cores || fmt.Sprint(now.Ports) != fmt.Sprint(c.Ports) {
			w.t.Errorf("%+v was started, and is %+v", c, now)
		}
	}
}
