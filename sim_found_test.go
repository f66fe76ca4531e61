package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"ddocker/consensus"
	"ddocker/consensus/ledger"
	"ddocker/crash"
)

// What the simulator found, each as the shortest way to it.

// follower returns the second machine, or the third where that one leads.
func (w *world) follower() *host {
	if w.hosts[1] == w.leader() {
		return w.hosts[2]
	}
	return w.hosts[1]
}

// restartTo starts the agent anew, and has something happen whenever it reaches the step.
func (h *host) restartTo(step crash.Step, happen func()) {
	h.stop()
	h.start(func(c *agentConfig) {
		c.crash = func(s crash.Step) {
			if s == step {
				happen()
			}
		}
	})
	h.of.whole()
}

// A create whose holder was not reached, and whose reservation could not be given up, tried
// another place and was refused its own name.
func TestACreateIsNotRefusedTheNameThatItHoldsItself(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, w *world) {
		by := w.hosts[1]
		by.restartTo(crash.CreateUnreached, func() { w.split(by) })
		away := w.hosts[2]
		if away == w.leader() {
			away = w.hosts[0]
		}
		away.kill()
		_, err := by.create(w.soon(), wanted{name: "web", on: away.name})
		if err == nil || strings.Contains(err.Error(), "already in use") || !strings.Contains(err.Error(), "host "+away.name+" cannot be reached") ||
			!strings.Contains(err.Error(), "is not released yet") {
			t.Errorf("it is answered: %v", err)
		}
		w.net.Heal()
		away.start()
		w.whole()
		w.settles()
		w.judge(map[string]string{"web": by.mustRun(wanted{name: "web", on: away.name})})
	})
}

// A host that died while it left, or could not undo what it had done for that, stayed
// drained and without a vote until somebody noticed.
func TestALeaveThatWasCutShortIsUndone(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, w *world) {
		for _, at := range []crash.Step{crash.LeaveDrained, crash.LeaveVoteless} {
			leaves := w.follower()
			died := leaves.crashAt(at, 1)
			if err := leaves.post("/ddocker/leave?force=1", nil); err == nil {
				t.Errorf("%s: it has left", at)
			}
			(<-died).start()
			w.eventually("it takes and votes as before", func() bool {
				there := false
				w.leader().inside().log.View(func(l *ledger.Ledger) {
					n := l.NodeNamed(leaves.name)
					there = n != nil && n.Drained == "" && n.Vote == ""
				})
				return there
			})
			w.whole()
			w.judge(map[string]string{string(at): leaves.mustRun(wanted{name: string(at), on: leaves.name})})
			if err := w.hosts[0].docker().ContainerRemove(w.soon(), string(at), container.RemoveOptions{Force: true}); err != nil {
				t.Error(err)
			}
			if exists(leaves.data, fileLeaving) {
				t.Errorf("%s: it is still noted that it leaves", at)
			}
		}
	})
}

// A leave that failed as nothing could be committed was undone before it was done: its drain
// was still in the leader's log, was committed when that could be, and stayed for ever.
func TestWhatALeaveAskedForIsNotDoneAfterItFailed(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		fill := w.disks()
		w.found()
		leaves := w.leader()
		fill(leaves)
		if err := leaves.post("/ddocker/leave?force=1", nil); err == nil {
			t.Error("it has left")
		}
		w.eventually("the leave is undone", func() bool { return !exists(leaves.data, fileLeaving) })
		w.whole()
		w.judge(map[string]string{"web": w.hosts[0].mustRun(wanted{name: "web", on: leaves.name})})
	})
}

// disks gives every machine a disk. What it returns fills all but one of them for so long
// that what is asked meanwhile fails, and no longer than a leader may wait for others.
func (w *world) disks() (fill func(but *host)) {
	all := map[*host]*consensus.Disk{}
	for _, h := range w.hosts {
		all[h] = &consensus.Disk{}
		h.stores = consensus.NewStoresOn(all[h])
	}
	return func(but *host) {
		for h, d := range all {
			d.Fill(h != but)
		}
		time.AfterFunc(9*time.Second, func() {
			for _, d := range all {
				d.Fill(false)
			}
		})
	}
}

