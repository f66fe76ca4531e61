package main

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// Whatever it is the last of, one of 32 gets it and the others hear of it.
func TestOfManyCreatesForTheLastOneExactlyOneWins(t *testing.T) {
	t.Parallel()
	for last, c := range map[string]struct {
		want    wanted
		taken   func(w *world) // all but the last
		refusal string
	}{
		"GPU": {wanted{gpus: 1}, func(w *world) {
			w.hosts[0].mustRun(wanted{name: "first", gpus: 1})
			w.hosts[1].mustRun(wanted{name: "second", gpus: 1})
		}, "GPU"},
		"core": {wanted{cpus: 1}, func(w *world) {
			for i, h := range w.hosts {
				h.mustRun(wanted{name: h.name + "-a", cpus: 3, on: h.name})
				if i > 0 {
					h.mustRun(wanted{name: h.name + "-b", cpus: 1, on: h.name})
				}
			}
		}, "core"},
		"named port": {wanted{port: "8080"}, func(w *world) {
			w.hosts[0].mustRun(wanted{name: "first", port: "8080"})
			w.hosts[1].mustRun(wanted{name: "second", port: "8080"})
		}, "8080"},
	} {
		t.Run(last, func(t *testing.T) {
			inCluster(t, 3, func(t *testing.T, w *world) {
				c.taken(w)
				made, refusals := map[string]string{}, []string{}
				var mu sync.Mutex
				var all sync.WaitGroup
				for i := range 32 {
					all.Go(func() {
						want := c.want
						want.name = fmt.Sprintf("racer%d", i)
						id, err := w.hosts[i%3].create(w.soon(), want)
						mu.Lock()
						defer mu.Unlock()
						if err == nil {
							made[want.name] = id
						} else {
							refusals = append(refusals, err.Error())
						}
					})
				}
				all.Wait()
				if len(made) != 1 {
					t.Errorf("%d of 32 won: %v", len(made), made)
				}
				for _, said := range refusals {
					if !strings.Contains(said, "no host has") || !strings.Contains(said, c.refusal) {
						t.Errorf("a loser hears %q", said)
					}
				}
				w.judge(made)
			})
		})
	}
}
