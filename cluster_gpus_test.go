package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
)

// inCardCluster runs a test in a cluster of n machines with two cards each.
func inCardCluster(t *testing.T, n int, test func(t *testing.T, w *world)) {
	t.Helper()
	inWorld(t, n, func(t *testing.T, w *world) {
		for _, h := range w.hosts {
			h.plug("GPU-"+h.name+"-0", "GPU-"+h.name+"-1")
		}
		w.found()
		test(t, w)
	})
}

// granted returns the cards that the ledger gave to the containers, by their names.
func (w *world) granted() map[string][]string {
	cards := map[string][]string{}
	for _, p := range w.up()[0].placements() {
		if len(p.Grant.GPUs) > 0 {
			cards[p.Name] = p.Grant.GPUs
		}
	}
	return cards
}

// wantOwnCards checks that each running container was given the cards of its grant and
// no others, and none has two containers.
func (w *world) wantOwnCards(when string) {
	w.t.Helper()
	given, visible := map[string][]string{}, map[string][]string{}
	for _, p := range w.up()[0].placements() {
		given[p.Container] = p.Grant.GPUs
	}
	holder := map[string]string{}
	for _, h := range w.hosts {
		for id, cards := range h.twin.Visible() {
			visible[id] = cards
			for _, card := range cards {
				if other := holder[card]; other != "" {
					w.t.Errorf("%s: %s is in %.12s and in %.12s", when, card, other, id)
				}
				holder[card] = id
			}
			if !slices.Equal(cards, given[id]) {
				w.t.Errorf("%s: %.12s sees %q, and was granted %q", when, id, cards, given[id])
			}
		}
	}
}

// Eight cards are in four machines, and 40 people want one each.
func TestOfManyClientsEachCardGoesToOne(t *testing.T) {
	inCardCluster(t, 4, func(t *testing.T, w *world) {
		next := 0
		for round := range 2 {
			made, refusals := map[string]string{}, []string{}
			var mu sync.Mutex
			var all sync.WaitGroup
			for i := range 40 {
				name := fmt.Sprintf("racer%d", next)
				next++
				all.Go(func() {
					h := w.hosts[i%4]
					id, err := h.create(w.soon(), wanted{name: name, gpus: 1})
					if err == nil {
						err = h.docker().ContainerStart(w.soon(), id, container.StartOptions{})
					}
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						made[name] = id
					} else {
						refusals = append(refusals, err.Error())
					}
				})
			}
			all.Wait()
			if len(made) != 8 {
				t.Errorf("in round %d %d of 40 won: %v", round, len(made), made)
			}
			for _, said := range refusals {
				if !strings.Contains(said, "no host has") || !strings.Contains(said, "GPU") {
					t.Errorf("a loser hears %q", said)
				}
			}
			cards := 0
			for _, h := range w.hosts {
				cards += len(h.twin.Visible())
			}
			if cards != 8 {
				t.Errorf("in round %d %d containers have a card", round, cards)
			}
			w.judge(made)
			w.wantOwnCards(fmt.Sprint("round ", round))
			for _, id := range made {
				if err := w.hosts[round].docker().ContainerRemove(w.soon(), id, container.RemoveOptions{Force: true}); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

func TestImageOfAContainerDoesNotBringItsCardsAlong(t *testing.T) {
	inCardCluster(t, 3, func(t *testing.T, w *world) {
		h := w.hosts[0]
		id := h.mustRun(wanted{name: "first", gpus: 2, on: "n1"})
		if _, err := h.docker().ContainerCommit(w.soon(), id, container.CommitOptions{Reference: "mine:1"}); err != nil {
			t.Fatal(err)
		}
		h.mustRun(wanted{name: "second", gpus: 1, on: "n2", image: "mine:1"})
		bare := h.mustRun(wanted{name: "third", on: "n3", image: "mine:1"})
		w.wantOwnCards("after the commit")
		if got := w.granted()["second"]; len(got) != 1 || !strings.HasPrefix(got[0], "GPU-n2-") {
			t.Errorf("second was granted %q", got)
		}
		for name, want := range map[string]string{bare: "void", "second": w.granted()["second"][0]} {
			in, err := h.docker().ContainerInspect(w.soon(), name)
			if err != nil {
				t.Fatal(err)
			}
			if got := slices.DeleteFunc(in.Config.Env, func(e string) bool { return !strings.HasPrefix(e, "NVIDIA_VISIBLE") }); !slices.Equal(got, []string{"NVIDIA_VISIBLE_DEVICES=" + want}) {
				t.Errorf("%s has %q, want %s", name, got, want)
			}
		}
	})
}

func TestContainersKeepTheirCardsWhateverRestarts(t *testing.T) {
	inCardCluster(t, 3, func(t *testing.T, w *world) {
		for i, h := range w.hosts {
			h.mustRun(wanted{name: fmt.Sprint("c", i), gpus: 2 - i%2, on: h.name})
		}
		before := w.granted()
		h := w.hosts[1]
		for what, restart := range map[string]func(){
			"stop and start of a container": func() {
				if err := w.hosts[0].docker().ContainerStop(w.soon(), "c1", container.StopOptions{}); err != nil {
					t.Fatal(err)
				}
				if err := w.hosts[2].docker().ContainerStart(w.soon(), "c1", container.StartOptions{}); err != nil {
					t.Fatal(err)
				}
			},
			"a new life of an agent":  func() { h.kill(); h.start(); w.whole() },
			"a new life of an engine": func() { h.twin.Restart(); time.Sleep(15 * time.Second) },
		} {
			restart()
			w.wantOwnCards(what)
			if got := w.granted(); fmt.Sprint(got) != fmt.Sprint(before) {
				t.Errorf("after %s granted are %v, before %v", what, got, before)
			}
		}
		if _, err := h.create(w.soon(), wanted{name: "more", gpus: 2}); err == nil || !strings.Contains(err.Error(), "no host has 2") {
			t.Errorf("two cards more: %v", err)
		}
		h.mustRun(wanted{name: "one", gpus: 1})
		w.wantOwnCards("the last card")
	})
}

// A card that is carried to another machine is used there when its old one has let go.
func TestCardMovesToAnotherHost(t *testing.T) {
	inCardCluster(t, 3, func(t *testing.T, w *world) {
		from, to := w.hosts[0], w.hosts[1]
		from.plug("GPU-n1-0")
		time.Sleep(5 * time.Second)
		to.plug("GPU-n2-0", "GPU-n2-1", "GPU-n1-1")
		w.whole()
		for i := range 6 {
			w.hosts[2].mustRun(wanted{name: fmt.Sprint("c", i), gpus: 1})
		}
		w.wantOwnCards("after the move")
		if _, err := to.create(w.soon(), wanted{name: "more", gpus: 1}); err == nil {
			t.Error("a seventh card was found")
		}
	})
}
