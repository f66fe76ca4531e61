package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

func main() {
	only := flag.String("only", "", "only the mutants that have this in their names, or are caught there (./node, sim)")
	jobs := flag.Int("j", 2, "so many at a time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *only, max(1, *jobs)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only string, jobs int) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	all, err := mutants()
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(m mutant) bool { return !strings.Contains(m.name, only) && m.caught.where != only })
	if len(all) == 0 {
		return fmt.Errorf("no mutant has %q in its name, or is caught there", only)
	}
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	began := time.Now()
	h := &hunt{root: root, dir: dir, jobs: jobs}
	if err := h.sound(ctx, all); err != nil {
		return err
	}
	h.all(ctx, all)
	fmt.Printf("%d mutants, %d caught, %d survived, %d without a verdict, in %v\n",
		len(all), h.caught, h.survived, len(all)-h.caught-h.survived, time.Since(began).Round(time.Second))
	if h.caught < len(all) {
		return errors.New("not every mutant was caught")
	}
	return nil
}

// moduleRoot is the directory above this one that has go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	for err == nil && dir != filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		dir = filepath.Dir(dir)
	}
	return "", errors.Join(err, errors.New("run it within the module"))
}

// hunt is one run over the mutants.
type hunt struct {
	root, dir string
	jobs      int

	mu               sync.Mutex // guards what follows, and the output
	caught, survived int
}

// sound makes sure that the tests pass where nothing is planted: else a failure would
// say nothing. Tests of one package with the same flags are run as one.
func (h *hunt) sound(ctx context.Context, all []mutant) error {
	var catchers []catcher
	for _, m := range all {
		c := catcher{m.caught.where, slices.Clone(m.caught.args)}
		at := slices.IndexFunc(catchers, func(o catcher) bool {
			return o.where == c.where && (c.where == simulator || slices.Equal(o.args[1:], c.args[1:]))
		})
		switch {
		case at < 0:
			catchers = append(catchers, c)
		case c.where != simulator && !slices.Contains(strings.Split(catchers[at].args[0], "|"), c.args[0]):
			catchers[at].args[0] += "|" + c.args[0]
		}
	}
	var failures []error
	h.each(len(catchers), func(i int) {
		v, err := catchers[i].run(ctx, h.root, "")
		if err == nil && v.failed {
			err = fmt.Errorf("%s fails: %s", v.test, v.says)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		fmt.Printf("%-21s passes without a mutant: %v  %3.0f s\n", catchers[i].where, err == nil, v.took.Seconds())
		if err != nil {
			failures = append(failures, fmt.Errorf("without a mutant, %s: %w", catchers[i].where, err))
		}
	})
	return errors.Join(failures...)
}

// all has every mutant looked for, and prints the table.
func (h *hunt) all(ctx context.Context, all []mutant) {
	fmt.Printf("%-32s %-12s %-9s %5s  %s\n", "MUTANT", "BREAKS", "IS", "S", "BY")
	h.each(len(all), func(i int) { h.one(ctx, &all[i]) })
}

func (h *hunt) one(ctx context.Context, m *mutant) {
	v, err := h.plantAndRun(ctx, m)
	word, by := "caught", v.test+": "+v.says
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err != nil:
		word, by = "ERROR", err.Error()
	case !v.failed:
		h.survived++
		word, by = "SURVIVED", m.is
	default:
		h.caught++
	}
	fmt.Printf("%-32s %-12s %-9s %5.1f  %s\n", m.name, m.breaks, word, v.took.Seconds(), by)
}

func (h *hunt) plantAndRun(ctx context.Context, m *mutant) (verdict, error) {
	dir, err := os.MkdirTemp(h.dir, "one")
	if err != nil {
		return verdict{}, err
	}
	overlay, err := m.plant(h.root, dir)
	if err != nil {
		return verdict{}, err
	}
	return m.caught.run(ctx, h.root, overlay)
}

// each does so much, some of it at a time.
func (h *hunt) each(n int, do func(i int)) {
	var all sync.WaitGroup
	turns := make(chan struct{}, h.jobs)
	for i := range n {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			do(i)
		})
	}
	all.Wait()
}
