package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/docker/docker/api/types/container"
)

// The register that a history of creates and removals must look like, one a
// name: a name is free, or has its container and its port.
type (
	asked  struct{ verb, name string }
	heard  string
	record = porcupine.Operation
)

const (
	done  heard = "done"  // created or removed
	taken heard = "taken" // the name is in use
	none  heard = "none"  // there is no such container
	full  heard = "full"  // the port is in use, by whomever
	busy  heard = "busy"  // it is still being created
	lost  heard = "lost"  // nobody knows
)

func register() porcupine.Model {
	return porcupine.Model{
		Partition: func(all []record) [][]record {
			byName := map[string][]record{}
			var names [][]record
			for _, o := range all {
				byName[o.Input.(asked).name] = append(byName[o.Input.(asked).name], o)
			}
			for _, one := range byName {
				names = append(names, one)
			}
			return names
		},
		Init: func() any { return false }, // whether the name is held
		Step: func(state, input, output any) (bool, any) {
			held, create := state.(bool), input.(asked).verb == "create"
			switch output.(heard) {
			case done:
				return held != create, create
			case taken, busy:
				return held, held
			case none:
				return !held, held
			case full:
				return true, held
			}
			return true, held
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprint(input, " ", output) },
	}
}

// history is what some clients did and heard.
type history struct {
	began time.Time

	mu  sync.Mutex // guards all
	all []record
}

func (l *history) add(client int, in asked, out heard, call time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, record{ClientId: client, Input: in, Output: out, Call: int64(call), Return: int64(time.Since(l.began))})
}

// client creates and removes few names over few ports through random machines
// until the time is over.
func (l *history) client(w *world, id int, until time.Time) {
	rng := rand.New(rand.NewPCG(uint64(id), 1))
	for time.Now().Before(until) {
		in := asked{"create", fmt.Sprintf("name%d", rng.IntN(3))}
		if rng.IntN(2) == 0 {
			in.verb = "remove"
		}
		by, call := w.hosts[rng.IntN(len(w.hosts))], time.Since(l.began)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		var err error
		if in.verb == "create" {
			_, err = by.create(ctx, wanted{name: in.name, port: fmt.Sprint(9000 + rng.IntN(2))})
		} else {
			err = by.docker().ContainerRemove(ctx, in.name, container.RemoveOptions{Force: true})
		}
		cancel()
		l.add(id, in, listen(err), call)
		time.Sleep(time.Duration(rng.IntN(100)) * time.Millisecond)
	}
}

func listen(err error) heard {
	switch {
	case err == nil:
		return done
	case strings.Contains(err.Error(), "No such container"):
		return none
	case strings.Contains(err.Error(), "is still being created"):
		return busy
	case strings.Contains(err.Error(), "is already in use by"):
		return taken
	case strings.Contains(err.Error(), "no host has"):
		return full
	}
	return lost
}

// Creates and removals, as clients of five machines see them while leadership
// goes round, could have happened one after another.
func TestTheHistoryOfCreatesAndRemovalsIsLinearizable(t *testing.T) {
	inCluster(t, 5, func(w *world) {
		l := &history{began: time.Now()}
		until := l.began.Add(time.Duration(short(20, 5)) * time.Second)
		var clients sync.WaitGroup
		for id := range 6 {
			clients.Go(func() { l.client(w, id, until) })
		}
		for time.Now().Before(until) {
			time.Sleep(3 * time.Second)
			_ = w.hosts[0].post("/ddocker/raft/transfer-leader", nil)
		}
		clients.Wait()
		heardOf := map[heard]int{}
		for _, o := range l.all {
			heardOf[o.Output.(heard)]++
		}
		t.Logf("%d operations: %v", len(l.all), heardOf)
		for _, relax := range []string{"", "none taken", "none busy", "taken busy", "none taken busy"} {
			m := register()
			step := m.Step
			m.Step = func(st, in, out any) (bool, any) {
				if strings.Contains(relax, string(out.(heard))) {
					return true, st
				}
				return step(st, in, out)
			}
			r, _ := porcupine.CheckOperationsVerbose(m, l.all, 20*time.Second)
			t.Log(relax, r)
		}
		if result, _ := porcupine.CheckOperationsVerbose(register(), l.all, 20*time.Second); result != porcupine.Ok {
			t.Errorf("the history is %v", result)
		}
		time.Sleep(3 * time.Minute)
		w.judge(nil)
	})
}
