package main

import (
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"

	"ddocker/consensus/ledger"
)

// parts waits until the named machines, which are cut off from all others, believe that
// those are gone.
func (w *world) parts(few ...*host) {
	w.t.Helper()
	w.eventually("who is cut off believes that the others are gone", func() bool {
		for _, h := range few {
			for _, m := range h.inside().gossip.Members() {
				if m.Alive && !slices.ContainsFunc(few, func(o *host) bool { return o.name == m.Name }) {
					return false
				}
			}
		}
		return true
	})
}

// A machine that is cut off from the others keeps its own containers in hand
// and gives nothing away.
func TestACutOffMinorityServesItsContainersAndReservesNothing(t *testing.T) {
	inCluster(t, 5, func(t *testing.T, w *world) {
		alone := w.hosts[2]
		id := alone.mustRun(wanted{name: "mine", on: "n3"})
		made := map[string]string{"mine": id, "theirs": w.hosts[0].mustRun(wanted{name: "theirs", on: "n1"})}
		w.split(alone)
		w.parts(alone)

		_, err := alone.create(w.soon(), wanted{name: "never"})
		if err == nil || !strings.Contains(err.Error(), "the cluster has no leader") || !strings.Contains(err.Error(), "voters answer (") {
			t.Errorf("a create on the minority is answered with %v, want a sentence that names the voters", err)
		}
		if got, want := alone.list(), []string{"mine", "theirs"}; !slices.Equal(got, want) {
			t.Errorf("the minority lists %v, want %v", got, want)
		}
		alone.canUse("mine")
		err = alone.docker().ContainerStart(w.soon(), "theirs", container.StartOptions{})
		if err == nil || !strings.Contains(err.Error(), "container theirs is on host n1, which does not answer") {
			t.Errorf("starting what is elsewhere is answered with %v", err)
		}
		made["meanwhile"] = w.hosts[0].mustRun(wanted{name: "meanwhile"})

		w.net.Heal()
		w.whole()
		made["later"] = alone.mustRun(wanted{name: "later"})
		w.settles()
		w.judge(made)
	})
}

// Some of them hold no log, on either side: of what they are told by others they show
// what they heard last.
func TestAMinorityOfThreeWithReadersServesWhatItHasAndAgreesAfterwards(t *testing.T) {
	inCluster(t, 5, func(t *testing.T, w *world) {
		made := map[string]string{}
		for _, h := range w.hosts {
			made["on-"+h.name] = w.hosts[0].mustRun(wanted{name: "on-" + h.name, on: h.name})
		}
		readers := w.hosts[3:]
		for _, h := range readers {
			w.propose(ledger.Command{Vote: &ledger.Vote{Node: w.idOf(h), Want: ledger.Never}})
		}
		reads := func(h *host) bool { return h.inside().log.Status().State == "Reader" }
		w.eventually("three vote and two read", func() bool {
			return !slices.ContainsFunc(w.hosts, func(h *host) bool {
				return len(h.inside().log.Status().Voters) != 3 || reads(h) != slices.Contains(readers, h)
			})
		})
		few := []*host{readers[0], w.leader()}
		w.split(few...)
		w.parts(few...)

		for i, h := range few {
			if got := h.list(); !slices.Equal(got, slices.Sorted(maps.Keys(made))) {
				t.Errorf("%s of the minority lists %v", h.name, got)
			}
			if state, _ := h.row("on-n5"); state != "unreachable" {
				t.Errorf("%s of the minority lists what is beyond the cut as %s", h.name, state)
			}
			h.canUse("on-" + h.name)
			h.canUse("on-" + few[(i+1)%len(few)].name)
			_, err := h.create(w.soon(), wanted{name: "never-" + h.name})
			if err == nil || !strings.Contains(err.Error(), "the cluster has no leader: 1 of 3 voters answer (") {
				t.Errorf("a create by %s of the minority is answered with %v", h.name, err)
			}
		}
		for _, h := range w.hosts {
			if !slices.Contains(few, h) {
				made["by-"+h.name] = h.mustRun(wanted{name: "by-" + h.name})
			}
		}
		w.net.Heal()
		for _, h := range readers {
			w.propose(ledger.Command{Vote: &ledger.Vote{Node: w.idOf(h)}})
		}
		w.whole()
		w.settles()
		for _, h := range w.hosts {
			if got := h.list(); !slices.Equal(got, slices.Sorted(maps.Keys(made))) {
				t.Errorf("%s lists %v afterwards", h.name, got)
			}
		}
		w.judge(made)
	})
}

// canUse stops, starts, reads and enters a container through h's agent.
func (h *host) canUse(name string) {
	t, docker, ctx := h.of.t, h.docker(), h.of.soon()
	t.Helper()
	none := 0
	if err := docker.ContainerStop(ctx, name, container.StopOptions{Timeout: &none}); err != nil {
		t.Errorf("stop: %v", err)
	}
	if err := docker.ContainerStart(ctx, name, container.StartOptions{}); err != nil {
		t.Errorf("start: %v", err)
	}
	logs, err := docker.ContainerLogs(ctx, name, container.LogsOptions{ShowStdout: true})
	if err != nil {
		t.Fatalf("logs: %v", err)
	}
	logs.Close()
	session, err := docker.ContainerExecCreate(ctx, name, container.ExecOptions{Cmd: []string{"echo", "hello"}, AttachStdout: true})
	if err != nil {
		t.Fatalf("exec: %v", err)
	}
	stream, err := docker.ContainerExecAttach(ctx, session.ID, container.ExecAttachOptions{})
	if err != nil {
		t.Fatalf("attach to the exec: %v", err)
	}
	defer stream.Close()
	said, err := io.ReadAll(stream.Reader)
	if err != nil || !strings.Contains(string(said), "hello") {
		t.Errorf("the exec says %q, %v", said, err)
	}
}
