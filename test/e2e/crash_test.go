package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ddocker/test/lab"
)

// graceOfReservations is how long a reservation may outlive the crash of its holder's
// agent: a create that the engine accepted may still land meanwhile.
const graceOfReservations = 4 * time.Minute

// TestKillingAgentsAmidCreates kills the agent that was asked, and another one that
// may be the holder, at moments spread over the time that a create takes. In the end
// the cluster's list is what the engines have, and nothing is held for nobody.
func TestKillingAgentsAmidCreates(t *testing.T) {
	l := bare(t)
	l.Cluster(t)
	whole := free(t, l)
	began := time.Now()
	l.Host(1).DDocker(t, "create", "--type", "0", "--ports", "1", "--name", "measure", "busybox")
	pace := time.Since(began) / 8
	l.Host(1).DDocker(t, "rm", "-f", "measure")

	var acknowledged []string
	for i, victim := range l.Hosts() {
		name := fmt.Sprint("crash", i)
		if create(t, l.Host(1), victim, name, time.Duration(1+3*i)*pace) {
			acknowledged = append(acknowledged, name)
		}
		victim.StartAgent(t)
		lab.Eventually(t, time.Minute, func() error { return eachAlive(l) })
	}
	agree(t, l, time.Minute)
	listed := names(t, l.Host(3))
	for _, name := range acknowledged {
		if !slices.Contains(listed, name) {
			t.Errorf("%s was acknowledged and is not among %v", name, listed)
		}
	}
	for _, name := range listed {
		l.Host(2).DDocker(t, "rm", "-f", name)
	}
	lab.Eventually(t, graceOfReservations, func() error {
		if now := free(t, l); now != whole {
			return fmt.Errorf("free at first:\n%sfree in the end:\n%s", whole, now)
		}
		return nil
	})
}

// create asks one host for a container and kills an agent after a while. It tells
// whether the create was acknowledged, in which case it must be listed in the end.
func create(t *testing.T, asked, victim *lab.Host, name string, after time.Duration) bool {
	t.Helper()
	var result lab.Result
	var creating sync.WaitGroup
	creating.Go(func() {
		result = asked.Run("ddocker", "create", "--type", "0", "--ports", "1", "--name", name, "busybox")
	})
	<-time.After(after)
	victim.KillAgent(t)
	creating.Wait()
	return result.Code == 0
}

// agree waits until the cluster lists exactly what the engines have, from every host.
func agree(t *testing.T, l *lab.Lab, limit time.Duration) {
	t.Helper()
	lab.Eventually(t, limit, func() error {
		var have []string
		for _, h := range l.Hosts() {
			have = append(have, strings.Fields(h.Docker(t, "ps", "-a", "--format", "{{.Names}}"))...)
		}
		slices.Sort(have)
		for _, h := range l.Hosts() {
			if listed := names(t, h); !slices.Equal(listed, have) {
				return fmt.Errorf("%s lists %v, the engines have %v", h.Name(), listed, have)
			}
		}
		return nil
	})
}

func names(t *testing.T, h *lab.Host) []string {
	t.Helper()
	list := strings.Fields(h.DDocker(t, "ps", "-a", "--format", "{{.Names}}"))
	slices.Sort(list)
	return list
}

// free is what every host has free, of all it has.
func free(t *testing.T, l *lab.Lab) string {
	t.Helper()
	lab.Eventually(t, time.Minute, func() error { return eachAlive(l) })
	return l.Host(1).DDocker(t, "nodes", "--format", "{{.Name}} {{.Cores}} {{.Memory}}")
}

func eachAlive(l *lab.Lab) error {
	for _, h := range l.Hosts() {
		r := h.Run("ddocker", "nodes", "--format", "{{.State}}")
		if r.Stdout != "alive\nalive\nalive\n" {
			return errors.New(h.Name() + " sees " + r.Stdout + r.Stderr)
		}
	}
	return nil
}

func holderOf(t *testing.T, l *lab.Lab, name string) *lab.Host {
	t.Helper()
	host := strings.TrimSpace(l.Host(1).DDocker(t, "ps", "-a", "--filter", "name="+name, "--format", "{{.Host}}"))
	for _, h := range l.Hosts() {
		if h.Name() == host {
			return h
		}
	}
	t.Fatalf("%q holds %s", host, name)
	return nil
}
