package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// processes returns the agents' processes, the leader's first.
func (c *cluster) processes() (pids []string, err error) {
	for _, a := range c.agents {
		pid, err := processWith("agent", filepath.Join(c.lab.Dir, a.name, "ddocker.sock"))
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// engineProcess returns the process of a host's engine.
func (c *cluster) engineProcess(host string) (string, error) {
	return processWith("dockerd", filepath.Join(c.lab.Dir, host, "daemon.json"))
}

// processWith finds the one process that has all these words in its command line.
// The shells of the lab that started it have ended.
func processWith(words ...string) (string, error) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return "", err
	}
	var found []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		args := strings.Split(string(text), "\x00")
		if !slices.ContainsFunc(words, func(word string) bool { return !slices.Contains(args, word) }) {
			found = append(found, filepath.Base(filepath.Dir(file)))
		}
	}
	if len(found) != 1 {
		return "", fmt.Errorf("find the process with %q: there are %d", words, len(found))
	}
	return found[0], nil
}

// cpuTime returns what the process has used so far: fields 14 and 15 of its stat,
// in hundredths of a second.
func cpuTime(pid string) (time.Duration, error) {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("read /proc/%s/stat: %d fields", pid, len(fields))
	}
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond, err
}

// memory returns a line of the process's status, in bytes: VmRSS is what it has,
// VmHWM the most that it had since forgetPeak.
func memory(pid, field string) (int64, error) {
	text, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if of := strings.Fields(line); of[0] == field+":" {
			kib, err := strconv.ParseInt(of[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("read /proc/%s/status: no %s", pid, field)
}

func forgetPeak(pid string) error { return os.WriteFile("/proc/"+pid+"/clear_refs", []byte("5"), 0) }

// received returns how many bytes have come in through a host's cable, whatever
// they were.
func (c *cluster) received(host string) (int64, error) {
	pid, err := os.ReadFile(filepath.Join(c.lab.Dir, host, "init"))
	if err != nil {
		return 0, err
	}
	text, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/net/dev")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if card, counts, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(card) == "eth0" {
			return strconv.ParseInt(strings.Fields(counts)[0], 10, 64)
		}
	}
	return 0, fmt.Errorf("count what %s received: it has no eth0", host)
}
