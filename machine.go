package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"ddocker/engine"
	"ddocker/gpu"
	"ddocker/sched"
)

// machine samples the machine that the agent runs on.
type machine struct {
	gpus     *gpu.Reader
	topology sched.Topology

	mu         sync.Mutex // guards what follows
	busy, idle uint64     // clock ticks of all cores, at the last look
}

// GPUs returns what is known of the GPUs.
func (m *machine) GPUs() gpu.State { return m.gpus.State() }

// Topology returns how the cores were grouped at the start.
func (m *machine) Topology() sched.Topology { return m.topology }

// SMI returns what nvidia-smi says on this machine, whose name is host, with these
// arguments.
func (m *machine) SMI(ctx context.Context, host string, args []string) (string, error) {
	var out bytes.Buffer
	err := gpu.SMI(ctx, &out, m.gpus, args)
	if errors.Is(err, gpu.ErrNoGPU) {
		return "", fmt.Errorf("host %s has no NVIDIA GPU that its driver shows", host)
	}
	if err != nil {
		return "", fmt.Errorf("nvidia-smi on host %s: %w", host, err)
	}
	return out.String(), nil
}

// Listening returns the ports that any process of the machine listens on.
func (m *machine) Listening() ([]sched.Port, error) {
	list, err := engine.ListeningPorts("/proc")
	if err != nil {
		return nil, err
	}
	ports := make([]sched.Port, len(list))
	for i, l := range list {
		ports[i] = sched.Port{Number: l.Port, Proto: l.Proto}
	}
	return ports, nil
}

// Usage returns the CPU used since the last look, and the memory, in percent.
func (m *machine) Usage() (cpu, memory int) {
	busy, idle := cpuTicks()
	m.mu.Lock()
	if ticks := busy - m.busy + idle - m.idle; m.busy+m.idle > 0 && ticks > 0 {
		cpu = int(100 * (busy - m.busy) / ticks)
	}
	m.busy, m.idle = busy, idle
	m.mu.Unlock()
	return cpu, memoryPercent()
}

// cpuTicks reads the first line of /proc/stat: user, nice, system, idle, iowait, ….
func cpuTicks() (busy, idle uint64) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	for i, f := range strings.Fields(line) {
		n, err := strconv.ParseUint(f, 10, 64)
		switch {
		case err != nil: // the name of the line
		case i == 4 || i == 5:
			idle += n
		case i < 9: // guest time is in user time already
			busy += n
		}
	}
	return busy, idle
}

func memoryPercent() int {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	fields := map[string]int64{}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		number, _, _ := strings.Cut(strings.TrimSpace(value), " ")
		if n, err := strconv.ParseInt(number, 10, 64); err == nil {
			fields[key] = n
		}
	}
	total, free := fields["MemTotal"], fields["MemAvailable"]
	if total <= 0 {
		return 0
	}
	return int(100 * (total - free) / total)
}
