package main

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"ddocker/engine/enginetest"
)

// burst asks the hosts in turn for n containers at once, with a port each and a
// host that on names, "" for any, and does something meanwhile. It returns the
// acknowledged.
func (w *world) burst(n int, by []*host, on func(i int) string, meanwhile func()) map[string]string {
	w.bursts++
	made := map[string]string{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range n {
		name := fmt.Sprintf("burst%d-%d", w.bursts, i)
		all.Go(func() {
			id, err := by[i%len(by)].create(w.soon(), wanted{name: name, ports: 1, on: on(i)})
			if err != nil {
				w.logs.note("%s by %s was not made: %v", name, by[i%len(by)].name, err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			made[name] = id
		})
	}
	meanwhile()
	all.Wait()
	return made
}

// Whoever hangs in a create when the leader dies is served by the next leader,
// unless it spoke to the dead machine or was placed there.
func TestTheLeaderDiesWhileThirtyCreatesAreInFlight(t *testing.T) {
	t.Parallel()
	for seed := range short(4, 1) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			inCluster(t, 5, func(w *world) {
				for _, h := range w.hosts {
					h.twin.SetLatency(enginetest.Create, 10*time.Millisecond)
				}
				dies := w.leader()
				made := w.burst(30, w.hosts, func(i int) string { return w.hosts[(i+1+i/5)%5].name }, func() {
					time.Sleep(time.Duration(2+5*seed) * time.Millisecond)
					dies.kill()
				})
				if len(made) < 16 {
					t.Errorf("only %d of 30 creates survived, of which at least 16 had nothing to do with the dead machine", len(made))
				}
				dies.start()
				w.whole()
				time.Sleep(3 * time.Minute)
				w.judge(made)
			})
		})
	}
}

// A crash at any moment of a create, of any machine that has a part in it,
// leaves neither a container without a placement, nor the reverse, nor anything
// held twice, and takes back nothing that was acknowledged.
func TestACrashAtAnyMomentOfACreateLosesAndLeaksNothing(t *testing.T) {
	const worlds, crashes = 8, 26
	t.Parallel()
	for seed := range short(worlds, 2) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			inCluster(t, 3, func(w *world) {
				rng := rand.New(rand.NewPCG(uint64(seed), 0))
				for _, h := range w.hosts {
					h.twin.SetLatency(enginetest.Create, 10*time.Millisecond)
				}
				made := map[string]string{}
				for range crashes {
					w.crashDuringCreates(rng, made)
				}
				w.whole()
				time.Sleep(3 * time.Minute)
				w.judge(made)
				t.Logf("%d of %d creates were acknowledged", len(made), crashes*3)
			})
		})
	}
}

// crashDuringCreates kills one machine while each of the three is asked for a
// container, and brings it back.
func (w *world) crashDuringCreates(rng *rand.Rand, made map[string]string) {
	w.eventually("there is a leader", func() bool { return w.leader() != nil })
	dies := w.hosts[rng.IntN(len(w.hosts))]
	if rng.IntN(3) == 0 {
		dies = w.leader()
	}
	moment := time.Duration(rng.IntN(30_000)) * time.Microsecond
	for name, id := range w.burst(3, w.hosts, func(int) string { return "" }, func() {
		time.Sleep(moment)
		dies.kill()
		time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
		dies.start()
	}) {
		made[name] = id
	}
}

// short returns how many to do of many, few with -short.
func short(many, few int) int {
	if testing.Short() {
		return few
	}
	return many
}
