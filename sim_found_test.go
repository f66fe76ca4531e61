package main

import (
	"strings"
	"testing"

	"ddocker/crash"
)

// What the simulator found, each as the shortest way to it.

// A create whose holder was not reached, and whose reservation could not be given up, tried
// another place and was refused its own name.
func TestACreateIsNotRefusedTheNameThatItHoldsItself(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, w *world) {
		by := w.hosts[1]
		by.stop()
		by.start(func(c *agentConfig) {
			c.crash = func(s crash.Step) {
				if s == crash.CreateUnreached {
					w.split(by)
				}
			}
		})
		w.whole()
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
