package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"ddocker/consensus"
	"ddocker/consensus/ledger"
	"ddocker/engine/enginetest"
)

// parted waits until the agent has ended by itself and takes its machine out of the world.
func (w *world) parted(h *host) error {
	w.t.Helper()
	var err error
	select {
	case err = <-h.ended:
	case <-time.After(time.Minute):
		w.t.Fatalf("the agent of %s goes on", h.name)
	}
	h.forget()
	w.hosts = slices.DeleteFunc(w.hosts, func(o *host) bool { return o == h })
	return err
}

// back puts the machine into the world again, with the disk of one that never ran an agent
// but for its data directory.
func (w *world) back(h *host, by *host, token string) {
	h.stores = consensus.NewStores()
	w.hosts = append(w.hosts, h)
	h.start(joining(by, token))
}

// busy runs containers by these machines and on them, one after another, until it is
// stopped, and returns what went wrong.
func (w *world) busy(by []*host) (stop func() []string) {
	var all sync.WaitGroup
	var mu sync.Mutex
	var wrong []string
	done := make(chan struct{})
	for i, h := range by {
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				time.Sleep(50 * time.Millisecond)
				name := fmt.Sprintf("busy%d-%d", i, n)
				id, err := h.create(w.soon(), wanted{name: name, ports: 1, on: by[n%len(by)].name})
				if err == nil {
					err = h.docker().ContainerRemove(w.soon(), id, container.RemoveOptions{Force: true})
				}
				if err != nil {
					mu.Lock()
					wrong = append(wrong, h.name+": "+err.Error())
					mu.Unlock()
				}
			}
		})
	}
	return func() []string {
		close(done)
		all.Wait()
		return wrong
	}
}

func TestAHostLeavesForGoodWithinTwoSecondsAndMayComeBack(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		machines int
		leads    bool
	}{
		"the leader of three": {3, true}, "a voter of three": {3, false},
		"the leader of two": {2, true}, "the follower of two": {2, false}, "the leader of five": {5, true},
	} {
		t.Run(what, func(t *testing.T) {
			inCluster(t, c.machines, func(t *testing.T, w *world) {
				time.Sleep(10 * time.Second)
				leaves := w.leader()
				if !c.leads {
					leaves = w.hosts[slices.IndexFunc(w.hosts, func(h *host) bool { return h != leaves })]
				}
				stay := slices.DeleteFunc(slices.Clone(w.hosts), func(h *host) bool { return h == leaves })
				made := map[string]string{"kept": stay[0].mustRun(wanted{name: "kept", on: stay[0].name, ports: 1})}
				gone := stay[0].mustRun(wanted{name: "gone", on: leaves.name, port: "8080"})
				if err := leaves.post("/ddocker/leave", nil); err == nil || !strings.Contains(err.Error(), "host "+leaves.name+" holds gone: ") {
					t.Errorf("with a container it is answered: %v", err)
				}
				stop := w.busy(stay)
				time.Sleep(time.Second)
				began := time.Now()
				if err := leaves.post("/ddocker/leave?force=1", nil); err != nil {
					t.Fatalf("leave by force: %v\n%s", err, w)
				}
				took := time.Since(began)
				time.Sleep(time.Second)
				if wrong := stop(); took > 2*time.Second || len(wrong) > 0 {
					t.Errorf("it took %v, and meanwhile others were told %q", took, wrong)
				}
				if err := w.parted(leaves); err != nil {
					t.Errorf("its agent ended with: %v", err)
				}
				w.whole()
				if state, _ := stay[0].row("gone"); state != "lost" {
					t.Errorf("what it left behind is %q", state)
				}
				made["new"] = stay[0].mustRun(wanted{name: "new", port: "8080"}) // which is free
				w.judge(made)
				if left := files(leaves.data); !slices.Equal(left, []string{dirAudit, fileParted}) {
					t.Errorf("of it stay %q", left)
				}
				leaves.start()
				if said := leaves.refused(); !strings.Contains(said, "host "+leaves.name+" left the cluster at ") {
					t.Errorf("started again it says: %s", said)
				}
				w.back(leaves, stay[0], stay[0].token())
				w.whole()
				w.eventually("the container is found again", func() bool {
					state, _ := stay[0].row("gone")
					return state == "running"
				})
				if c, err := stay[0].docker().ContainerInspect(w.soon(), "gone"); err != nil || c.ID != gone || !c.State.Running {
					t.Errorf("it is %v, %v", c.ContainerJSONBase, err)
				}
			})
		})
	}
}

