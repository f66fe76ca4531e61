package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"ddocker/engine/enginetest"
)

// row is what ps -a by h says of a container, and how long it took.
func (h *host) row(name string) (state string, took time.Duration) {
	h.of.t.Helper()
	began := time.Now()
	rows, err := h.docker().ContainerList(h.of.soon(), container.ListOptions{All: true})
	if err != nil {
		h.of.t.Fatalf("list containers by %s: %v", h.name, err)
	}
	took = time.Since(began)
	for _, r := range rows {
		if r.Names[0] == "/"+name {
			state = string(r.State)
		}
	}
	return state, took
}

// A list waits for who does not answer a second at most, and only once.
func TestAnAbsentHostsContainersStayListedAsUnreachable(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct{ away, back func(w *world, h *host) }{
		"dead":    {func(_ *world, h *host) { h.kill() }, func(_ *world, h *host) { h.start() }},
		"cut off": {func(w *world, h *host) { w.split(h) }, func(w *world, _ *host) { w.net.Heal() }},
		"hung":    {func(_ *world, h *host) { h.twin.Hang() }, func(_ *world, h *host) { h.twin.Unhang() }},
	} {
		t.Run(what, func(t *testing.T) {
			inCluster(t, 3, func(t *testing.T, w *world) {
				id := w.hosts[1].mustRun(wanted{name: "there", on: "n2"})
				c.away(w, w.hosts[1])
				state, took := w.hosts[0].row("there")
				if state != "unreachable" || took > 1100*time.Millisecond {
					t.Errorf("the first ps says %q after %v, want unreachable within a second", state, took)
				}
				for range 20 {
					time.Sleep(time.Second)
					if state, took := w.hosts[0].row("there"); state != "unreachable" || took > 20*time.Millisecond {
						t.Errorf("a later ps says %q after %v, want unreachable at once", state, took)
					}
				}
				c.back(w, w.hosts[1])
				w.eventually("the container is listed as running", func() bool {
					state, _ := w.hosts[0].row("there")
					return state == "running"
				})
				w.whole()
				w.settles()
				w.judge(map[string]string{"there": id})
			})
		})
	}
}

// An engine that starts a container and says 500 has it running, once, however often it is
// started again (nomad#6762).
func TestAStartThatIsSaidToHaveFailedIsNotLost(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, w *world) {
		id, err := w.hosts[0].create(w.soon(), wanted{name: "web", on: "n2", ports: 1})
		if err != nil {
			t.Fatal(err)
		}
		w.hosts[1].twin.FailAfterSuccess(enginetest.Start)
		docker := w.hosts[0].docker()
		if err := docker.ContainerStart(w.soon(), id, container.StartOptions{}); err == nil {
			t.Error("the engine's 500 is not told")
		}
		for range 2 {
			if state, _ := w.hosts[2].row("web"); state != "running" {
				t.Errorf("it is listed as %q", state)
			}
			if err := docker.ContainerStart(w.soon(), id, container.StartOptions{}); err != nil {
				t.Errorf("start it again: %v", err)
			}
		}
		w.judge(map[string]string{"web": id})
	})
}

// A create that lands long after its caller gave up, and after the agent that
// asked for it died, finds its port still its own, or is removed again.
func TestALateCreateNeverTakesAPortThatWasGivenAgain(t *testing.T) {
	t.Parallel()
	for when, c := range map[string]struct {
		lands time.Duration
		kept  bool // the late one has the port in the end
	}{
		"while its reservation is held": {90 * time.Second, true},
		"after it was given up":         {4 * time.Minute, false},
	} {
		t.Run(when, func(t *testing.T) {
			inCluster(t, 2, func(t *testing.T, w *world) {
				slow, began := w.hosts[1], time.Now()
				slow.twin.SetLatency(enginetest.Create, c.lands)
				ctx, giveUp := context.WithTimeout(context.Background(), 5*time.Second)
				defer giveUp()
				if _, err := w.hosts[0].create(ctx, wanted{name: "late", port: "9000", on: "n2"}); err == nil {
					t.Fatal("the create came in time")
				}
				slow.twin.SetLatency(enginetest.Create, 0)
				slow.kill() // and with it the memory of the open call
				slow.start()
				w.whole()
				err := w.hosts[0].docker().ContainerRemove(w.soon(), "late", container.RemoveOptions{Force: true})
				if err == nil || !strings.Contains(err.Error(), "still being created on host n2") {
					t.Errorf("its removal is answered with %v", err)
				}
				second := ""
				for ; second == "" && time.Since(began) < c.lands+time.Minute; time.Sleep(5 * time.Second) {
					second, _ = w.hosts[0].create(w.soon(), wanted{name: "second", port: "9000", on: "n2"})
				}
				if c.kept != (second == "") {
					t.Errorf("the port was granted again after %v: %.12s", time.Since(began), second)
				}
				time.Sleep(time.Until(began.Add(c.lands + time.Minute)))
				made := map[string]string{}
				if second != "" {
					made["second"] = second
				} else if state, _ := w.hosts[0].row("late"); state != "created" {
					t.Errorf("the late one is %q", state)
				}
				w.judge(made)
			})
		})
	}
}

