package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"time"

	"github.com/docker/docker/api/types/container"
	"golang.org/x/sync/errgroup"
)

// list measures ps -a with the crowd present: the cluster's, spread over three
// hosts, and that of one engine which has it all.
func (b *bench) list(ctx context.Context, c *cluster) error {
	if err := c.populate(ctx, 0); err != nil {
		return err
	}
	var ours, plain, ourAPI, plainAPI sample
	for i := range 3 * b.n {
		err := timed(&ours, func() error { return lines(ctx, crowd, b.bin, "-H", "unix://"+c.entry().socket, "ps", "-a") })
		if err == nil {
			err = timed(&plain, func() error { return lines(ctx, crowd, "docker", "-H", "unix://"+c.plain[0].socket, "ps", "-a") })
		}
		if err == nil {
			err = timed(&ourAPI, func() error { return c.entry().rows(ctx) })
		}
		if err == nil {
			err = timed(&plainAPI, func() error { return c.plain[0].rows(ctx) })
		}
		if err != nil {
			return err
		}
		if i == 0 { // to warm up
			ours, plain, ourAPI, plainAPI = sample{}, sample{}, sample{}, sample{}
		}
	}
	b.ratio("ddocker ps -a, 3 hosts, 30 containers ÷ docker ps -a, one engine", ours, plain, 1.5)
	b.ratio("  the API call alone", ourAPI, plainAPI, 0)
	if err := b.listFull(ctx, c); err != nil {
		return err
	}
	return c.clear(ctx)
}

// listFull measures docker ps -a of three hosts with a crowd on each: to the third
// that is there already two more come.
func (b *bench) listFull(ctx context.Context, c *cluster) error {
	all, some := errgroup.WithContext(ctx)
	all.SetLimit(4)
	for i := range (len(c.agents) - 1) * crowd {
		all.Go(func() error {
			_, err := c.entry().launch(some, fmt.Sprintf("more-%d", i), c.agents[i%len(c.agents)].name)
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	ours, theirs, err := turns(side{c.entry(), ""}, side{c.plain[0], ""}, 3*b.n, func(s side) error {
		rows := crowd
		if s.site == c.entry() {
			rows = len(c.agents) * crowd
		}
		return lines(ctx, rows, "docker", "-H", "unix://"+s.socket, "ps", "-a")
	})
	b.ratio(fmt.Sprintf("docker ps -a, 3 hosts × %d containers ÷ one engine with %d", crowd, crowd), ours, theirs, 1.5)
	return err
}

func timed(s *sample, do func() error) error {
	began := time.Now()
	err := do()
	s.add(time.Since(began))
	return err
}

// lines runs a ps and counts the rows that it prints.
func lines(ctx context.Context, rows int, command ...string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, command[0], command[1:]...).Output()
	if err != nil {
		return fmt.Errorf("%v: %w", command, err)
	}
	if n := bytes.Count(out, []byte("\n")); n != rows+1 {
		return fmt.Errorf("%v prints %d lines, not %d:\n%s", command, n, rows+1, out)
	}
	return nil
}

func (s *site) rows(ctx context.Context) error {
	list, err := s.ContainerList(ctx, container.ListOptions{All: true})
	if err == nil && len(list) != crowd {
		err = fmt.Errorf("%s lists %d containers, not %d", s.name, len(list), crowd)
	}
	return err
}
