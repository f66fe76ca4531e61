package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Host is one machine of a lab.
type Host struct {
	lab    *Lab
	number string // as lab.sh counts, from 1
}

// Name is the host's name: h1, h2 …
func (h *Host) Name() string { return "h" + h.number }

// Engine is the address of the host's own Docker Engine.
func (h *Host) Engine() string { return "unix://" + filepath.Join(h.lab.Dir, h.Name(), "docker.sock") }

// Agent is the address of the host's ddocker agent, which speaks for the cluster.
func (h *Host) Agent() string { return "unix://" + filepath.Join(h.lab.Dir, h.Name(), "ddocker.sock") }

// Command prepares a program that runs on the host: in its network, under its name,
// with DOCKER_HOST set to its engine and DDOCKER_HOST to its agent.
func (h *Host) Command(ctx context.Context, args ...string) *exec.Cmd {
	return h.lab.command(ctx, append([]string{"exec", h.number}, args...)...)
}

// Result is what became of a command.
type Result struct {
	Stdout, Stderr string
	Code           int // exit code; -1 when it did not end by itself
	Took           time.Duration
}

// Run runs a command on the host and waits for its end, at most two minutes.
func (h *Host) Run(args ...string) Result {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var out, fault bytes.Buffer
	cmd := h.Command(ctx, args...)
	cmd.Stdout, cmd.Stderr = &out, &fault
	began := time.Now()
	err := cmd.Run()
	if cmd.ProcessState == nil { // it never began
		return Result{Stderr: err.Error(), Code: -1}
	}
	return Result{out.String(), fault.String(), cmd.ProcessState.ExitCode(), time.Since(began)}
}

// DDocker runs ddocker on the host and returns its output; the test fails when it fails.
func (h *Host) DDocker(t testing.TB, args ...string) string {
	t.Helper()
	return h.ok(t, append([]string{"ddocker"}, args...))
}

// Docker runs the stock docker client against the host's own engine.
func (h *Host) Docker(t testing.TB, args ...string) string {
	t.Helper()
	return h.ok(t, append([]string{"docker", "-H", h.Engine()}, args...))
}

func (h *Host) ok(t testing.TB, args []string) string {
	t.Helper()
	r := h.Run(args...)
	if r.Code != 0 {
		t.Fatalf("%s: %s: exit code %d\n%s%s", h.Name(), strings.Join(args, " "), r.Code, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

// GPUs gives the host these simulated cards, each line as nvml/nvml.c has it, such as
// "gpu model=TITAN Xp"; before its agent starts the first time, at will afterwards.
func (h *Host) GPUs(t testing.TB, lines ...string) {
	t.Helper()
	h.lab.must(t, append([]string{"gpus", h.number}, lines...)...)
}

// StartAgent starts the host's agent, with these flags more, and returns when it
// answers. It rejoins the cluster that its data directory belongs to, if any.
func (h *Host) StartAgent(t testing.TB, flags ...string) {
	t.Helper()
	h.lab.must(t, append([]string{"agent", h.number}, flags...)...)
}

// StopAgent ends the host's agent as systemd would and returns how long it took.
func (h *Host) StopAgent(t testing.TB) time.Duration {
	t.Helper()
	began := time.Now()
	h.lab.must(t, "halt", h.number, "TERM")
	return time.Since(began)
}

// KillAgent ends the host's agent with SIGKILL and returns when it is gone.
func (h *Host) KillAgent(t testing.TB) { t.Helper(); h.lab.must(t, "halt", h.number, "KILL") }

// AgentLog is what the host's agents have written so far.
func (h *Host) AgentLog() string {
	text, _ := os.ReadFile(filepath.Join(h.lab.Dir, h.Name(), "agent.log"))
	return string(text)
}

// Cut unplugs the host's cable.
func (h *Host) Cut(t testing.TB) { t.Helper(); h.lab.must(t, "cut", h.number) }

// Slow lets no more than rate, such as "400mbit", come into the host.
func (h *Host) Slow(t testing.TB, rate string) { t.Helper(); h.lab.must(t, "slow", h.number, rate) }

// Mend plugs the host's cable in again and undoes Slow.
func (h *Host) Mend(t testing.TB) { t.Helper(); h.lab.must(t, "mend", h.number) }

// Move gives the host another address in the lab's network, which ends in last.
func (h *Host) Move(t testing.TB, last int) {
	t.Helper()
	h.lab.must(t, "move", h.number, fmt.Sprint(last))
}

// HangEngine stops the host's engine in its tracks: it accepts and never answers.
func (h *Host) HangEngine(t testing.TB) { t.Helper(); h.lab.must(t, "engine", h.number, "STOP") }

// WakeEngine undoes HangEngine.
func (h *Host) WakeEngine(t testing.TB) { t.Helper(); h.lab.must(t, "engine", h.number, "CONT") }

// RestartEngine ends the host's engine with a signal, TERM or KILL, and starts it anew.
func (h *Host) RestartEngine(t testing.TB, signal string) {
	t.Helper()
	h.lab.must(t, "restart", h.number, signal)
}

// KeepContainers has the host's containers outlive its engine from now on.
func (h *Host) KeepContainers(t testing.TB) { t.Helper(); h.lab.must(t, "live", h.number) }

// SmallDisk puts the data of the host's agent on a disk of this size, such as "8m", before
// the agent starts the first time.
func (h *Host) SmallDisk(t testing.TB, size string) {
	t.Helper()
	h.lab.must(t, "small", h.number, size)
}

// FillDisk fills that disk to the last byte.
func (h *Host) FillDisk(t testing.TB) { t.Helper(); h.lab.must(t, "fill", h.number) }

// EmptyDisk undoes FillDisk.
func (h *Host) EmptyDisk(t testing.TB) { t.Helper(); h.lab.must(t, "empty", h.number) }
