package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/spf13/cobra"
)

func newStop(a *app) *cobra.Command {
	seconds := 0
	c := &cobra.Command{
		Use:               "stop [OPTIONS] CONTAINER [CONTAINER...]",
		Short:             "Stop one or more running containers",
		Example:           "  ddocker stop abc def\n  ddocker stop -t 60 abc",
		Args:              named(1, -1, -1),
		ValidArgsFunction: a.completeNames(0, runningNames),
	}
	c.Flags().IntVarP(&seconds, "timeout", "t", 0, "Seconds to wait before killing the container (-1: for ever; default: its own, or 10)")
	c.RunE = func(c *cobra.Command, args []string) error {
		var grace *int
		if c.Flags().Changed("timeout") {
			grace = &seconds
		}
		return a.stop(c.Context(), grace, args)
	}
	return c
}

func (a *app) stop(ctx context.Context, grace *int, names []string) error {
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	return a.each(ctx, names, func(name string) error {
		if err := cluster.stop(ctx, name, grace); err != nil {
			return err
		}
		fmt.Fprintln(a.Stdout, name)
		return nil
	})
}

// stop returns when the container has stopped, also if it had already. A nil
// grace is the container's own.
func (c *connection) stop(ctx context.Context, name string, grace *int) error {
	limit := changeTimeout
	if grace != nil {
		limit += time.Duration(*grace) * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return c.docker.ContainerStop(ctx, name, container.StopOptions{Timeout: grace})
}

type rmOptions struct{ force, volumes bool }

func newRm(a *app) *cobra.Command {
	o := &rmOptions{}
	c := &cobra.Command{
		Use:   "rm [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "Remove one or more containers",
		Long: "Remove one or more containers.\n\n" +
			"A running container is stopped first; with --force it is killed.",
		Example:           "  ddocker rm abc def\n  ddocker rm -f abc",
		Args:              named(1, -1, -1),
		ValidArgsFunction: a.completeNames(0, containerNames),
		RunE:              func(c *cobra.Command, args []string) error { return a.rm(c.Context(), o, args) },
	}
	c.Flags().BoolVarP(&o.force, "force", "f", false, "Kill a running container instead of stopping it")
	c.Flags().BoolVarP(&o.volumes, "volumes", "v", false, "Remove anonymous volumes associated with the container")
	return c
}

func (a *app) rm(ctx context.Context, o *rmOptions, names []string) error {
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	return a.each(ctx, names, func(name string) error {
		if !o.force {
			// What is not there may have been lost with its host: removing forgets it.
			if err := cluster.stop(ctx, name, nil); err != nil && !errdefs.IsNotFound(err) {
				return err
			}
		}
		err := cluster.remove(ctx, name, o)
		if o.force && errdefs.IsNotFound(err) {
			a.complain(err) // it is gone, as was asked
			return nil
		}
		if err == nil {
			fmt.Fprintln(a.Stdout, name)
		}
		return err
	})
}

func (c *connection) remove(ctx context.Context, name string, o *rmOptions) error {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	return c.docker.ContainerRemove(ctx, name, container.RemoveOptions{Force: o.force, RemoveVolumes: o.volumes})
}
