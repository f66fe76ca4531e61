// Package e2e runs the real program on machines with real Docker Engines.
//
// The scripts in testdata are what a person types, and what must come of it. Beside
// testscript's own commands they have:
//
//	cluster              one cluster of h1, h2 and h3, each of which sees all three
//	on HOST CMD…         CMD on that host; DOCKER_HOST is its engine, DDOCKER_HOST its agent
//	lab ARG…             lab.sh: agent, halt, cut, mend, split, join, move, engine …
//	exits N CMD…         CMD ends with exit code N
//	until LIMIT RE CMD…  CMD again and again until it succeeds and its output matches RE;
//	                     !RE: until it does not match
//	within LIMIT CMD…    CMD succeeds in that time
//	stays LIMIT RE CMD…  the output of CMD matches RE each time it is looked at
//
// $C1, $C2, $C3 are the addresses of the agents, for docker -H.
package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"ddocker/test/lab"
)

// shared is the one lab of this test binary. Every test begins with bare(t).
var shared *lab.Lab

func TestMain(m *testing.M) {
	testscript.Main(suite{m}, map[string]func(){
		"cluster": cluster,
		"exits":   exits,
		"lab":     labScript,
		"on":      on,
		"stays":   stays,
		"until":   until,
		"within":  within,
	})
}

// suite is all tests between the raising of the lab and its end.
type suite struct{ *testing.M }

func (s suite) Run() int {
	code, err := s.run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	return code
}

func (s suite) run() (code int, err error) {
	dir, err := os.MkdirTemp("", "ddocker-e2e-")
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
	// A program built with -race sleeps for a second before it exits.
	if err := errors.Join(os.Setenv("DDOCKER_BIN", bin), os.Setenv("GORACE", "atexit_sleep_ms=0")); err != nil {
		return 0, err
	}
	if shared, err = lab.Raise(3); err != nil {
		return 0, err
	}
	defer func() {
		if fault := shared.Down(); err == nil {
			err = fault
		}
	}()
	return s.M.Run(), nil
}

// faulty is what no agent may ever write, whatever the test wanted of it.
var faulty = regexp.MustCompile(`(?m)^(WARNING: DATA RACE|panic: |fatal error: )`)

// bare gives the test the lab as it was raised, and looks through the agents' logs
// in the end: they are shown when the test failed.
func bare(t *testing.T) *lab.Lab {
	t.Helper()
	if err := shared.Clean(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { inspectLogs(t) })
	return shared
}

func inspectLogs(t *testing.T) {
	for _, h := range shared.Hosts() {
		text := h.AgentLog()
		if at := faulty.FindStringIndex(text); at != nil {
			t.Errorf("the agent of %s wrote:\n%s", h.Name(), text[at[0]:])
		} else if t.Failed() {
			t.Logf("the agent of %s wrote last:\n%s", h.Name(), tail(text, 25))
		}
	}
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