// The removal that ends a leave is decided late: the host has left, as it wished to.
func TestALeaveThatIsDoneLateIsALeave(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		fill := w.disks()
		w.found()
		leaves := w.follower()
		leaves.restartTo(crash.LeaveKeyless, func() { fill(w.leader()) })
		if err := leaves.post("/ddocker/leave?force=1", nil); err != nil {
			t.Error(err)
		}
		if err := <-leaves.ended; err != nil {
			t.Error("it ends with", err)
		}
		leaves.forget()
		if exists(leaves.data, dirTLS) || !exists(leaves.data, fileParted) {
			t.Error("it is not wiped")
		}
	})
}

// A second leave that failed, too, kept the first one from being undone.
func TestALeaveThatFailedTwiceIsUndone(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, w *world) {
		leaves := w.follower()
		leaves.restartTo(crash.LeaveAsked, func() { w.split(leaves) })
		for range 2 {
			err := leaves.post("/ddocker/leave?force=1", nil)
			for err != nil && strings.Contains(err.Error(), "is leaving already") { // or stays, just now
				time.Sleep(time.Second)
				err = leaves.post("/ddocker/leave?force=1", nil)
			}
			if err == nil {
				t.Error("it has left")
			}
		}
		time.Sleep(time.Minute)
		w.net.Heal()
		w.eventually("the leave is undone", func() bool { return !exists(leaves.data, fileLeaving) })
	})
}

// What somebody decides about a host that died while it left is not undone with the leave.
func TestWhatIsDecidedAfterALeaveThatWasCutShortStays(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, w *world) {
		leaves := w.follower()
		id, died := leaves.inside().id.NodeID(), leaves.crashAt(crash.LeaveVoteless, 1)
		if err := leaves.post("/ddocker/leave?force=1", nil); err == nil {
			t.Error("it has left")
		}
		<-died
		by := w.leader().inside()
		if err := w.leader().post("/ddocker/nodes/"+leaves.name+"/drain", nil); err != nil { // by root, as the leave
			t.Error(err)
		}
		if err := by.decree(w.soon(), ledger.Command{Vote: &ledger.Vote{Node: id, Want: ledger.Always}}); err != nil {
			t.Error(err)
		}
		leaves.start()
		w.eventually("the leave is undone", func() bool { return !exists(leaves.data, fileLeaving) })
		w.leader().inside().log.View(func(l *ledger.Ledger) {
			if n := l.NodeNamed(leaves.name); n.Drained != "root" || n.Vote != ledger.Always {
				t.Errorf("it is drained by %q, and its vote is %q", n.Drained, n.Vote)
			}
		})
	})
}

// A host that heard no leader and greeted one that had been removed, for example the one by
// which it had joined, took the removal for its own.
func TestAHostThatGreetsARemovedOneStays(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, w *world) {
		stays, gone := w.hosts[1], w.hosts[2]
		stays.stop()
		stays.start(joining(gone, "used up"))
		w.whole()
		w.split(gone)
		w.eventually("it is removed", func() bool {
			return w.hosts[0].ask(http.MethodDelete, "/ddocker/nodes/"+gone.name+"?force=1", nil) == nil
		})
		w.eventually("that is known", func() bool { return stays.inside().gone(gone.inside().id.NodeID()) })
		w.net.Heal()
		w.net.Cut(w.hosts[0].ip, stays.ip)
		w.net.Cut(stays.ip, w.hosts[0].ip)
		time.Sleep(10 * lostAfter)
		select {
		case err := <-stays.ended:
			t.Fatalf("it ended with: %v", err)
		default:
		}
		w.net.Heal()
		gone.forget()
		w.hosts = w.hosts[:2]
		w.whole()
	})
}

// A host that was told to stop in the middle of a create said that another place may be
// found, and could not release the one that was reserved: the create was refused its name.
func TestAHostThatStopsUnderACreateDoesNotHaveItRefusedItsOwnName(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, w *world) {
		stops := w.hosts[2]
		stops.stop()
		stops.start(func(c *agentConfig) {
			c.crash = func(s crash.Step) {
				if s == crash.CreateBegun {
					stops.off()
				}
			}
		})
		w.whole()
		_, err := w.hosts[0].create(w.soon(), wanted{name: "web", on: stops.name})
		if err == nil || strings.Contains(err.Error(), "already in use") {
			t.Errorf("it is answered: %v", err)
		}
		stops.stop()
		stops.start()
		w.whole()
		w.settles()
		w.judge(map[string]string{"web": w.hosts[0].mustRun(wanted{name: "web", on: stops.name})})
	})
}
