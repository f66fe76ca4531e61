package main

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"ddocker/engine/enginetest"
)

// listed returns the rows of ps -a by h of that name.
func (h *host) listed(name string) (rows []container.Summary) {
	h.of.t.Helper()
	rows, err := h.docker().ContainerList(h.of.soon(), container.ListOptions{All: true})
	if err != nil {
		h.of.t.Fatalf("list containers by %s: %v", h.name, err)
	}
	return slices.DeleteFunc(rows, func(r container.Summary) bool { return r.Names[0] != "/"+name })
}

// goneUnconfirmed is a cluster of which a host made "told", said so, and had no quorum to
// confirm it; then it died, and was removed.
func goneUnconfirmed(t *testing.T, then func(w *world, h, gone *host, id string)) {
	inCluster(t, 3, func(t *testing.T, w *world) {
		time.Sleep(15 * time.Second) // the log is written in the newest version
		gone := w.hosts[slices.IndexFunc(w.hosts, func(h *host) bool { return h != w.leader() })]
		gone.twin.SetLatency(enginetest.Create, 5*time.Second)
		told := make(chan string, 1)
		go func() {
			id, err := gone.create(w.soon(), wanted{name: "told", on: gone.name})
			if err != nil {
				t.Error(err)
			}
			told <- id
		}()
		time.Sleep(2 * time.Second) // it is reserved, and being made
		w.split(gone)
		id := <-told
		gone.kill()
		<-gone.ended
		gone.twin.SetLatency(enginetest.Create, 0)
		w.hosts = slices.DeleteFunc(w.hosts, func(h *host) bool { return h == gone })
		for _, h := range w.hosts { // nothing of what it sent is under way any more
			w.net.Reset(gone.ip, h.ip)
		}
		w.net.Heal()
		time.Sleep(time.Minute)
		h := w.hosts[0]
		if err := h.ask(http.MethodDelete, "/ddocker/nodes/"+gone.name, nil); err != nil {
			t.Fatal(err)
		}
		then(w, h, gone, id)
	})
}

// Without a quorum a reservation stands in for the confirmation, also when its host is removed.
func TestWhatWasAcknowledgedUnconfirmedIsLostWithItsHost(t *testing.T) {
	goneUnconfirmed(t, func(w *world, h, gone *host, _ string) {
		rows := h.listed("told")
		if len(rows) != 1 || rows[0].State != "lost" || rows[0].Status != "Host removed, may not have been made" {
			t.Fatalf("it is listed as %+v", rows)
		}
		if _, err := h.docker().ContainerInspect(w.soon(), "told"); err == nil || !strings.Contains(err.Error(), "it was on host "+gone.name+", which was removed at ") {
			t.Errorf("its inspection says: %v", err)
		}
		if err := h.docker().ContainerRemove(w.soon(), rows[0].ID[:12], container.RemoveOptions{}); err != nil {
			t.Errorf("forget it: %v", err)
		}
		if rows := h.listed("told"); len(rows) > 0 {
			t.Errorf("once forgotten it is listed as %+v", rows)
		}
		w.judge(map[string]string{"told": h.mustRun(wanted{name: "told"})})
	})
}

func TestWhatWasAcknowledgedUnconfirmedIsFoundWhenItsHostIsBack(t *testing.T) {
	goneUnconfirmed(t, func(w *world, h, gone *host, id string) {
		w.back(gone, h, h.token())
		w.whole()
		w.eventually("it is found", func() bool {
			rows := h.listed("told")
			return len(rows) == 1 && rows[0].ID == id && rows[0].State == "created"
		})
	})
}
