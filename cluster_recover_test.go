package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/identity"
)

// recovers is "ddocker raft recover" on a machine whose agent is off.
func (h *host) recovers(stdin string, force bool) (said string, err error) {
	h.of.t.Helper()
	id, err := identity.Load(filepath.Join(h.data, dirTLS))
	if err != nil {
		h.of.t.Fatal(err)
	}
	net := h.of.net.Boot(h.ip)
	defer h.of.net.Kill(net)
	var out strings.Builder
	r := recovery{id: id, stores: h.stores, net: net, in: strings.NewReader(stdin), out: &out, force: force}
	err = r.run(h.of.soon())
	return out.String(), err
}

func TestAMachineRecoversTheClusterWhenMostVotersAreLost(t *testing.T) {
	inCluster(t, 4, func(t *testing.T, w *world) { // three vote
		var voters []*host
		for _, h := range w.hosts {
			if h.votes() {
				voters = append(voters, h)
			}
		}
		by, lost, last := voters[0], voters[1], voters[2]
		made := map[string]string{"kept": by.mustRun(wanted{name: "kept", on: by.name})}
		w.alike()
		by.stop()
		if said, err := by.recovers("y\n", false); err == nil || !strings.Contains(err.Error(), " still answers: a quorum may be there") ||
			!strings.Contains(err.Error(), lost.name) || !strings.Contains(err.Error(), last.name) || strings.Contains(said, "sure") {
			t.Errorf("while the others run it says %q, %v", said, err)
		}
		lost.kill()
		<-lost.ended
		if _, err := by.recovers("y\n", false); err == nil || !strings.HasPrefix(err.Error(), last.name+" still answers") {
			t.Errorf("while one runs it says %v", err)
		}
		last.kill()
		<-last.ended
		for answer, want := range map[string]string{"n\n": "nothing was changed", "": "nothing was changed"} {
			if said, err := by.recovers(answer, false); err == nil || err.Error() != want || !strings.Contains(said, by.name+" will be the only voter. What other voters had beyond entry ") {
				t.Errorf("who says %q is told %q, %v", answer, said, err)
			}
		}
		if said, err := by.recovers("y\n", false); err != nil || !strings.HasSuffix(said, "Done. Start the agent again, here first: systemctl start ddocker\n") {
			t.Fatalf("it says %q, %v", said, err)
		}
		by.start()
		w.eventually("it leads", func() bool { return w.leader() == by })
		made["anew"] = by.mustRun(wanted{name: "anew", on: by.name})
		last.start() // after all
		w.hosts = slices.DeleteFunc(w.hosts, func(h *host) bool { return h == lost })
		w.eventually("the lost host is known to be down", func() bool {
			return by.ask(http.MethodDelete, "/ddocker/nodes/"+lost.name, nil) == nil
		})
		w.whole()
		made["later"] = last.mustRun(wanted{name: "later", on: last.name})
		w.settles()
		w.judge(made)
	})
}

// onDisk has an agent keep its log in its data directory.
func onDisk(cfg *agentConfig) { cfg.stores = nil }

func TestAMachineWithATornLogJoinsAgainAsANewServer(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		h, torn := w.hosts[0], w.hosts[2]
		h.start()
		w.hosts[1].start(joining(h, h.token()))
		torn.start(joining(h, h.token()), onDisk)
		w.whole()
		old := w.idOf(torn)
		made := map[string]string{"there": h.mustRun(wanted{name: "there", on: "n2"})}
		torn.stop()
		log := filepath.Join(torn.data, dirRaft, "raft.db")
		text, err := os.ReadFile(log)
		if err == nil {
			clear(text[2*os.Getpagesize():]) // which is all but where bolt begins
			err = os.WriteFile(log, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		torn.start(onDisk)
		if said := torn.refused(); !strings.Contains(said, "is damaged (") || !strings.Contains(said, "and was moved to "+filepath.Join(torn.data, dirRaft)) {
			t.Errorf("it is told: %s", said)
		}
		torn.start(onDisk)
		if said := torn.refused(); !strings.Contains(said, "belonged to a cluster, but its certificates are gone") {
			t.Errorf("started again it is told: %s", said)
		}
		torn.start(joining(h, h.token()), onDisk)
		if said := torn.refused(); !strings.Contains(said, `run "ddocker node rm n3" on n1 and join again`) {
			t.Errorf("joining with its old name it is told: %s", said)
		}
		if err := h.ask(http.MethodDelete, "/ddocker/nodes/n3", nil); err != nil {
			t.Fatal(err)
		}
		torn.start(joining(h, h.token()), onDisk)
		w.whole()
		if id := w.idOf(torn); id == old {
			t.Errorf("it is %s again, with a log that may lack a vote", id)
		}
		for _, s := range h.inside().log.Servers() {
			if s.ID == old {
				t.Errorf("its old self is a server still: %+v", s)
			}
		}
		made["new"] = h.mustRun(wanted{name: "new", on: "n3"})
		w.settles()
		w.judge(made)
	})
}

func TestHostsThatARestoredLedgerLacksRegisterAtOnce(t *testing.T) {
	inWorld(t, 5, func(t *testing.T, w *world) {
		h := w.hosts[0]
		h.start()
		token := h.token()
		w.eventually("it has told what is there", func() bool {
			_, err := h.create(w.soon(), wanted{name: "before"})
			return err == nil
		})
		saved := h.replica()
		for _, o := range w.hosts[1:] {
			o.start(joining(h, token))
		}
		w.whole()
		later := w.hosts[4].mustRun(wanted{name: "later", on: "n5", ports: 1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := w.leader().inside().log.Restore(ctx, saved); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		w.eventually("all hosts are in the ledger again", func() bool {
			for _, o := range w.hosts {
				nodes := 0
				if o.inside().log.View(func(l *ledger.Ledger) { nodes = len(l.Nodes()) }); nodes != len(w.hosts) {
					return false
				}
			}
			return true
		})
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("it took %v", took)
		}
		w.whole()
		if got := w.hosts[2].list(); !slices.Equal(got, []string{"before", "later"}) {
			t.Errorf("%v are listed", got)
		}
		if in, err := w.hosts[4].engine().ContainerInspect(w.soon(), later); err != nil || !in.State.Running {
			t.Errorf("what the ledger forgot is %v, %v", in.State, err)
		}
		w.hosts[1].mustRun(wanted{name: "after", on: "n5", ports: 1})
		w.alike()
	})
}