func TestTheOnlyHostDoesNotLeave(t *testing.T) {
	inCluster(t, 1, func(t *testing.T, w *world) {
		if err := w.hosts[0].post("/ddocker/leave?force=1", nil); err == nil || !strings.Contains(err.Error(), "n1 is the only host of the cluster: ") {
			t.Errorf("it is answered: %v", err)
		}
		made := map[string]string{"after": w.hosts[0].mustRun(wanted{name: "after"})}
		w.judge(made)
	})
}

// A voter whom nobody can replace stays, and nothing is changed.
func TestAVoterLeavesOnlyWhenItsVoteIsTakenOver(t *testing.T) {
	inCluster(t, 2, func(t *testing.T, w *world) {
		leader := w.leader()
		other := w.hosts[slices.IndexFunc(w.hosts, func(h *host) bool { return h != leader })]
		other.kill()
		time.Sleep(time.Minute)
		if err := leader.post("/ddocker/leave", nil); err == nil || !strings.Contains(err.Error(), "still votes on the cluster's log") {
			t.Errorf("it is answered: %v", err)
		}
		leader.inside().log.View(func(l *ledger.Ledger) {
			if n := l.NodeNamed(leader.name); n == nil || n.Vote != "" {
				t.Errorf("it is %+v afterwards", n)
			}
		})
		other.start()
		w.whole()
	})
}

func TestADeadHostIsRemovedAndAMachineWithItsNameTakesItsPlace(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, w *world) {
		h, dead := w.hosts[0], w.hosts[2]
		made := map[string]string{"kept": h.mustRun(wanted{name: "kept", on: "n2"})}
		lost := h.mustRun(wanted{name: "lost", on: "n3", gpus: 1})
		if err := h.ask(http.MethodDelete, "/ddocker/nodes/n3", nil); err == nil || !strings.Contains(err.Error(), `host n3 is up: run \"ddocker leave\" on it`) {
			t.Errorf("a live one: %v", err)
		}
		if err := h.ask(http.MethodDelete, "/ddocker/nodes/n1", nil); err == nil || !strings.Contains(err.Error(), `run \"ddocker leave\" on it`) {
			t.Errorf("itself: %v", err)
		}
		dead.kill()
		<-dead.ended
		time.Sleep(time.Minute)
		// The machine is set up anew, with the same name.
		again := w.add()
		again.name = "n3"
		again.start(joining(h, h.token()))
		const want = `a node named n3 is already in the cluster, at 10.0.0.3:7722, and does not answer: if this machine is to take its place, run "ddocker node rm n3" on n1 and join again; else start this one with another --name`
		if said := again.refused(); !strings.HasSuffix(said, want) {
			t.Errorf("it is told: %s", said)
		}
		w.hosts = w.hosts[:2]
		if err := h.ask(http.MethodDelete, "/ddocker/nodes/n3", nil); err != nil {
			t.Fatal(err)
		}
		if state, took := w.hosts[1].row("lost"); state != "lost" || took > time.Second {
			t.Errorf("what was there is %q, after %v", state, took)
		}
		if _, err := h.docker().ContainerInspect(w.soon(), "lost"); err == nil || !strings.Contains(err.Error(), "No such container: lost: it was on host n3, which was removed at ") {
			t.Errorf("its inspection says: %v", err)
		}
		w.whole()
		if err := w.hosts[1].docker().ContainerRemove(w.soon(), lost[:12], container.RemoveOptions{}); err != nil {
			t.Errorf("forget it: %v", err)
		}
		if state, _ := h.row("lost"); state != "" {
			t.Errorf("once forgotten it is %q", state)
		}
		again.plug("GPU-n3") // which the ledger believes to be where it was
		w.back(again, h, h.token())
		w.whole()
		made["new"] = h.mustRun(wanted{name: "lost", on: "n3", gpus: 1})
		made["lost"] = made["new"]
		delete(made, "new")
		w.judge(made)
	})
}

