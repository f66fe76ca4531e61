package main

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
)

// A burst is so many creates, so many at a time.
const (
	burstSize  = 60
	burstWidth = 20
)

// burst measures many creates at once, through one agent and straight to three
// engines one after another.
func (b *bench) burst(ctx context.Context, c *cluster) error {
	var ours, plain sample
	for i := range b.n + 1 {
		err := timed(&ours, func() error { return storm(ctx, c.through) })
		if err == nil {
			err = c.clear(ctx)
		}
		if err == nil {
			err = timed(&plain, func() error { return storm(ctx, c.straight) })
		}
		if err == nil {
			err = c.clear(ctx)
		}
		if err != nil {
			return err
		}
		if i == 0 { // to warm up
			ours, plain = sample{}, sample{}
		}
	}
	b.ratio("burst of 60 creates, 20 at a time ÷ on the 3 plain engines", ours, plain, 1.05)
	return nil
}

func burstName(i int) string { return fmt.Sprintf("burst-%d", i) }

// through launches a container wherever the cluster likes.
func (c *cluster) through(ctx context.Context, _ int, name string) error {
	_, err := c.entry().launch(ctx, name, "")
	return err
}

// straight launches it on the next of the plain engines.
func (c *cluster) straight(ctx context.Context, i int, name string) error {
	_, err := c.plain[i%len(c.plain)].launch(ctx, name, "")
	return err
}

// storm launches a burst and returns when all of it runs.
func storm(ctx context.Context, launch func(ctx context.Context, i int, name string) error) error {
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(burstWidth)
	for i := range burstSize {
		all.Go(func() error { return launch(ctx, i, burstName(i)) })
	}
	return all.Wait()
}
