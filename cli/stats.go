package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/spf13/cobra"
)

// noSuchContainer is the engine's own sentence.
const noSuchContainer = "No such container"

// statsEvery is how far two samples are apart: engines take one a second.
const statsEvery = time.Second

type statsOptions struct {
	listing
	all, noStream bool
	names         []string
}

func newStats(a *app) *cobra.Command {
	o := &statsOptions{}
	c := &cobra.Command{
		Use:   "stats [OPTIONS] [CONTAINER...]",
		Short: "Show how much containers use, live",
		Long: "Show how much of CPU, memory, network, disk and GPUs the containers of all hosts\n" +
			"use, those that run or those that are named.\n\n" +
			"GPU MEM is what the container's own processes have on its GPUs. A container whose\n" +
			"host does not answer has \"--\". A template for --format knows docker's fields, and\n" +
			".Host .GPU .GPUUtil .GPUMem besides.",
		Example: "  ddocker stats\n" +
			"  ddocker stats --no-stream --format '{{.Name}} {{.CPUPerc}} {{.GPUUtil}}' train",
		Args:              named(0, -1, -1),
		ValidArgsFunction: a.completeNames(0, runningNames),
		RunE: func(c *cobra.Command, args []string) error {
			o.names = args
			return a.stats(c.Context(), o)
		},
	}
	c.Flags().BoolVarP(&o.all, "all", "a", false, "Show all containers (default shows just running)")
	c.Flags().BoolVar(&o.noStream, "no-stream", false, "Disable streaming stats and only pull the first result")
	o.formatFlag(c)
	o.truncFlag(c)
	return c
}

func (a *app) stats(ctx context.Context, o *statsOptions) error {
	if err := write(io.Discard, statsTable(), o.listing, []statsRow{{}}); err != nil {
		return err
	}
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	watch := &usage{cluster: cluster, o: o, last: map[string]container.CPUStats{}}
	// How much CPU is used takes two samples.
	if _, err := watch.rows(ctx); err != nil {
		return err
	}
	tick := time.NewTicker(statsEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		rows, err := watch.rows(ctx)
		if err != nil {
			return err
		}
		if o.noStream {
			return write(a.Stdout, statsTable(), o.listing, rows)
		}
		var frame bytes.Buffer
		if err := write(&frame, statsTable(), o.listing, rows); err != nil {
			return err
		}
		a.redraw(frame.Bytes())
	}
}

// usage follows what containers use.
type usage struct {
	cluster *connection
	o       *statsOptions
	last    map[string]container.CPUStats // by container
}

// rows takes one sample of every container that is wanted.
func (u *usage) rows(ctx context.Context) ([]statsRow, error) {
	query := url.Values{}
	if u.o.all || len(u.o.names) > 0 {
		query.Set("all", "1")
	}
	list, err := u.cluster.containers(ctx, query)
	if err != nil {
		return nil, err
	}
	wanted, err := chosen(list.rows, u.o.names)
	if err != nil {
		return nil, err
	}
	memory, err := u.gpuMemory(ctx, wanted)
	if err != nil {
		return nil, err
	}
	samples := measure(ctx, u.cluster, wanted)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	rows, seen := []statsRow{}, map[string]container.CPUStats{}
	for i := range wanted {
		c := &wanted[i]
		s := &samples[i]
		if s.gone {
			continue
		}
		r := statsRow{
			BlockIO: "--", CPUPerc: "--", Container: c.ID, GPU: c.gpus(grantedCard.index), GPUMem: "--", GPUUtil: "--", Host: c.host(), ID: c.ID,
			MemPerc: "--", MemUsage: "-- / --", Name: joinNames(c.Names), NetIO: "--", PIDs: "--",
		}
		if !u.o.noTrunc {
			r.ID, r.Container = shortID(c.ID), shortID(c.ID)
		}
		if s.known {
			r.fill(u.last[c.ID], &s.StatsResponse)
			r.GPUUtil, r.GPUMem = c.gpus(grantedCard.percent), memory.of(c)
			seen[c.ID] = s.CPUStats
		}
		rows = append(rows, r)
	}
	u.last = seen
	return rows, nil
}

// chosen returns the containers that are named, or all.
func chosen(list []containerSummary, names []string) ([]containerSummary, error) {
	if len(names) == 0 {
		return list, nil
	}
	var found []containerSummary
	for _, name := range names {
		c, err := choose(list, name)
		if err != nil {
			return nil, err
		}
		found = append(found, *c)
	}
	return found, nil
}

func choose(list []containerSummary, name string) (found *containerSummary, err error) {
	for i := range list {
		c := &list[i]
		switch own := joinNames(c.Names); {
		case name == own, name == "/"+own, name == c.host()+"/"+own, name == c.ID:
			return c, nil
		case strings.HasPrefix(c.ID, name) && found != nil:
			err = fmt.Errorf("multiple IDs found with provided prefix: %s", name) // as engines say it
		case strings.HasPrefix(c.ID, name):
			found = c
		}
	}
	if found == nil {
		err = fmt.Errorf("%s: %s", noSuchContainer, name)
	}
	return found, err
}
