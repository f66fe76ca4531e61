package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// rest measures the three agents while nobody asks anything of them.
func (b *bench) rest(ctx context.Context, c *cluster) error {
	pids, err := agentsOf(c.lab.Dir)
	if err != nil || len(pids) != len(c.agents) {
		return fmt.Errorf("find the agents' processes: %d of %d: %w", len(pids), len(c.agents), err)
	}
	if err := pause(ctx, 15*time.Second); err != nil { // what the start left to do
		return err
	}
	memory, cpu := sample{unit: "MB"}, sample{unit: "%"}
	before, began := make([]time.Duration, len(pids)), time.Now()
	for i, pid := range pids {
		if before[i], err = cpuTime(pid); err != nil {
			return err
		}
	}
	if err := pause(ctx, 30*time.Second); err != nil {
		return err
	}
	for i, pid := range pids {
		now, err := cpuTime(pid)
		if err != nil {
			return err
		}
		rss, err := resident(pid)
		if err != nil {
			return err
		}
		cpu.values = append(cpu.values, 100*float64(now-before[i])/float64(time.Since(began)))
		memory.values = append(memory.values, float64(rss)/1e6)
	}
	b.limited("agent at rest: resident memory, the largest of three", memory.quantile(1), "%.1f MB", 40, memory.String())
	b.limited("agent at rest: CPU of one core over 30 s, the busiest", cpu.quantile(1), "%.2f %%", 1, cpu.String())
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// agentsOf finds the processes of the lab's agents.
func agentsOf(dir string) (pids []string, err error) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		text, readErr := os.ReadFile(file)
		args := strings.Split(string(bytes.TrimRight(text, "\x00")), "\x00")
		if readErr != nil || len(args) < 2 || args[1] != "agent" || !strings.Contains(string(text), dir+"/") {
			continue
		}
		pids = append(pids, filepath.Base(filepath.Dir(file)))
	}
	return pids, err
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

// resident returns the process's memory in bytes: the second field of its statm,
// in pages.
func resident(pid string) (int64, error) {
	text, err := os.ReadFile("/proc/" + pid + "/statm")
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0, fmt.Errorf("read /proc/%s/statm: %q", pid, text)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}