// files names what is in a directory.
func files(dir string) (names []string) {
	entries, _ := os.ReadDir(dir) // none is told of then
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// With the command that a removed host is told to type it is back at once, though it has
// the certificates of before; with the token of before it is not.
func TestAHostThatWasRemovedWhileItWasOffComesBackWithANewToken(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, w *world) {
		h, away := w.hosts[0], w.hosts[1]
		first, err := os.ReadFile(filepath.Join(away.data, fileJoined))
		if err != nil {
			t.Fatal(err)
		}
		old := w.idOf(away)
		away.stop()
		w.hosts = slices.Delete(w.hosts, 1, 2)
		if err := h.ask(http.MethodDelete, "/ddocker/nodes/n2", nil); err != nil {
			t.Fatal(err)
		}
		w.back(away, h, h.token())
		w.whole()
		if w.idOf(away) == old {
			t.Error("it is back as the node that was removed")
		}
		if now, err := os.ReadFile(filepath.Join(away.data, fileJoined)); err != nil || string(now) == string(first) {
			t.Errorf("it has joined with %s, %v", now, err)
		}
		w.judge(map[string]string{"back": away.mustRun(wanted{name: "back", on: "n2"})})

		again := h.token()
		away.stop()
		away.start(joining(h, again)) // which has no need of it
		w.whole()
		if err := h.ask(http.MethodDelete, "/ddocker/nodes/n2?force=1", nil); err != nil {
			t.Fatal(err)
		}
		if said := away.refused(); !strings.Contains(said, "host n2 was removed from the cluster by root at ") {
			t.Errorf("it ends with: %s", said)
		}
		away.start(joining(h, again))
		if said := away.refused(); !strings.Contains(said, "the token that was given is the one of before: host n2 was removed") {
			t.Errorf("with the token of before it says: %s", said)
		}
		if made := files(away.data); !slices.Contains(made, dirTLS) {
			t.Errorf("without a word of its owner it keeps only %q", made)
		}
		w.hosts = slices.DeleteFunc(w.hosts, func(o *host) bool { return o == away })
	})
}

// When the only holder of the CA's key has left, another host can still let machines in.
func TestTheCAsKeyDoesNotLeaveWithItsOnlyHolder(t *testing.T) {
	inCluster(t, 2, func(t *testing.T, w *world) {
		leaves := w.leader()
		stays := w.hosts[slices.IndexFunc(w.hosts, func(h *host) bool { return h != leaves })]
		if stays.inside().authority() != nil {
			t.Fatal("a host that does not vote has the key")
		}
		if err := leaves.post("/ddocker/leave", nil); err != nil {
			t.Fatal(err)
		}
		if stays.inside().authority() == nil {
			t.Error("the key is nowhere")
		}
		if err := w.parted(leaves); err != nil {
			t.Error(err)
		}
		w.back(leaves, stays, stays.token())
		w.whole()
	})
}

// A create that was broken off by a leave was made all the same, as nobody's.
func TestALeaveLetsCreatesEnd(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, w *world) {
		leaves := w.hosts[slices.IndexFunc(w.hosts, func(h *host) bool { return h != w.leader() })]
		leaves.twin.SetLatency(enginetest.Create, 3*time.Second)
		type made struct {
			id  string
			err error
		}
		done := make(chan made)
		go func() {
			id, err := w.leader().create(w.soon(), wanted{name: "web", on: leaves.name})
			done <- made{id, err}
		}()
		w.eventually("it is being made", func() bool { return len(leaves.placements()) == 1 })
		if err := leaves.post("/ddocker/leave?force=1", nil); err != nil {
			t.Errorf("leave: %v", err)
		}
		m := <-done
		if m.err != nil {
			t.Errorf("create: %v", m.err)
		}
		w.parted(leaves)
		if rows := w.hosts[0].listed("web"); len(rows) != 1 || rows[0].ID != m.id || rows[0].State != "lost" || rows[0].Status != "Host left" {
			t.Errorf("it is listed as %+v", rows)
		}
	})
}
