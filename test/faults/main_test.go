//go:build faults

// Package faults breaks a cluster of real engines, one thing at a time, and looks what a
// user sees meanwhile and what is left of it when it is mended.
//
// It takes minutes, so it is not part of the other tests:
//
//	make test-faults
//
// Each test ends in [world.over]: a minute after all was mended, at most, every node says
// the same; nothing is held twice; what was acknowledged is there; and no container was
// touched.
package faults

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ddocker/test/judge"
	"ddocker/test/lab"
)

const (
	// agreement is how long the nodes may take to agree after all was mended.
	agreement = time.Minute
	// graceOfReservations is how long a reservation may outlive who asked for it: a create
	// that an engine accepted may still land meanwhile.
	graceOfReservations = 4 * time.Minute
	// onePs is how long one list may take, while nobody knows yet that a host is away;
	// nextPs is the same when it is known.
	onePs, nextPs = 1500 * time.Millisecond, time.Second
	// onePatience bounds what a client waits for that goes on behind its back.
	onePatience = 30 * time.Second
)

// shared is the one lab of this test binary.
var shared *lab.Lab

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "ddocker-faults-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	bin := filepath.Join(dir, "ddocker")
	build := exec.Command("go", "build", "-o", bin, "ddocker")
	build.Env = append(os.Environ(), "CGO_CFLAGS=-Wno-deprecated-declarations")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("build the program: %w\n%s", err, out)
	}
	if err := errors.Join(os.Setenv("DDOCKER_BIN", bin), os.Setenv("GORACE", "atexit_sleep_ms=0")); err != nil {
		return 0, err
	}
	if shared, err = lab.Raise(3); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, shared.Down()) }()
	return m.Run(), nil
}

// world is the lab with one cluster on it, for one test.
type world struct {
	*lab.Lab
	*judge.Judge
	t    *testing.T
	told map[string]string // containers that clients were told of, IDs by name
	// strangers are containers of a node that was removed: the ledger knows them no more.
	strangers []string
}

// faulty is what no agent may ever write, whatever was done to it.
var faulty = regexp.MustCompile(`(?m)^(WARNING: DATA RACE|panic: |fatal error: )`)

// raise makes one cluster, in which all three hosts vote. Before is called with the bare lab.
func raise(t *testing.T, before ...func(*lab.Lab)) *world {
	t.Helper()
	if err := shared.Clean(); err != nil {
		t.Fatal(err)
	}
	w := &world{Lab: shared, Judge: judge.New(shared), t: t, told: map[string]string{}}
	t.Cleanup(func() {
		for _, h := range w.Hosts() {
			text := h.AgentLog()
			if at := faulty.FindStringIndex(text); at != nil {
				t.Errorf("the agent of %s wrote:\n%s", h.Name(), text[at[0]:])
			} else if t.Failed() {
				t.Logf("the agent of %s wrote last:\n%s", h.Name(), tail(text, 25))
			}
		}
	})
	for _, f := range before {
		f(w.Lab)
	}
	w.Cluster(t)
	w.settle()
	return w
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// settle waits until all nodes agree, and returns how long it took.
func (w *world) settle() time.Duration {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), agreement)
	defer cancel()
	took, err := w.Settled(ctx)
	if err != nil {
		w.t.Fatalf("after %v: %v", took.Round(time.Millisecond), err)
	}
	return took
}

// over judges what is left, now that all is mended.
func (w *world) over(before map[string]judge.Container) {
	w.t.Helper()
	w.t.Logf("%v after all was mended every node says the same", w.settle().Round(time.Millisecond))
	wrong := w.sound()
	now := w.containers()
	for _, what := range slices.Concat(wrong, judge.Touched(before, now), judge.Missing(w.told, now)) {
		w.t.Error(what)
	}
}

// sound waits until nothing is held any more of what was broken off, and returns what is
// wrong then. What is held twice is wrong at once.
func (w *world) sound() (wrong []string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), graceOfReservations)
	defer cancel()
	began := time.Now()
	err := lab.Poll(ctx, func() (err error) {
		if wrong, err = w.Wrong(ctx); err != nil {
			return err
		}
		wrong = slices.DeleteFunc(wrong, func(what string) bool {
			return slices.ContainsFunc(w.strangers, func(name string) bool { return strings.Contains(what, " has "+name+" of placement ") })
		})
		if len(wrong) == 0 || strings.Contains(strings.Join(wrong, "\n"), "is held by") {
			return nil
		}
		return fmt.Errorf("%q", wrong)
	})
	if len(wrong) == 0 && err != nil {
		w.t.Error(err)
	}
	if took := time.Since(began); took > 2*time.Second {
		w.t.Logf("what was broken off was held %v longer", took.Round(time.Second))
	}
	return wrong
}