// What a hung engine was asked before it hung may still be done: nothing of it
// is free.
func TestAHungEnginesReservationIsNotGivenAgain(t *testing.T) {
	inCluster(t, 2, func(t *testing.T, w *world) {
		slow := w.hosts[1]
		slow.twin.Hang()
		ctx, giveUp := context.WithTimeout(context.Background(), 5*time.Second)
		defer giveUp()
		if _, err := w.hosts[0].create(ctx, wanted{name: "late", port: "9000", on: "n2"}); err == nil {
			t.Error("a hung engine made a container")
		}
		for _, again := range []bool{false, true} {
			if again {
				slow.kill()
				slow.start()
				time.Sleep(3 * time.Minute) // longer than it keeps what its former life began
			} else {
				time.Sleep(11 * time.Minute) // longer than the agent waits for the engine
			}
			ctx, giveUp := context.WithTimeout(context.Background(), 20*time.Second)
			if _, err := w.hosts[0].create(ctx, wanted{name: "second", port: "9000", on: "n2"}); err == nil {
				t.Error("the port was granted again")
			}
			giveUp()
		}
		slow.twin.Unhang()
		w.whole()
		w.settles()
		w.judge(nil)
		w.hosts[0].mustRun(wanted{name: "other", port: "9001", on: "n2"})
	})
}

// Somebody's own containers and processes are seen, and left in peace.
func TestOutsidersAreSeenAndNeverTouched(t *testing.T) {
	inCluster(t, 2, func(t *testing.T, w *world) {
		h := w.hosts[1]
		h.machine.listen(25000)
		theirs := h.outsider("theirs", "25001", "0-1")
		w.eventually("the outsider is known", func() bool {
			state, _ := w.hosts[0].row("theirs")
			return state == "running" && h.inside().ledgerHolds(h.name, port(25000), port(25001))
		})
		id := w.hosts[0].mustRun(wanted{name: "ours", ports: 2, cpus: 2, on: "n2"})
		in, err := w.hosts[0].docker().ContainerInspect(w.soon(), "ours")
		if err != nil {
			t.Fatal(err)
		}
		if got := in.HostConfig.CpusetCpus; got != "2-3" && got != "2,3" {
			t.Errorf("ours has cores %s beside an outsider on 0-1, want 2-3", got)
		}
		if got := hostPorts(w.hosts[0].placements()); len(got) != 2 || got[0] != 25002 || got[1] != 25003 {
			t.Errorf("ours has ports %v, want 25002 and 25003: the ones before are taken", got)
		}
		for who, want := range map[wanted]string{
			{name: "greedy", cpus: 1, on: "n2"}:          "core",
			{name: "listened", port: "25000", on: "n2"}:  "25000",
			{name: "published", port: "25001", on: "n2"}: "25001",
			{name: "theirs"}: "already in use",
		} {
			if _, err := w.hosts[0].create(w.soon(), who); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s is answered with %v, want a refusal that says %q", who.name, err, want)
			}
		}
		time.Sleep(2 * time.Minute)
		for _, o := range w.hosts { // also when their agents come and go
			o.stop()
		}
		for _, o := range w.hosts {
			o.start()
		}
		w.whole()
		time.Sleep(2 * time.Minute)
		if in, err := h.engine().ContainerInspect(w.soon(), theirs); err != nil || !in.State.Running || in.HostConfig.CpusetCpus != "0-1" {
			t.Errorf("the outsider is now %+v, %v", in.State, err)
		}
		w.judge(map[string]string{"ours": id})
	})
}

// A create to which the engine says 500 though it was done is not there twice.
func TestAnEngineThatMakesItAndSays500LeavesNothingBehind(t *testing.T) {
	inCluster(t, 2, func(t *testing.T, w *world) {
		for _, h := range w.hosts {
			h.twin.FailAfterSuccess(enginetest.Create)
		}
		if _, err := w.hosts[0].create(w.soon(), wanted{name: "liar", ports: 1, on: "n2"}); err == nil {
			t.Error("a 500 was passed on as success")
		}
		id := w.hosts[0].mustRun(wanted{name: "liar", ports: 1, on: "n2"})
		w.settles()
		w.judge(map[string]string{"liar": id})
	})
}
