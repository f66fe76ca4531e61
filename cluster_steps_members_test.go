package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/crash"
)

// A machine that joins is a node in the end, and one only, whoever dies meanwhile: the
// same command is enough.
func TestWhoeverDiesWhileAMachineJoinsItBecomesANode(t *testing.T) {
	inWorld(t, 3, func(t *testing.T, w *world) {
		m := newMatrix(w, false)
		for i, step := range steps("join") {
			for _, by := range []*host{w.leader(), w.hosts[slices.IndexFunc(w.hosts, func(h *host) bool { return h != w.leader() })]} {
				m.join(step, by, fmt.Sprint(step, i, " by ", by.name))
			}
		}
		m.end()
	})
}

// join has one machine join while one dies at the step, and leave again.
func (m *matrix) join(step crash.Step, by *host, name string) {
	comes := m.add()
	again := joining(by, by.token())
	dead := m.crashAt(step, 1, m.hosts...)
	comes.start(again)
	var died *host
	m.within(patience, step, func() bool {
		select {
		case died = <-dead:
		default:
			comes.retry(again)
		}
		return died != nil
	})
	time.Sleep(away)
	if died == comes {
		comes.start(again)
	} else if died != nil {
		died.start()
	}
	m.eventually(name+": the cluster is whole", func() bool {
		comes.retry(again)
		return m.isWhole()
	})
	if err := comes.post("/ddocker/leave", nil); err != nil {
		m.t.Errorf("%s: it cannot leave again: %v", name, err)
	}
	m.parted(comes)
	m.whole()
}

// within waits for a step.
func (m *matrix) within(d time.Duration, step crash.Step, reached func() bool) {
	m.t.Helper()
	for end := time.Now().Add(d); !reached(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			m.t.Errorf("no machine comes to %s", step)
			break
		}
	}
	for _, h := range m.hosts {
		h.arm(nil)
	}
}

// outlive waits until a machine has died at the step and the request was answered, starts
// the machine again after a while, and returns it with the answer.
func (m *matrix) outlive(dead <-chan *host, told <-chan error, step crash.Step, limit time.Duration) (died *host, err error) {
	m.t.Helper()
	m.within(limit, step, func() bool {
		select {
		case died = <-dead:
		default:
		}
		return died != nil
	})
	err = <-told
	time.Sleep(away)
	if died != nil {
		died.start()
	}
	return died, err
}

// retry starts an agent again that has given up, as a supervisor does.
func (h *host) retry(as func(*agentConfig)) {
	select {
	case err := <-h.ended:
		h.of.logs.note("the agent of %s has ended with: %v", h.name, err)
		h.forget()
		time.Sleep(time.Second)
		h.start(as)
	default:
	}
}

// A host that leaves is gone in the end, whoever dies meanwhile, and as good as new for
// whom it joins then.
func TestWhoeverDiesWhileAHostLeavesItIsGoneAndMayComeBack(t *testing.T) {
	inWorld(t, 4, func(t *testing.T, w *world) {
		m := newMatrix(w, true)
		for _, step := range steps("leave") {
			for _, leads := range []bool{true, false} {
				m.leave(step, leads)
			}
		}
		m.end()
	})
}

