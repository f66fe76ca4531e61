package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"time"

	"github.com/docker/docker/api/types/container"
)

// list measures ps -a with the crowd present: the cluster's, spread over three
// hosts, and that of one engine which has it all.
func (b *bench) list(ctx context.Context, c *cluster) error {
	if err := c.populate(ctx, 0); err != nil {
		return err
	}
	var ours, plain, ourAPI, plainAPI sample
	for i := range 3 * b.n {
		err := timed(&ours, func() error { return lines(ctx, b.bin, "-H", "unix://"+c.entry().socket, "ps", "-a") })
		if err == nil {
			err = timed(&plain, func() error { return lines(ctx, "docker", "-H", "unix://"+c.plain[0].socket, "ps", "-a") })
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
	return c.clear(ctx)
}

func timed(s *sample, do func() error) error {
	began := time.Now()
	err := do()
	s.add(time.Since(began))
	return err
}

// lines runs a ps and counts what it prints.
func lines(ctx context.Context, command ...string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, command[0], command[1:]...).Output()
	if err != nil {
		return fmt.Errorf("%v: %w", command, err)
	}
	if n := bytes.Count(out, []byte("\n")); n != crowd+1 {
		return fmt.Errorf("%v prints %d lines, not %d:\n%s", command, n, crowd+1, out)
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
