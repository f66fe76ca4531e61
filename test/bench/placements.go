package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	clients     = 64              // that place at the same time
	segment     = 2 * time.Second // of one side, before it is the other's turn
	alonePerRow = 60              // sequential placements in one turn
)

// placements measures how fast places are given, against bare raft.
func (b *bench) placements(ctx context.Context) (err error) {
	b.say("measuring place")
	dir, err := os.MkdirTemp(b.dir, "place-")
	if err != nil {
		return err
	}
	l, err := newLoopback(ctx, b.bin, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.stop()) }()
	bare, err := newBareRaft(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bare.stop()) }()
	if err := b.throughput(ctx, l, bare); err != nil {
		return err
	}
	return b.latency(ctx, l, bare)
}

func (b *bench) throughput(ctx context.Context, l *loopback, bare *bareRaft) error {
	ours, plain := sample{unit: "/s"}, sample{unit: "/s"}
	for i := range b.n + 1 {
		rate, err := l.rate(ctx, i)
		if err != nil {
			return err
		}
		ours.values = append(ours.values, rate)
		if rate, err = crowded(ctx, func(int, int64) error { return bare.apply() }); err != nil {
			return err
		}
		if plain.values = append(plain.values, rate); i == 0 { // to warm up
			ours.values, plain.values = nil, nil
		}
	}
	b.atLeast("placements per second, 64 clients ÷ bare raft Apply", 100*ours.median()/plain.median(), "%.0f %%", 50,
		fmt.Sprintf("%s ÷ %s", ours, plain))
	b.atLeast("  counted in commits, two a create", 200*ours.median()/plain.median(), "%.0f %%", 0, "")
	return nil
}

// rate creates containers through all three agents for one segment, and removes
// them.
func (l *loopback) rate(ctx context.Context, turn int) (float64, error) {
	rate, err := crowded(ctx, func(client int, i int64) error {
		_, err := l.agents[client%len(l.agents)].ContainerCreate(ctx, sleeper(""), nil, nil, nil, fmt.Sprintf("p-%d-%d", turn, i))
		return err
	})
	if err != nil {
		return 0, err
	}
	return rate, empty(ctx, l.agents[:1])
}

// crowded has all clients do something again and again for one segment, and returns
// how often a second it was done. Each time has a number.
func crowded(ctx context.Context, do func(client int, i int64) error) (float64, error) {
	var done atomic.Int64
	all, ctx := errgroup.WithContext(ctx)
	began := time.Now()
	for client := range clients {
		all.Go(func() error {
			for ctx.Err() == nil && time.Since(began) < segment {
				if err := do(client, done.Add(1)); err != nil {
					return err
				}
			}
			return ctx.Err()
		})
	}
	err := all.Wait()
	return float64(done.Load()) / time.Since(began).Seconds(), err
}

// latency measures one placement after another: until the engine of the chosen host
// is asked for the container, and until the whole create is answered, which takes a
// second commit.
func (b *bench) latency(ctx context.Context, l *loopback, bare *bareRaft) error {
	var plain sample
	near, far := new(placing), new(placing)
	for i := range b.n + 1 {
		if i == 1 { // warm
			plain, near, far = sample{}, new(placing), new(placing)
		}
		for j := range alonePerRow {
			if err := timed(&plain, bare.apply); err != nil {
				return err
			}
			name := fmt.Sprintf("q-%d-%d", i, j)
			err := errors.Join(near.one(ctx, l, l.agents[0], name+"-near"), far.one(ctx, l, l.agents[1], name+"-far"))
			if err != nil {
				return err
			}
		}
		if err := empty(ctx, l.agents[:1]); err != nil {
			return err
		}
	}
	compare := func(what string, s sample, most float64) {
		for _, q := range []struct {
			name string
			at   float64
		}{{"p50", 0.5}, {"p99", 0.99}} {
			is, base := s.quantile(q.at), plain.quantile(q.at)
			b.limited(what+", "+q.name+" ÷ a bare Apply", is/base, "%.2f×", most, fmt.Sprintf("%.2f ms ÷ %.2f ms, n=%d", is, base, len(s.values)))
		}
	}
	compare("one placement through the leader", near.placed, 2)
	compare("  through a non-leader", far.placed, 0)
	compare("  whole create through the leader (two commits)", near.answered, 0)
	compare("  whole create through a non-leader (two commits)", far.answered, 0)
	return nil
}

// placing is what creates took.
type placing struct{ placed, answered sample }

func (p *placing) one(ctx context.Context, l *loopback, through *site, name string) error {
	began := time.Now()
	_, err := through.ContainerCreate(ctx, sleeper(""), nil, nil, nil, name)
	if err != nil {
		return err
	}
	p.answered.add(time.Since(began))
	at, ok := l.asked.LoadAndDelete(name)
	if !ok {
		return fmt.Errorf("no engine was asked for %s", name)
	}
	p.placed.add(at.(time.Time).Sub(began))
	return nil
}
