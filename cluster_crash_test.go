package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"ddocker/consensus/ledger"
	"ddocker/engine/enginetest"
)

// burst asks the machines in turn for n containers at once, each with a port, so
// many cores and the host that on names, "" for any, starts them, and does
// something meanwhile. It returns the acknowledged.
func (w *world) burst(n int, cpus float64, on func(i int) string, meanwhile func()) map[string]string {
	w.bursts++
	made := map[string]string{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range n {
		by, name := w.hosts[i%len(w.hosts)], fmt.Sprintf("burst%d-%d", w.bursts, i)
		all.Go(func() {
			id, err := by.create(w.soon(), wanted{name: name, ports: 1, cpus: cpus, on: on(i)})
			if err == nil { // whether it starts is another matter: its host may be gone
				_ = by.docker().ContainerStart(w.soon(), id, container.StartOptions{})
			}
			if err != nil {
				w.logs.note("%s by %s was not made: %v", name, by.name, err)
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

// Of the creates in flight when the leader dies, those that are acknowledged are
// there, and of the others nothing is left.
func TestTheLeaderDiesWhileThirtyCreatesAreInFlight(t *testing.T) {
	inCluster(t, 5, func(t *testing.T, w *world) {
		for _, h := range w.hosts {
			h.twin.SetLatency(enginetest.Create, 10*time.Millisecond)
		}
		dies := w.leader()
		made := w.burst(30, 0, func(i int) string { return w.hosts[(i+1+i/5)%5].name }, func() {
			time.Sleep(7 * time.Millisecond)
			dies.kill()
		})
		w.eventually("another leads", func() bool { return w.leader() != nil })
		made["after"] = w.up()[0].mustRun(wanted{name: "after", on: w.up()[1].name})
		dies.start()
		w.whole()
		w.settles()
		w.judge(made)
	})
}

// A crash at any moment of a create or a removal, of any machine that has a part
// in it, leaves neither a container without a placement, nor the reverse, nor
// anything held twice, and takes back nothing that was acknowledged.
func TestACrashAtAnyMomentOfACreateLosesAndLeaksNothing(t *testing.T) {
	const crashes = 12
	inCluster(t, 3, func(t *testing.T, w *world) {
		c := &ordeal{world: w, rng: rand.New(rand.NewPCG(1, 0)), made: map[string]string{}}
		for _, h := range w.hosts {
			h.twin.SetLatency(enginetest.Create, 10*time.Millisecond)
			h.twin.SetLatency(enginetest.Remove, 5*time.Millisecond)
		}
		for range crashes {
			c.once()
		}
		w.whole()
		time.Sleep(3 * time.Minute) // which is longer than any reservation waits
		w.judge(c.made)
		c.judgeGone()
		t.Logf("%d crashes, %d creates acknowledged, %d removals", crashes, c.acked, len(c.gone))
		if c.acked < crashes {
			t.Errorf("only %d creates were acknowledged", c.acked)
		}
	})
}

// The first client of a node that was off is told what was decided meanwhile.
func TestANodeThatStartsAnswersWithWhatWasDecidedMeanwhile(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, w *world) {
		h := w.hosts[2]
		h.stop()
		w.propose(ledger.Command{Drain: &ledger.Drain{Node: w.idOf(w.hosts[1]), By: "alice"}})
		h.start()
		var nodes json.RawMessage
		w.eventually("it answers", func() bool { return h.ask(http.MethodGet, "/ddocker/nodes", &nodes) == nil })
		if !strings.Contains(string(nodes), "drained by alice") {
			t.Errorf("it says %s", nodes)
		}
	})
}

// ordeal is a cluster of three under crashes, and what its clients were told.
type ordeal struct {
	*world
	rng   *rand.Rand
	made  map[string]string // ID by name
	acked int

	mu   sync.Mutex // guards gone
	gone []string   // IDs
}

// kept is how many containers stay from one crash to the next.
const kept = 3

// once kills one machine while each of the three is asked for a container and
// for a few removals, and brings it back.
func (c *ordeal) once() {
	c.eventually("there is a leader", func() bool { return c.leader() != nil })
	dies := c.hosts[c.rng.IntN(len(c.hosts))]
	if c.rng.IntN(3) == 0 {
		dies = c.leader()
	}
	moment := time.Duration(c.rng.IntN(30_000)) * time.Microsecond
	off := time.Duration(c.rng.IntN(3000)) * time.Millisecond
	var removals sync.WaitGroup
	for i, name := range c.surplus() {
		by, id := c.hosts[i%len(c.hosts)], c.made[name]
		delete(c.made, name)
		removals.Go(func() { c.remove(by, name, id) })
	}
	made := c.burst(3, 1, func(int) string { return "" }, func() {
		time.Sleep(moment)
		dies.kill()
		time.Sleep(off)
		dies.start()
	})
	removals.Wait()
	maps.Copy(c.made, made)
	c.acked += len(made)
}

// surplus names what is to be removed: all whose making was not acknowledged, and
// of the others all but a few.
func (c *ordeal) surplus() []string {
	names := slices.Sorted(maps.Keys(c.made))
	names = names[min(kept, len(names)):]
	rows, err := c.hosts[0].docker().ContainerList(c.soon(), container.ListOptions{All: true})
	if err != nil {
		return names // its agent is still starting
	}
	for _, r := range rows {
		name := strings.TrimPrefix(r.Names[0], "/")
		if _, acknowledged := c.made[name]; !acknowledged {
			names = append(names, name)
		}
	}
	return names
}

// remove removes a container, whose ID may be unknown. If that fails, nothing
// can be said of it.
func (c *ordeal) remove(by *host, name, id string) {
	if by.docker().ContainerRemove(c.soon(), name, container.RemoveOptions{Force: true}) != nil || id == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = append(c.gone, id)
}

func (c *ordeal) judgeGone() {
	for _, id := range c.gone {
		for _, h := range c.hosts {
			if _, err := h.engine().ContainerInspect(c.soon(), id); err == nil {
				c.t.Errorf("%.12s was removed, and is on %s", id, h.name)
			}
		}
	}
}
