package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// limit is how long tests may look for one defect.
const limit = 4 * time.Minute

// verdict is what came of tests.
type verdict struct {
	failed bool
	test   string // that failed first
	says   string // its first sentence
	took   time.Duration
}

// event is a line of "go test -json".
type event struct {
	Action, Test, Output string
}

// judge reads what "go test -json" printed. Tests that did not come to an end say nothing
// about a defect: that is an error, as is a package that does not compile.
func judge(out []byte) (v verdict, err error) {
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	said := map[string]string{}
	build, ended, complains := "", false, ""
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue
		}
		switch e.Action {
		case "build-output":
			build += e.Output
		case "build-fail":
			return verdict{}, fmt.Errorf("it does not compile: %s", build)
		case "output":
			if strings.HasPrefix(e.Output, "panic: test timed out") {
				return verdict{}, errors.New("the tests did not come to an end")
			}
			if s := sentence(e.Output); s != "" && said[e.Test] == "" {
				said[e.Test] = s
				complains = cmp.Or(complains, e.Test)
			}
		case "fail":
			// Of a test and its parts, the innermost fails first.
			if !v.failed && e.Test != "" {
				v.failed, v.test, v.says = true, e.Test, said[e.Test]
			}
			if !v.failed && e.Test == "" && complains != "" { // it panics, and no test comes to its end
				v.failed, v.test, v.says = true, complains, said[complains]
			}
			ended = true
		case "pass", "skip":
			ended = true
		}
	}
	if err := lines.Err(); err != nil {
		return verdict{}, err
	}
	if !ended {
		return verdict{}, errors.New("no test was run")
	}
	return v, nil
}

var complaint = regexp.MustCompile(`^\s*\w+_test\.go:\d+: (.*\S)|^(panic: .*\S)|^(fatal error: .*\S)`)

// sentence is what a test complains of in a line of its output; empty: of nothing.
func sentence(output string) string {
	found := complaint.FindStringSubmatch(output)
	if found == nil {
		return ""
	}
	return strings.Join(found[1:], "")
}

// run has the catcher look at the program, with an overlay or as it is.
func (c *catcher) run(ctx context.Context, root, overlay string) (verdict, error) {
	began := time.Now()
	v, err := c.look(ctx, root, overlay)
	v.took = time.Since(began)
	return v, err
}

func (c *catcher) look(ctx context.Context, root, overlay string) (verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if c.where == simulator {
		return c.simulate(ctx, root, overlay)
	}
	args := []string{"test", "-json", "-vet=off", "-ldflags=-w", "-timeout", (limit - 10*time.Second).String()}
	if overlay != "" {
		args = append(args, "-count=1", "-failfast", "-overlay", overlay)
	}
	args = append(args, c.where, "-run", c.args[0])
	out, failure := output(ctx, root, append(args, c.args[1:]...))
	v, err := judge(out)
	if err == nil && v.failed != (failure != nil) {
		err = fmt.Errorf("the tests tell one thing and go test another: %w", failure)
	}
	return v, err
}

// simulate has the simulator look, which knows no other failure than what it found. What
// it complains of has to be what the defect breaks.
func (c *catcher) simulate(ctx context.Context, root, overlay string) (verdict, error) {
	args, wanted := []string{"run", "./test/sim", "-n", c.args[0]}, regexp.MustCompile("(?s).+")
	if overlay != "" {
		var err error
		if wanted, err = regexp.Compile("(?m)^seed [0-9]+: .*(" + strings.Join(c.args[1:], " ") + ").*$"); err != nil {
			return verdict{}, err
		}
		args = append(args, "-until", strings.Join(c.args[1:], " "))
		if out, err := output(ctx, root, []string{"build", "-o", os.DevNull, "-overlay", overlay, "."}); err != nil {
			return verdict{}, fmt.Errorf("it does not compile: %s", out)
		}
		args = append(args, "-overlay", overlay, "-traces", filepath.Dir(overlay))
	}
	out, failure := output(ctx, root, args)
	if ctx.Err() != nil {
		return verdict{}, errors.New("the simulator did not come to an end")
	}
	if failure == nil {
		return verdict{}, nil
	}
	said := wanted.Find(out)
	if said == nil { // it broke by itself, or over something else
		return verdict{}, fmt.Errorf("the simulator fails, and not as it should: %s", firstLine(out))
	}
	return verdict{failed: true, test: "the simulator", says: firstLine(said)}, nil
}

// output is what go prints.
func output(ctx context.Context, root string, args []string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.WaitDelay = root, time.Second
	return cmd.CombinedOutput()
}

func firstLine(out []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line
}
