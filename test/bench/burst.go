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
		err := timed(&ours, func() error { return storm(ctx, func(int) *site { return c.entry() }) })
		if err == nil {
			err = c.clear(ctx)
		}
		if err == nil {
			err = timed(&plain, func() error { return storm(ctx, func(i int) *site { return c.plain[i%len(c.plain)] }) })
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

// storm launches a burst and returns when all of it runs.
func storm(ctx context.Context, through func(i int) *site) error {
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(burstWidth)
	for i := range burstSize {
		all.Go(func() error { _, err := through(i).launch(ctx, fmt.Sprintf("burst-%d", i), ""); return err })
	}
	return all.Wait()
}
