// Package docker holds the cluster to Docker's own behaviour: unmodified clients run
// the same script against a plain engine and against a node of a cluster whose
// containers land on other hosts, and every output, exit code and inspected field must
// be the same.
//
// What may differ stands in differences.txt, with reasons. A difference that is not
// there fails, and so does a line there that nothing differed by.
//
// The docker command of this machine (testdata/cli.txt) and Debian's python3-docker
// (testdata/sdk.py) are always run. Clients that have to be built first, for minutes,
// want the build tag clients:
//
//	make test-docker
//
// After a change to a script, -twin runs it against two plain engines: whatever differs
// then is the script's fault, or for normal_test.go to even out.
package docker

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"ddocker/test/lab"
)

var (
	twin = flag.Bool("twin", false, "compare the plain engine with another plain engine")
	kept = flag.String("steps", "", "write what the steps of both sides came to into files in this directory")
)

// The hosts. All containers of the cluster are made through the entry, where none fits.
const (
	founder = 1
	entry   = 2
	third   = 3
	plain   = 4
)

// shared is the one lab of this test binary. standing are the sides on it: a script
// leaves nothing behind, so that the next test takes them over from one that passed.
var (
	shared   *lab.Lab
	standing [2]side
)

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := raised(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, "docker:", err)
		os.Exit(1)
	}
	os.Exit(code)
}

// raised calls run while the lab stands.
func raised(run func() int) (code int, err error) {
	dir, err := os.MkdirTemp("", "ddocker-docker-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	bin := filepath.Join(dir, "ddocker")
	build := exec.Command("go", "build", "-race", "-o", bin, "ddocker")
	build.Env = append(os.Environ(), "CGO_CFLAGS=-Wno-deprecated-declarations")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return 0, fmt.Errorf("build the program: %w", err)
	}
	if err := errors.Join(os.Setenv("DDOCKER_BIN", bin), os.Setenv("GORACE", "atexit_sleep_ms=0")); err != nil {
		return 0, err
	}
	if shared, err = lab.Raise(plain); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, shared.Down()) }()
	return run(), nil
}

// side is one of the two that a script is run against.
type side struct {
	host   *lab.Host
	socket string // address of the engine, or of the agent
	own    string // address of the agent's own engine
	other  string // address of another node of the same cluster, or the engine again
}

// sides returns the plain engine and the cluster, or another plain engine.
func sides(t *testing.T) [2]side {
	t.Helper()
	t.Cleanup(func() {
		inspectLogs(t)
		if t.Failed() {
			standing = [2]side{}
		}
	})
	if standing[0].host == nil {
		standing = raise(t)
	}
	return standing
}

func raise(t *testing.T) [2]side {
	t.Helper()
	if err := shared.Clean(); err != nil {
		t.Fatal(err)
	}
	a, b := shared.Host(plain), shared.Host(entry)
	if *twin {
		return [2]side{{host: a, socket: a.Engine(), other: a.Engine()}, {host: b, socket: b.Engine(), other: b.Engine()}}
	}
	first := shared.Host(founder)
	first.StartAgent(t)
	address, err := os.ReadFile(filepath.Join(shared.Dir, first.Name(), "address"))
	if err != nil {
		t.Fatal(err)
	}
	token := strings.TrimSpace(first.DDocker(t, "token"))
	for _, i := range []int{entry, third} {
		shared.Host(i).StartAgent(t, "--join", strings.TrimSpace(string(address)), "--token", token)
	}
	return [2]side{
		{host: a, socket: a.Engine(), other: a.Engine()},
		{host: b, socket: b.Agent(), own: b.Engine(), other: shared.Host(third).Agent()},
	}
}

// faulty is what no agent may ever write.
var faulty = regexp.MustCompile(`(?m)^(WARNING: DATA RACE|panic: |fatal error: )`)

func inspectLogs(t *testing.T) {
	for _, h := range shared.Hosts() {
		text := h.AgentLog()
		if at := faulty.FindStringIndex(text); at != nil {
			t.Errorf("the agent of %s wrote:\n%s", h.Name(), text[at[0]:])
		}
	}
}

// run has a client's script run against both sides at once, and holds them to each
// other.
func run(t *testing.T, client string, script func(context.Context, side, string) ([]step, error)) {
	both := sides(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	var steps [2][]step
	done := make(chan error, 2)
	for i, s := range both {
		dir := t.TempDir()
		go func() {
			var err error
			steps[i], err = script(ctx, s, dir)
			if err != nil {
				err = fmt.Errorf("%s against %s: %w", client, s.socket, err)
			}
			done <- err
		}()
	}
	if err := errors.Join(<-done, <-done); err != nil {
		t.Error(err)
	}
	keep(t, client, steps)
	list, err := readList("differences.txt", client)
	if err != nil {
		t.Fatal(err)
	}
	if *twin {
		list = nil
	}
	found := compare(steps[0], steps[1])
	for _, d := range found {
		if !list.allows(d) {
			t.Errorf("%s: %s", client, d)
		}
	}
	for _, e := range list.idle() {
		t.Errorf("differences.txt:%d: nothing differed by %s: take it off the list", e.line, e.pattern)
	}
	t.Logf("%s: %d steps, %d differences", client, len(steps[0]), len(found))
}

// keep writes down what the steps came to, for whoever wants to read on.
func keep(t *testing.T, client string, steps [2][]step) {
	if *kept == "" {
		return
	}
	for i, name := range []string{"plain", "cluster"} {
		var text strings.Builder
		for _, s := range steps[i] {
			fmt.Fprintf(&text, "=== %s (%.2f s)\n%s\n", s.name, s.took.Seconds(), pretty(s.fields))
		}
		if err := os.WriteFile(filepath.Join(*kept, client+"."+name), []byte(text.String()), 0o644); err != nil {
			t.Error(err)
		}
	}
}

func TestDockerCommand(t *testing.T) {
	run(t, "cli", func(ctx context.Context, s side, dir string) ([]step, error) {
		return shell(ctx, s, "testdata/cli.txt", dir)
	})
}

func TestPythonSDK(t *testing.T) {
	run(t, "sdk", func(ctx context.Context, s side, dir string) ([]step, error) {
		return program(ctx, s, dir, "/usr/bin/python3", "testdata/sdk.py")
	})
}