func (w *world) containers() map[string]judge.Container {
	w.t.Helper()
	all, err := w.Containers(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// wish is what a test wants a container to have.
type wish struct {
	name, on, port string
	cpus           float64
	ports          int
	command        string // sleep when empty
}

// create makes a container by host i and starts it. What is acknowledged is remembered.
func (w *world) create(ctx context.Context, i int, want wish) error {
	id, err := w.make(ctx, i, want)
	if err != nil {
		return err
	}
	w.told[want.name] = id
	return w.Agent(i).Ask(ctx, http.MethodPost, "/containers/"+id+"/start", nil, nil)
}

// make makes a container.
func (w *world) make(ctx context.Context, i int, want wish) (id string, err error) {
	labels := map[string]string{}
	if want.ports > 0 {
		labels["ddocker.ports"] = fmt.Sprint(want.ports)
	}
	if want.on != "" {
		labels["ddocker.node"] = want.on
	}
	host, exposed := map[string]any{}, map[string]any{}
	if want.cpus > 0 {
		host["NanoCpus"] = int64(want.cpus * 1e9)
	}
	if want.port != "" {
		exposed["80/tcp"] = struct{}{}
		host["PortBindings"] = map[string]any{"80/tcp": []map[string]string{{"HostPort": want.port}}}
	}
	command := want.command
	if command == "" {
		command = "sleep 100000"
	}
	var made struct{ ID string }
	err = w.Agent(i).Ask(ctx, http.MethodPost, "/containers/create?name="+want.name, map[string]any{
		"Image": "busybox", "Cmd": []string{"sh", "-c", command}, "Labels": labels, "ExposedPorts": exposed, "HostConfig": host,
	}, &made)
	return made.ID, err
}

// stock has two containers run on each host, one of them with a port and a core of its own,
// and returns how they are.
func (w *world) stock() map[string]judge.Container {
	w.t.Helper()
	return w.stockWith(wish{name: "pinned", cpus: 1, ports: 1}, wish{name: "shared"})
}

// shared has two containers run on each host that share its cores.
func (w *world) shared() map[string]judge.Container {
	w.t.Helper()
	return w.stockWith(wish{name: "limited", cpus: 0.1, ports: 1}, wish{name: "shared"})
}

func (w *world) stockWith(wishes ...wish) map[string]judge.Container {
	w.t.Helper()
	for i, h := range w.Hosts() {
		for _, want := range wishes {
			want.name, want.on = want.name+"-"+h.Name(), h.Name()
			if err := w.create(w.t.Context(), i+1, want); err != nil {
				w.t.Fatalf("create %s: %v", want.name, err)
			}
		}
	}
	return w.containers()
}

// leader is the host that leads; others are the other two.
func (w *world) leader() (leader *lab.Host, others []*lab.Host) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), onePatience)
	defer cancel()
	err := lab.Poll(ctx, func() error {
		leader, others = nil, nil
		for _, h := range w.Hosts() {
			if strings.Contains(h.Run("ddocker", "raft", "status").Stdout, "State:         Leader") {
				leader = h
			} else {
				others = append(others, h)
			}
		}
		if leader == nil || len(others) != 2 {
			return errors.New("nobody leads, or more than one")
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return leader, others
}

// lists has a host list all containers so many times, the first of which may have to find
// out that a host is away, and says how long the slowest of the others took.
func (w *world) lists(h *lab.Host, times int, contains ...string) {
	w.t.Helper()
	var most time.Duration
	for n := range times {
		r := h.Run("ddocker", "ps", "-a")
		if r.Code != 0 || slices.ContainsFunc(contains, func(s string) bool { return !strings.Contains(r.Stdout, s) }) {
			w.t.Errorf("ddocker ps on %s: exit code %d, want all of %q:\n%s%s", h.Name(), r.Code, contains, r.Stdout, r.Stderr)
		}
		if n == 0 {
			w.t.Logf("the first ddocker ps on %s took %v", h.Name(), r.Took.Round(time.Millisecond))
			if r.Took > onePs {
				w.t.Errorf("the first ddocker ps on %s took %v", h.Name(), r.Took)
			}
			continue
		}
		most = max(most, r.Took)
	}
	w.t.Logf("of %d more on %s the slowest took %v", times-1, h.Name(), most.Round(time.Millisecond))
	if most > nextPs {
		w.t.Errorf("ddocker ps on %s took %v", h.Name(), most)
	}
}

// refused fails the test unless the command fails in that time and says all of this.
func (w *world) refused(within time.Duration, h *lab.Host, says []string, args ...string) {
	w.t.Helper()
	r := h.Run(args...)
	if r.Code == 0 || r.Took > within {
		w.t.Errorf("%s on %s: exit code %d after %v:\n%s%s", strings.Join(args, " "), h.Name(), r.Code, r.Took, r.Stdout, r.Stderr)
	}
	for _, word := range says {
		if !strings.Contains(r.Stderr, word) {
			w.t.Errorf("%s on %s does not say %q: %s", strings.Join(args, " "), h.Name(), word, r.Stderr)
		}
	}
	w.t.Logf("%s on %s, after %v: %s", strings.Join(args, " "), h.Name(), r.Took.Round(time.Millisecond), strings.TrimSpace(r.Stderr))
}

// on returns those that are on the host, or on another.
func on(all map[string]judge.Container, host string, there bool) map[string]judge.Container {
	some := maps.Clone(all)
	maps.DeleteFunc(some, func(_ string, c judge.Container) bool { return (c.Host == host) != there })
	return some
}
