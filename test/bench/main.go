// Command bench measures the cluster against what it is made of: plain engines,
// bare raft, and Docker's own Swarm mode, side by side on one machine.
//
//	go run ./test/bench                     everything, as root (make bench)
//	go run ./test/bench -rows place,pick    some of it
//	go run ./test/bench -strict             a missed target is an error
//
// Absolute times say more of the machine than of the program, so rows are ratios
// wherever there is something to compare with, and the two sides take turns in one
// run: a machine that slows down meanwhile slows both.
//
// The lab has six hosts. One cluster runs on the first three; the engines of the
// other three stay plain, so that no agent watches what they do.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"ddocker/test/lab"
)

// bench is one run.
type bench struct {
	n    int    // samples a side, 7 at least
	bin  string // the program
	dir  string // for files of this run; goes with it
	want []string
	table
}

func main() {
	var b bench
	var rows string
	flag.IntVar(&b.n, "n", 9, "take this many `samples` of each side, 7 at least")
	flag.StringVar(&rows, "rows", "", "measure only `these`: "+strings.Join(everything, ","))
	strict := flag.Bool("strict", false, "end with an error if a target is missed")
	flag.Parse()
	if b.want = everything; rows != "" {
		b.want = strings.Split(rows, ",")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := b.run(ctx)
	stop()
	b.print(os.Stdout)
	if err == nil && *strict && b.missed() > 0 {
		err = fmt.Errorf("%d targets missed", b.missed())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// The rows that can be asked for. Those up to swarm need the lab; those from join to
// leave one of their own, whose members they change.
const (
	rowRest   = "rest"
	rowCreate = "create"
	rowMany   = "many"
	rowList   = "list"
	rowBurst  = "burst"
	rowImage  = "image"
	rowHop    = "hop"
	rowFlow   = "flow"
	rowRelay  = "relay"
	rowUp     = "up"
	rowSwarm  = "swarm"
	rowJoin   = "join"
	rowCut    = "cut"
	rowRotate = "rotate"
	rowLeave  = "leave"
	rowPlace  = "place"
	rowPick   = "pick"
	rowScale  = "scale"
	rowGPU    = "gpu"
	rowGPUPs  = "gpups"
)

var (
	onLab      = []string{rowRest, rowCreate, rowMany, rowList, rowBurst, rowImage, rowHop, rowFlow, rowRelay, rowUp, rowSwarm}
	onLives    = []string{rowJoin, rowCut, rowRotate, rowLeave}
	everything = append(slices.Concat(onLab, onLives), rowPlace, rowPick, rowScale, rowGPU, rowGPUPs)
)

func (b *bench) wants(row string) bool { return slices.Contains(b.want, row) }

func (b *bench) run(ctx context.Context) (err error) {
	for _, row := range b.want {
		if !slices.Contains(everything, row) {
			return fmt.Errorf("%q is no row: there are %s", row, strings.Join(everything, ", "))
		}
	}
	if b.n < 7 {
		return errors.New("fewer than 7 samples say nothing")
	}
	if b.dir, err = os.MkdirTemp("", "ddocker-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if err := b.build(ctx); err != nil {
		return err
	}
	if slices.ContainsFunc(onLab, b.wants) {
		if err := b.onLab(ctx); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(onLives, b.wants) {
		if err := b.onLives(ctx); err != nil {
			return err
		}
	}
	if b.wants(rowPlace) {
		if err := b.placements(ctx); err != nil {
			return fmt.Errorf("placements: %w", err)
		}
	}
	if b.wants(rowPick) {
		b.picks()
	}
	if b.wants(rowScale) {
		if err := b.scale(ctx); err != nil {
			return fmt.Errorf("lists over many hosts: %w", err)
		}
	}
	if b.wants(rowGPU) {
		if err := b.gpu(ctx); err != nil {
			return fmt.Errorf("reading of GPUs: %w", err)
		}
	}
	if b.wants(rowGPUPs) {
		if err := b.gpuPs(ctx); err != nil {
			return fmt.Errorf("lists with GPUs: %w", err)
		}
	}
	return nil
}

// build builds the program that is measured.
func (b *bench) build(ctx context.Context) error {
	b.bin = filepath.Join(b.dir, "ddocker")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", b.bin, "ddocker")
	build.Env = append(os.Environ(), "CGO_CFLAGS=-Wno-deprecated-declarations")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build the program: %w", err)
	}
	return os.Setenv("DDOCKER_BIN", b.bin)
}

// onLab raises the lab, measures what needs real engines, and takes it down.
func (b *bench) onLab(ctx context.Context) (err error) {
	b.say("raising six hosts")
	l, err := lab.Raise(6)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Down()) }()
	c, err := newCluster(ctx, l)
	if err != nil {
		return err
	}
	for _, part := range []struct {
		row     string
		measure func(context.Context, *cluster) error
	}{
		{rowRest, b.rest}, {rowCreate, b.create}, {rowMany, b.many},
		{rowList, b.list}, {rowBurst, b.burst}, {rowImage, b.images},
		{rowHop, b.hop}, {rowFlow, b.flow}, {rowRelay, b.relay}, {rowUp, b.composeUp}, {rowSwarm, b.swarm},
	} {
		if !b.wants(part.row) {
			continue
		}
		b.say("measuring %s", part.row)
		if err := part.measure(ctx, c); err != nil {
			return fmt.Errorf("%s: %w", part.row, err)
		}
	}
	return nil
}

// say tells whoever waits how far it is.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s bench: %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}
