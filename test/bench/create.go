package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/docker/docker/api/types/container"
	"golang.org/x/sync/errgroup"
)

// busybox is what the lab's engines have.
const busybox = "busybox:latest"

// sleeper is the container that all sides make. With a host it is made there.
func sleeper(host string) *container.Config {
	c := &container.Config{Image: busybox, Cmd: []string{"sleep", "100000"}, Labels: map[string]string{}}
	if host != "" {
		c.Labels["ddocker.node"] = host
	}
	return c
}

// noGrace lets a container go at once: sleep, as process 1, is deaf to SIGTERM.
var noGrace = container.RemoveOptions{Force: true, RemoveVolumes: true}

// startup is the two halves of a create+start.
type startup struct{ create, start time.Duration }

func (s startup) whole() time.Duration { return s.create + s.start }

// launch creates and starts a container, and returns when it runs.
func (s *site) launch(ctx context.Context, name, host string) (took startup, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	began := time.Now()
	made, err := s.ContainerCreate(ctx, sleeper(host), nil, nil, nil, name)
	took.create = time.Since(began)
	if err != nil {
		return took, fmt.Errorf("create %s through %s: %w", name, s.name, err)
	}
	began = time.Now()
	err = s.ContainerStart(ctx, made.ID, container.StartOptions{})
	took.start = time.Since(began)
	if err != nil {
		return took, fmt.Errorf("start %s through %s: %w", name, s.name, err)
	}
	return took, nil
}

func (s *site) remove(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return s.ContainerRemove(ctx, name, noGrace)
}

// once launches and removes one container.
func (s *site) once(ctx context.Context, name, host string) (startup, error) {
	took, err := s.launch(ctx, name, host)
	if err != nil {
		return took, err
	}
	return took, s.remove(ctx, name)
}

// duel is a create+start on two sides in turn, halves told apart.
type duel struct{ ours, plain, ourCreate, plainCreate, ourStart, plainStart sample }

func (d *duel) add(ours, plain startup) {
	d.ours.add(ours.whole())
	d.plain.add(plain.whole())
	d.ourCreate.add(ours.create)
	d.plainCreate.add(plain.create)
	d.ourStart.add(ours.start)
	d.plainStart.add(plain.start)
}

// round is one turn of both sides; they change places every time.
func (d *duel) round(ctx context.Context, c *cluster, i int) error {
	var ours, plain startup
	name := fmt.Sprintf("duel-%d", i)
	us := func() (err error) { ours, err = c.entry().once(ctx, name, c.far()); return err }
	them := func() (err error) { plain, err = c.plain[0].once(ctx, name, c.far()); return err }
	if i%2 == 1 {
		us, them = them, us
	}
	if err := errors.Join(us(), them()); err != nil {
		return err
	}
	d.add(ours, plain)
	return nil
}

// create measures R, and the same through the cluster.
func (b *bench) create(ctx context.Context, c *cluster) error {
	var warm, d duel
	for i := range 3 {
		if err := warm.round(ctx, c, i); err != nil {
			return err
		}
	}
	for i := range 2 * b.n {
		if err := d.round(ctx, c, i); err != nil {
			return err
		}
	}
	b.ratio("create+start, non-leader → another host ÷ plain engine (R)", d.ours, d.plain, 1.15)
	b.ratio("  its create alone", d.ourCreate, d.plainCreate, 0)
	b.ratio("  its start alone", d.ourStart, d.plainStart, 0)
	return nil
}

// crowd is a number of containers that just run.
const crowd = 30

// many measures create+start with a crowd present and without, in turn.
func (b *bench) many(ctx context.Context, c *cluster) error {
	var none, full duel
	const turns = 2
	each := (b.n + turns - 1) / turns
	for turn := range turns {
		if err := some(ctx, c, &none, each); err != nil {
			return err
		}
		if err := c.populate(ctx, turn); err != nil {
			return err
		}
		if err := some(ctx, c, &full, each); err != nil {
			return err
		}
		if err := c.clear(ctx); err != nil {
			return err
		}
	}
	b.ratio(fmt.Sprintf("create+start with %d containers ÷ with none", crowd), full.ours, none.ours, 1.1)
	b.ratio(fmt.Sprintf("  plain engine with %d ÷ with none", crowd), full.plain, none.plain, 0)
	return nil
}

func some(ctx context.Context, c *cluster, d *duel, n int) error {
	var warm duel
	if err := warm.round(ctx, c, 0); err != nil {
		return err
	}
	for i := range n {
		if err := d.round(ctx, c, i); err != nil {
			return err
		}
	}
	return nil
}

// populate puts the crowd into the cluster, the same number on each host, and one
// as large on the first plain engine.
func (c *cluster) populate(ctx context.Context, turn int) error {
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(4)
	for i := range crowd {
		name := fmt.Sprintf("crowd-%d-%d", turn, i)
		host := c.agents[i%len(c.agents)].name
		all.Go(func() error { _, err := c.entry().launch(ctx, name, host); return err })
		all.Go(func() error { _, err := c.plain[0].launch(ctx, name, ""); return err })
	}
	return all.Wait()
}

// clear removes all containers of the cluster and of the plain engines.
func (c *cluster) clear(ctx context.Context) error {
	return empty(ctx, append([]*site{c.entry()}, c.plain...))
}

func empty(ctx context.Context, sites []*site) error {
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(6)
	for _, s := range sites {
		list, err := s.ContainerList(ctx, container.ListOptions{All: true})
		if err != nil {
			return err
		}
		for _, one := range list {
			all.Go(func() error { return s.remove(ctx, one.ID) })
		}
	}
	return all.Wait()
}
