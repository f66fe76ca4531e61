package lab

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Process is a directory in /proc.
type Process string

// AgentProcess finds the process of the host's agent.
func (h *Host) AgentProcess() (Process, error) {
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return "", err
	}
	state := []byte("\x00" + filepath.Join(h.lab.Dir, h.Name(), "state") + "\x00")
	for _, file := range all {
		text, _ := os.ReadFile(file) // a process that has ended is not the one
		if bytes.Contains(text, []byte("\x00agent\x00")) && bytes.Contains(text, state) {
			return Process(filepath.Dir(file)), nil
		}
	}
	return "", fmt.Errorf("%s has no agent", h.Name())
}

// Resident is how much memory the process has, in bytes.
func (p Process) Resident() (int64, error) {
	kib, err := p.status("VmRSS")
	return kib << 10, err
}

// Threads is how many threads the process has.
func (p Process) Threads() (int64, error) { return p.status("Threads") }

// Descriptors is how many files and connections the process has open.
func (p Process) Descriptors() (int, error) {
	open, err := os.ReadDir(filepath.Join(string(p), "fd"))
	return len(open), err
}

func (p Process) status(field string) (int64, error) {
	text, err := os.ReadFile(filepath.Join(string(p), "status"))
	if err != nil {
		return 0, err
	}
	_, rest, found := strings.Cut(string(text), "\n"+field+":")
	if !found {
		return 0, fmt.Errorf("%s/status has no %s", p, field)
	}
	return strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
}
