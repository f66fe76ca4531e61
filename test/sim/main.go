// Sim has many clusters live under random schedules of clients and faults, in virtual
// time, and tells which of them broke a promise:
//
//	go run ./test/sim -n 10000
//
// The clusters are those of the root's TestSimulation, whose binary is built once and run
// in as many processes as there are cores, some schedules at a time.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// chunk is how many schedules one process plays.
const chunk = 20

// chunkTimeout bounds a process: what takes longer has stopped the virtual clock.
const chunkTimeout = 5 * time.Minute

func main() {
	var r runner
	flag.IntVar(&r.count, "n", 500, "how many schedules")
	flag.IntVar(&r.first, "seed", 1, "the first one's seed")
	flag.StringVar(&r.overlay, "overlay", "", "what `file` go build is to take for another's, in JSON")
	flag.Func("until", "stop at the first violation that matches this `regexp`", func(text string) (err error) {
		r.until, err = regexp.Compile(text)
		return err
	})
	flag.StringVar(&r.traces, "traces", "bin/sim", "the `directory` for traces of failures")
	flag.IntVar(&r.jobs, "j", runtime.NumCPU(), "how many processes at a time")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	failed, err := r.run(ctx, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if err != nil || failed > 0 {
		os.Exit(1)
	}
}

// runner plays schedules.
type runner struct {
	count, first, jobs int
	overlay, traces    string
	until              *regexp.Regexp

	binary string
	mu     sync.Mutex // guards what follows
	sum    sum
	found  bool // what is looked for
}

// run plays all schedules, writes what they showed, and returns how many failed.
func (r *runner) run(ctx context.Context, out io.Writer) (failed int, err error) {
	dir, err := scratch()
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if err := r.build(ctx, dir, out); err != nil {
		return 0, err
	}
	if err := os.MkdirAll(r.traces, 0o777); err != nil {
		return 0, err
	}
	if r.traces, err = filepath.Abs(r.traces); err != nil {
		return 0, err
	}
	began := time.Now()
	chunks := make(chan int)
	ctx, enough := context.WithCancel(ctx)
	defer enough()
	go func() {
		defer close(chunks)
		for at := 0; at < r.count; at += chunk {
			select {
			case chunks <- at:
			case <-ctx.Done():
				return
			}
		}
	}()
	var all sync.WaitGroup
	for range r.jobs {
		all.Go(func() {
			for at := range chunks {
				r.play(ctx, dir, r.first+at, min(chunk, r.count-at), out)
				if r.enough() {
					enough()
				}
			}
		})
	}
	all.Wait()
	r.sum.write(out, time.Since(began))
	if r.sum.schedules < r.count && !r.found {
		return r.sum.failed, fmt.Errorf("%d of %d schedules were played to their end", r.sum.schedules, r.count)
	}
	return r.sum.failed, r.sum.slow()
}

// scratch returns a directory for what agents write, in memory if the machine has such.
func scratch() (string, error) {
	if dir, err := os.MkdirTemp("/dev/shm", "ddocker-sim-"); err == nil {
		return dir, nil
	}
	return os.MkdirTemp("", "ddocker-sim-")
}

func (r *runner) build(ctx context.Context, dir string, out io.Writer) error {
	r.binary = filepath.Join(dir, "sim.test")
	args := []string{"test", "-c", "-o", r.binary}
	if r.overlay != "" {
		args = append(args, "-overlay", r.overlay)
	}
	build := exec.CommandContext(ctx, "go", append(args, ".")...)
	build.Stdout, build.Stderr = out, out
	if err := build.Run(); err != nil {
		return fmt.Errorf("build the simulator: %w", err)
	}
	return nil
}

func (r *runner) enough() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.found
}

// play plays some schedules in a process of their own, on one core.
func (r *runner) play(ctx context.Context, dir string, first, count int, out io.Writer) {
	ctx, cancel := context.WithTimeout(ctx, chunkTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, r.binary, "-test.run", "^TestSimulation$", "-test.timeout", (2 * chunkTimeout).String())
	cmd.Env = append(os.Environ(), fmt.Sprintf("DDOCKER_SIM=%d,%d", first, count), "DDOCKER_SIM_TRACES="+r.traces,
		"TMPDIR="+dir, "GOMAXPROCS=1", "GOGC=400", "GODEBUG=tlsmlkem=0")
	text, err := cmd.CombinedOutput()
	r.mu.Lock()
	defer r.mu.Unlock()
	played, broken := 0, r.sum.failed
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		said, ours := strings.CutPrefix(lines.Text(), "SIM ")
		var o outcome
		if !ours || json.Unmarshal([]byte(said), &o) != nil {
			continue
		}
		played++
		r.sum.add(&o)
		for _, wrong := range o.Wrong {
			fmt.Fprintf(out, "seed %d: %s\n", o.Seed, wrong)
			r.found = r.found || r.until != nil && r.until.MatchString(wrong)
		}
	}
	r.sum.spent(cmd.ProcessState)
	if before := r.sum.schedules - played; before/1000 < r.sum.schedules/1000 {
		fmt.Fprintf(out, "%d of %d schedules, %d broke a promise\n", r.sum.schedules, r.count, r.sum.failed)
	}
	unsaid := err != nil && r.sum.failed == broken // a test failed beside what the schedules showed
	if (played < count || unsaid) && (ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded)) {
		r.sum.failed++
		file := filepath.Join(r.traces, fmt.Sprintf("%d-%d.output", first, first+count-1))
		os.WriteFile(file, text, 0o666) // whoever misses it sees the sentence below
		fmt.Fprintf(out, "seeds %d to %d: %d of %d were played to their end, then: %v (%s)\n", first, first+count-1, played, count, err, file)
	}
}
