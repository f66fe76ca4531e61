// Package lab raises several machines on this one and lets tests break them: each
// has its own address, host name, processes and real Docker Engine.
//
//	func TestPsIsTheSameEverywhere(t *testing.T) {
//		l := lab.Up(t, 3)
//		l.Cluster(t)
//		l.Host(1).DDocker(t, "create", "--type", "0", "--name", "abc", "busybox")
//		l.Host(3).DDocker(t, "stop", "abc")
//	}
//
// The machines are made by lab.sh, which a person can use as well (see there). They
// go down with the process that raised them, however it ends. A lab needs root.
//
// A test binary with many tests raises one lab in TestMain with [Raise] and calls
// [Lab.Clean] before each test.
package lab

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// patience bounds every command that drives the lab. The script's own waits end earlier.
const patience = 2 * time.Minute

// Lab is a number of hosts in one network. Its methods may be used concurrently as
// long as no two of them change the same host.
type Lab struct {
	// Dir holds the hosts' state: hI/docker.sock, hI/ddocker.sock, hI/agent.log …
	Dir string

	hosts  []*Host
	script string
	held   *exec.Cmd
	leash  io.Closer // the lab stands as long as this is open
}

// Raise raises n hosts with an engine and the image busybox:latest each, in a free
// directory and network. It blocks until they answer, which the script bounds; the
// caller owes a Down.
//
// Hosts have this machine's engine, or one of engines: "h2=/DIR:overlay2" gives the
// second host what test/engines/build.sh made in that directory, with layers in
// overlay2; "h2=/DIR:containerd" the same engine with them in containerd.
func Raise(n int, engines ...string) (*Lab, error) {
	_, self, _, _ := runtime.Caller(0)
	l := &Lab{script: filepath.Join(filepath.Dir(self), "lab.sh")}
	l.held = exec.Command(l.script, "hold", fmt.Sprint(n))
	l.held.Env = append(os.Environ(), "DDOCKER_LAB_ENGINES="+strings.Join(engines, " "))
	l.held.Stderr = os.Stderr
	leash, err := l.held.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := l.held.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := l.held.Start(); err != nil {
		return nil, fmt.Errorf("raise the lab: %w", err)
	}
	l.leash = leash
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("raise the lab: %w", errors.Join(err, l.Down()))
	}
	l.Dir = strings.TrimSpace(line)
	for i := range n {
		l.hosts = append(l.hosts, &Host{lab: l, number: fmt.Sprint(i + 1)})
	}
	return l, nil
}

// Up raises n hosts for one test, which fails when it cannot; they go down with it.
func Up(t testing.TB, n int, engines ...string) *Lab {
	t.Helper()
	l, err := Raise(n, engines...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// Down ends every process of the lab and removes all that it made.
func (l *Lab) Down() error {
	if err := errors.Join(l.leash.Close(), l.held.Wait()); err != nil {
		return fmt.Errorf("bring the lab down: %w", err)
	}
	return nil
}

// Clean brings all hosts back to where Raise left them: no agent, no container, no
// image but busybox:latest, every cable plugged in, the first addresses.
func (l *Lab) Clean() error { return l.Do("clean") }

// Cluster makes one cluster of all hosts: host 1 founds it, the others join.
func (l *Lab) Cluster(t testing.TB) {
	t.Helper()
	l.must(t, "agents")
}

// Host returns host i, counted from 1.
func (l *Lab) Host(i int) *Host { return l.hosts[i-1] }

// Hosts returns all hosts in their order.
func (l *Lab) Hosts() []*Host { return l.hosts }

// Env is what a process needs in its environment for lab.sh to act on this lab.
func (l *Lab) Env() []string { return []string{"DDOCKER_LAB=" + l.Dir} }

// Script is the path of lab.sh.
func (l *Lab) Script() string { return l.script }

// Split drops all traffic between two hosts, both ways; Join lets it pass again.
func (l *Lab) Split(t testing.TB, a, b *Host) { t.Helper(); l.must(t, "split", a.number, b.number) }

// Join undoes Split.
func (l *Lab) Join(t testing.TB, a, b *Host) { t.Helper(); l.must(t, "join", a.number, b.number) }

// Deafen drops what comes to a host from another, and nothing the other way; Hear lets it
// pass again.
func (l *Lab) Deafen(t testing.TB, who, to *Host) {
	t.Helper()
	l.must(t, "deafen", who.number, to.number)
}

// Hear undoes Deafen.
func (l *Lab) Hear(t testing.TB, who, to *Host) { t.Helper(); l.must(t, "hear", who.number, to.number) }

func (l *Lab) must(t testing.TB, args ...string) {
	t.Helper()
	if err := l.Do(args...); err != nil {
		t.Fatal(err)
	}
}

// Do runs lab.sh on this lab, for who breaks it outside a test: Do("cut", "2").
func (l *Lab) Do(args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var out bytes.Buffer
	cmd := l.command(ctx, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("lab.sh %s: %w\n%s", strings.Join(args, " "), err, out.String())
	}
	return nil
}

func (l *Lab) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, l.script, args...)
	cmd.Env = append(os.Environ(), l.Env()...)
	cmd.WaitDelay = time.Second
	return cmd
}
