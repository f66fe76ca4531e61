package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/docker/docker/api/types/container"
	"github.com/spf13/cobra"
)

type startOptions struct {
	attach, interactive bool
	detachKeys          string
}

func newStart(a *app) *cobra.Command {
	o := &startOptions{}
	c := &cobra.Command{
		Use:   "start [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "Start one or more stopped containers",
		Example: "  ddocker start abc def\n" +
			"  ddocker start -ai abc",
		Args:              named(1, -1, -1),
		ValidArgsFunction: a.completeNames(0, stoppedNames),
		RunE: func(c *cobra.Command, args []string) error {
			if o.attach || o.interactive {
				return a.startAttached(c.Context(), o, args)
			}
			return a.start(c.Context(), args)
		},
	}
	c.Flags().BoolVarP(&o.attach, "attach", "a", false, "Attach STDOUT/STDERR")
	c.Flags().BoolVarP(&o.interactive, "interactive", "i", false, "Attach container's STDIN")
	c.Flags().StringVar(&o.detachKeys, "detach-keys", "", "Override the key sequence for detaching a container")
	return c
}

func (a *app) start(ctx context.Context, names []string) error {
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	return a.each(ctx, names, func(name string) error {
		if err := cluster.start(ctx, name); err != nil {
			return err
		}
		fmt.Fprintln(a.Stdout, name)
		return nil
	})
}

func (c *connection) start(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	return c.docker.ContainerStart(ctx, name, container.StartOptions{})
}

// startAttached starts one container and stays with it until it exits, whose
// code it passes on, or until the user detaches.
func (a *app) startAttached(ctx context.Context, o *startOptions, names []string) error {
	if len(names) > 1 {
		return errors.New("cannot attach to several containers at once: start them without -a and -i")
	}
	keys, err := detachKeys(o.detachKeys)
	if err != nil {
		return err
	}
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	s, id, err := cluster.attach(ctx, names[0], o)
	if err != nil {
		return err
	}
	s.detachKeys = keys
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	exited, failed := cluster.docker.ContainerWait(ctx, id, container.WaitConditionNextExit)
	if err := cluster.start(ctx, id); err != nil {
		s.conn.Close()
		return err
	}
	if err := a.join(ctx, s); err != nil {
		if errors.Is(err, errDetached) {
			return nil
		}
		return err
	}
	return exitOf(exited, failed)
}

// attach opens the streams of a container that is about to start.
func (c *connection) attach(ctx context.Context, name string, o *startOptions) (stream, string, error) {
	brief, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	found, err := c.docker.ContainerInspect(brief, name)
	if err != nil {
		return stream{}, "", err
	}
	s := stream{stdin: o.interactive && found.Config.OpenStdin, tty: found.Config.Tty}
	s.resize = func(ctx context.Context, height, width uint) error {
		ctx, cancel := context.WithTimeout(ctx, readTimeout)
		defer cancel()
		return c.docker.ContainerResize(ctx, found.ID, container.ResizeOptions{Height: height, Width: width})
	}
	s.conn, err = c.docker.ContainerAttach(ctx, found.ID, container.AttachOptions{
		Stream: true, Stdin: s.stdin, Stdout: true, Stderr: true, DetachKeys: o.detachKeys,
	})
	return s, found.ID, err
}

// exitOf waits for the end of a container and passes its exit code on.
func exitOf(exited <-chan container.WaitResponse, failed <-chan error) error {
	select {
	case err := <-failed:
		return fmt.Errorf("wait for the container: %w", err)
	case end := <-exited:
		if end.StatusCode != 0 {
			return exitError{code: int(end.StatusCode)}
		}
		return nil
	}
}
