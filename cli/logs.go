package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/spf13/cobra"
)

func newLogs(a *app) *cobra.Command {
	o := &container.LogsOptions{ShowStdout: true, ShowStderr: true}
	c := &cobra.Command{
		Use:               "logs [OPTIONS] CONTAINER",
		Short:             "Fetch the logs of a container",
		Example:           "  ddocker logs --tail 20 -f abc",
		Args:              named(1, 1, 1),
		ValidArgsFunction: a.completeNames(1, containerNames),
		RunE:              func(c *cobra.Command, args []string) error { return a.logs(c.Context(), args[0], *o) },
	}
	c.Flags().BoolVarP(&o.Follow, "follow", "f", false, "Follow log output")
	c.Flags().BoolVarP(&o.Timestamps, "timestamps", "t", false, "Show timestamps")
	c.Flags().StringVarP(&o.Tail, "tail", "n", "all", "Number of lines to show from the end of the logs")
	c.Flags().StringVar(&o.Since, "since", "", `Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)`)
	return c
}

func (a *app) logs(ctx context.Context, name string, o container.LogsOptions) error {
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	brief, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	found, err := cluster.docker.ContainerInspect(brief, name)
	if err != nil {
		return err
	}
	text, err := cluster.docker.ContainerLogs(ctx, found.ID, o)
	if err != nil {
		return err
	}
	defer text.Close()
	if found.Config.Tty {
		_, err = io.Copy(a.Stdout, text)
	} else {
		_, err = stdcopy.StdCopy(a.Stdout, a.Stderr, text)
	}
	if err != nil {
		return fmt.Errorf("read the logs of %s: %w", name, err)
	}
	return nil
}
