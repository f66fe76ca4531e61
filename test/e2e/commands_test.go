package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ddocker/test/lab"
)

// labScript turns this process into lab.sh.
func labScript() { become(os.Args[1:]) }

// on turns this process into a command on a host, so that killing one kills the other.
func on() {
	if len(os.Args) < 3 {
		quit(2, "on HOST CMD…")
	}
	become(append([]string{"exec", strings.TrimPrefix(os.Args[1], "h")}, os.Args[2:]...))
}

func become(args []string) {
	script := os.Getenv("LAB_SCRIPT")
	err := syscall.Exec(script, append([]string{script}, args...), os.Environ())
	quit(2, "run %s: %v", script, err)
}

// cluster founds and joins, and waits until every host sees the other two.
func cluster() {
	begin := exec.Command("lab", "agents")
	begin.Stderr = os.Stderr
	if err := begin.Run(); err != nil {
		quit(1, "raise the cluster: %v", err)
	}
	for _, host := range []string{"h1", "h2", "h3"} {
		poll(30*time.Second, []string{"on", host, "ddocker", "nodes"}, func(out string) error {
			if n := strings.Count(out, "alive"); n != 3 {
				return fmt.Errorf("%s sees %d hosts of 3:\n%s", host, n, out)
			}
			return nil
		})
	}
}

// exits N CMD… succeeds when CMD ends with exit code N.
func exits() {
	want, err := strconv.Atoi(arg(1))
	if err != nil {
		quit(2, "exits N CMD…")
	}
	cmd := exec.Command(arg(2), os.Args[3:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Run(); cmd.ProcessState == nil {
		quit(2, "%v", err)
	}
	if got := cmd.ProcessState.ExitCode(); got != want {
		quit(1, "exit code %d, want %d", got, want)
	}
}

// until LIMIT RE CMD… runs CMD again and again.
func until() {
	limit, holds := condition()
	fmt.Print(poll(limit, os.Args[3:], holds))
}

// stays LIMIT RE CMD… is until's opposite: RE must match all the time.
func stays() {
	limit, holds := condition()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var broken error
	lab.Poll(ctx, func() error {
		out, err := output(os.Args[3:])
		if broken = errors.Join(err, holds(out)); broken != nil {
			return nil
		}
		return errors.New("it still holds")
	})
	if broken != nil {
		quit(1, "%v", broken)
	}
}

// within LIMIT CMD… runs CMD once and is strict about the time.
func within() {
	limit, err := time.ParseDuration(arg(1))
	if err != nil {
		quit(2, "within LIMIT CMD…: %v", err)
	}
	began := time.Now()
	out, err := output(os.Args[2:])
	took := time.Since(began)
	fmt.Print(out)
	if err != nil {
		quit(1, "%v", err)
	}
	if took > limit {
		quit(1, "it took %v, more than %v", took, limit)
	}
}

// condition reads LIMIT and RE.
func condition() (time.Duration, func(string) error) {
	limit, err := time.ParseDuration(arg(1))
	if err != nil {
		quit(2, "LIMIT RE CMD…: %v", err)
	}
	text, absent := strings.CutPrefix(arg(2), "!")
	pattern, err := regexp.Compile("(?m)" + text)
	if err != nil {
		quit(2, "LIMIT RE CMD…: %v", err)
	}
	return limit, func(out string) error {
		if pattern.MatchString(out) == absent {
			return fmt.Errorf("want %s, have:\n%s", arg(2), out)
		}
		return nil
	}
}

// poll runs the command until it succeeds with an output that holds, which it returns.
func poll(limit time.Duration, args []string, holds func(string) error) string {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var out string
	err := lab.Poll(ctx, func() (err error) {
		if out, err = output(args); err != nil {
			return err
		}
		return holds(out)
	})
	if err != nil {
		quit(1, "%v", err)
	}
	return out
}

// output is what a command prints; its standard error too when it fails.
func output(args []string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var out, fault bytes.Buffer
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &fault
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, fault.String())
	}
	return out.String(), nil
}

func arg(i int) string {
	if i >= len(os.Args) {
		quit(2, "%s: too few arguments", os.Args[0])
	}
	return os.Args[i]
}

func quit(code int, format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(code)
}