func (m *matrix) leave(step crash.Step, leads bool) {
	leaves := m.leader()
	if !leads {
		leaves = m.hosts[slices.IndexFunc(m.hosts, func(h *host) bool { return h != leaves && h.votes() })]
	}
	name := fmt.Sprintf("%s, %s leaves, leading: %v", step, leaves.name, leads)
	m.logs.note("%s", name)
	if step == crash.LeaveKeyKept {
		if leaves.inside().authority() == nil { // it was taken from it when another left
			leaves = m.hosts[slices.IndexFunc(m.hosts, func(h *host) bool { return h.votes() && h.inside().authority() != nil })]
		}
		for _, h := range m.hosts {
			if h != leaves {
				os.Remove(filepath.Join(h.data, fileCAKey))
			}
		}
	}
	dead := m.crashAt(step, 1, m.hosts...)
	told := make(chan error, 1)
	go func() { told <- leaves.post("/ddocker/leave?force=1", nil) }()
	died, err := m.outlive(dead, told, step, patience)
	rest := slices.DeleteFunc(slices.Clone(m.hosts), func(h *host) bool { return h == leaves })
	m.eventually(name+": it is gone", func() bool {
		if ended := leaves.hasEnded(); ended {
			return true
		}
		if !rest[0].knows(leaves.name) {
			return false // it will hear of it
		}
		err = leaves.post("/ddocker/leave?force=1", nil)
		time.Sleep(time.Second)
		return false
	})
	m.logs.note("%s: the client was told %v", name, err)
	m.hosts = rest
	m.whole()
	if rest[0].knows(leaves.name) {
		m.t.Errorf("%s: the ledger still has it", name)
	}
	leaves.forget()
	// Who was told by others only that it is no node any more keeps what it has.
	if left := leaves.secrets(); len(left) > 0 && died == leaves && (step == crash.LeaveParted || step == crash.LeaveWiping) || len(left) > 0 && died != leaves {
		m.t.Errorf("%s: on its disk are still %q", name, left)
	}
	m.back(leaves, rest[0], rest[0].token())
	m.whole()
}

// hasEnded says whether the agent has ended by itself.
func (h *host) hasEnded() bool {
	select {
	case err := <-h.ended:
		h.of.logs.note("the agent of %s has ended with: %v", h.name, err)
		return true
	default:
		return false
	}
}

// knows says whether h's ledger has a node of that name.
func (h *host) knows(name string) (known bool) {
	h.inside().log.View(func(l *ledger.Ledger) { known = l.NodeNamed(name) != nil })
	return known
}

// secrets names what a host that is in no cluster should not have.
func (h *host) secrets() []string {
	return slices.DeleteFunc(files(h.data), func(name string) bool {
		return name == dirAudit || name == fileParted || name == dirImages
	})
}

// A change of the voters comes to its end, whoever dies in it.
func TestWhoeverDiesWhileVotersChangeTheRightOnesVoteInTheEnd(t *testing.T) {
	inWorld(t, 6, func(t *testing.T, w *world) {
		m := newMatrix(w, false)
		for _, step := range steps("vote") {
			m.vote(step)
		}
		m.end()
	})
}

// vote has the leader lose its vote, which takes one change of each kind.
func (m *matrix) vote(step crash.Step) {
	leads := m.leader()
	asked := m.hosts[slices.IndexFunc(m.hosts, func(h *host) bool { return h != leads })]
	dead := m.crashAt(step, 1, m.hosts...)
	demote := func() error { return asked.post("/ddocker/raft/demote/"+leads.name, nil) }
	told := make(chan error, 1)
	go func() { told <- demote() }()
	_, err := m.outlive(dead, told, step, 2*patience)
	m.eventually(fmt.Sprint(step, ": the host is no voter any more"), func() bool {
		if err != nil {
			err = demote()
		}
		return err == nil && m.isWhole() && !leads.votes()
	})
	if err := asked.post("/ddocker/raft/automatic/"+leads.name, nil); err != nil {
		m.t.Errorf("%s: %v", step, err)
	}
	m.whole()
}

// isWhole says what whole waits for.
func (m *matrix) isWhole() bool {
	return m.leader() != nil && !slices.ContainsFunc(m.hosts, func(h *host) bool { return !h.settled(len(m.hosts)) })
}

// Every step is a step of some way, so that none is added that no machine dies at.
func TestEveryStepIsOnAWay(t *testing.T) {
	on := map[crash.Step]bool{}
	for _, way := range slices.Concat(slices.Sorted(maps.Keys(ways())), []string{"join", "leave", "vote"}) {
		for _, s := range steps(way) {
			on[s] = true
		}
	}
	for _, s := range crash.Steps() {
		if !on[s] {
			t.Errorf("%s is on no way", s)
		}
	}
}
