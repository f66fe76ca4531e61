package main

import (
	"context"
	"time"
)

// rest measures the three agents while nobody asks anything of them.
func (b *bench) rest(ctx context.Context, c *cluster) error {
	pids, err := c.processes()
	if err != nil {
		return err
	}
	if err := pause(ctx, 15*time.Second); err != nil { // what the start left to do
		return err
	}
	held, cpu := sample{unit: "MB"}, sample{unit: "%"}
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
		rss, err := memory(pid, "VmRSS")
		if err != nil {
			return err
		}
		cpu.values = append(cpu.values, 100*float64(now-before[i])/float64(time.Since(began)))
		held.values = append(held.values, float64(rss)/1e6)
	}
	b.limited("agent at rest: resident memory, the largest of three", held.quantile(1), "%.1f MB", 40, held.String())
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
