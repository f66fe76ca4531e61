package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/docker/docker/api/types/container"
)

// What clients ask for and hear, and what they may hear: of a few names, each is
// free or held with one port, and no two with the same.
type (
	asked struct {
		verb string
		name int
		port int // of a create
	}
	heard  string
	record = porcupine.Operation
	table  [3]int // the port that each name holds; 0: it is free
)

const (
	done  heard = "done"  // created or removed
	taken heard = "taken" // the name is in use
	none  heard = "none"  // there is no such container
	busy  heard = "busy"  // it is still being created
	full  heard = "full"  // the port is in use
)

func ofHistories() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return table{} },
		Step: func(state, input, output any) (bool, any) {
			now, in := state.(table), input.(asked)
			held := now[in.name] != 0
			switch output.(heard) {
			case taken, busy:
				return held, now
			case none:
				return !held, now
			case full:
				return slices.Contains(now[:], in.port), now
			case done:
				fits := held == (in.verb == "remove") && (in.port == 0 || !slices.Contains(now[:], in.port))
				now[in.name] = in.port
				return fits, now
			}
			return false, now
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

// client creates and removes few names over fewer ports, each of one host, through
// random machines, until the time is over.
func (l *history) client(w *world, id int, until time.Time) {
	rng := rand.New(rand.NewPCG(uint64(id), 1))
	for time.Now().Before(until) {
		in := asked{verb: "remove", name: rng.IntN(len(table{}))}
		if rng.IntN(2) == 0 {
			in.verb, in.port = "create", 9000+rng.IntN(len(table{})-1)
		}
		by, name, call := w.hosts[rng.IntN(len(w.hosts))], fmt.Sprintf("name%d", in.name), time.Since(l.began)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		var err error
		if in.verb == "create" {
			_, err = by.create(ctx, wanted{name: name, port: strconv.Itoa(in.port), on: w.hosts[in.port%2].name})
		} else {
			err = by.docker().ContainerRemove(ctx, name, container.RemoveOptions{Force: true})
		}
		cancel()
		out, clear := listen(err)
		if !clear {
			w.t.Errorf("%v by %s is answered with: %v", in, by.name, err)
		}
		l.add(id, in, out, call)
		time.Sleep(time.Duration(rng.IntN(100)) * time.Millisecond)
	}
}

// listen understands an answer. Anything else than these is none in a cluster
// of which every machine runs.
func listen(err error) (out heard, clear bool) {
	if err == nil {
		return done, true
	}
	for _, known := range []struct {
		words string
		heard heard
	}{
		{"No such container", none}, {"is already in use by", taken}, {"is still being created", busy}, {"no host has", full},
	} {
		if strings.Contains(err.Error(), known.words) {
			return known.heard, true
		}
	}
	return "", false
}

// Creates and removals, as clients of five machines see them while leadership
// goes round, could have happened one after another.
func TestTheHistoryOfCreatesAndRemovalsIsLinearizable(t *testing.T) {
	inCluster(t, 5, func(t *testing.T, w *world) {
		w.net.SetDelay(time.Millisecond, 5*time.Millisecond) // replicas lie behind
		l := &history{began: time.Now()}
		until := l.began.Add(4 * time.Second)
		var clients sync.WaitGroup
		for id := range 6 {
			clients.Go(func() { l.client(w, id, until) })
		}
		for time.Now().Before(until) {
			time.Sleep(2 * time.Second)
			if err := w.hosts[0].post("/ddocker/raft/transfer-leader", nil); err != nil {
				t.Error(err)
			}
		}
		clients.Wait()
		heardOf := map[heard]int{}
		for _, o := range l.all {
			heardOf[o.Output.(heard)]++
		}
		t.Logf("%d operations: %v", len(l.all), heardOf)
		if result, _ := porcupine.CheckOperationsVerbose(ofHistories(), l.all, 20*time.Second); result != porcupine.Ok {
			t.Errorf("the history is %v", result)
		}
		w.judge(nil)
	})
}

// What one machine has acknowledged is true on every other at once, though their
// replicas lie behind.
func TestWhatIsAcknowledgedHoldsEverywhereAtOnce(t *testing.T) {
	inCluster(t, 5, func(t *testing.T, w *world) {
		for round := range 10 {
			by := func(i int) *host { return w.hosts[(round+i)%5] }
			want := wanted{name: "web", port: "9000", on: by(3).name}
			id, err := w.leader().create(w.soon(), want)
			if err != nil {
				t.Fatalf("create, round %d: %v", round, err)
			}
			if err := by(1).docker().ContainerStart(w.soon(), "web", container.StartOptions{}); err != nil {
				t.Errorf("start on another machine what was just created: %v", err)
			}
			if id, err = w.leader().replace(id, want); err != nil {
				t.Fatalf("replace, round %d: %v", round, err)
			}
			if _, err = by(2).replace(id, want); err != nil {
				t.Fatalf("replace elsewhere, round %d: %v", round, err)
			}
			if err := by(4).docker().ContainerRemove(w.soon(), "web", container.RemoveOptions{}); err != nil {
				t.Errorf("remove on another machine what was just created: %v", err)
			}
		}
		w.judge(nil)
	})
}

// replace removes a container and at once creates another with all that it held.
func (h *host) replace(id string, want wanted) (string, error) {
	if err := h.docker().ContainerRemove(h.of.soon(), id, container.RemoveOptions{Force: true}); err != nil {
		return "", err
	}
	return h.create(h.of.soon(), want)
}
