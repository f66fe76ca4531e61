package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/errdefs"
	names "github.com/distribution/reference"
	"github.com/docker/docker/api/types/image"
	"github.com/spf13/cobra"
)

type pullOptions struct {
	all, quiet bool
	platform   string
}

func newPull(a *app) *cobra.Command {
	o := &pullOptions{}
	c := &cobra.Command{
		Use:   "pull [OPTIONS] NAME[:TAG|@DIGEST]",
		Short: "Download an image from another host or a registry",
		Long: "Download an image to the agent's host: from the hosts that have it, and from a\n" +
			"registry if none has.",
		Example:           "  ddocker pull python:3.13\n  ddocker pull -q nvcr.io/nvidia/pytorch:25.01-py3",
		Args:              named(1, 1, 1),
		ValidArgsFunction: a.completeNames(1, imageNames),
		RunE:              func(c *cobra.Command, args []string) error { return a.pull(c.Context(), *o, args[0]) },
	}
	c.Flags().BoolVarP(&o.all, "all-tags", "a", false, "Download all tagged images in the repository")
	c.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "Suppress verbose output")
	c.Flags().StringVar(&o.platform, "platform", "", "Take the image for this platform, OS[/ARCH[/VARIANT]]")
	return c
}

// registryName reads the name of an image that a registry has or is to have. It says
// if a name on one host is of a host that is not there.
func (a *app) registryName(ctx context.Context, text string) (names.Named, error) {
	name, err := parseName(text)
	if err == nil || localTo(text) == "" {
		return name, err
	}
	cluster, away := a.connect()
	if away != nil {
		return nil, away
	}
	if _, missing := cluster.inspectImage(ctx, text); missing != nil && strings.HasPrefix(missing.Error(), "No such node") {
		return nil, missing
	}
	return nil, err
}

func (a *app) pull(ctx context.Context, o pullOptions, text string) error {
	name, err := a.registryName(ctx, text)
	if err != nil {
		return err
	}
	if o.all && !names.IsNameOnly(name) {
		return errors.New("tag can't be used with --all-tags/-a")
	}
	bars := a.bars(o.quiet)
	if !o.all {
		name = withTag(name, bars)
	}
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	if err := a.fetch(ctx, cluster, name, image.PullOptions{All: o.all, Platform: o.platform}, bars); err != nil {
		return err
	}
	fmt.Fprintln(a.Stdout, name)
	return nil
}

// bars is where a command shows its progress.
func (a *app) bars(quiet bool) io.Writer {
	if quiet {
		return io.Discard
	}
	return a.Stdout
}

// withTag says which tag is meant where none was given.
func withTag(name names.Named, out io.Writer) names.Named {
	if !names.IsNameOnly(name) {
		return name
	}
	fmt.Fprintln(out, "Using default tag: latest")
	return names.TagNameOnly(name)
}

// fetch pulls an image through the cluster, with the user's credentials for its
// registry.
func (a *app) fetch(ctx context.Context, cluster *connection, name names.Named, o image.PullOptions, bars io.Writer) (err error) {
	if o.RegistryAuth, err = a.registryAuth(ctx, names.Domain(name)); err != nil {
		return err
	}
	return transfer(ctx, func(ctx context.Context, watch func(io.Reader) io.Reader) error {
		messages, err := cluster.docker.ImagePull(ctx, name.String(), o)
		if err != nil {
			return err
		}
		defer messages.Close()
		return showProgress(watch(messages), bars)
	})
}

// withImage does what needs an image. Where that is missing it is pulled, bars
// on standard error, and what needs it is done once more.
func (a *app) withImage(ctx context.Context, cluster *connection, text string, do func() error) error {
	err := do()
	if !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "No such image") {
		return err
	}
	name, unnamed := names.ParseNormalizedNamed(text)
	if unnamed != nil {
		return err // an ID, or a name on one host: no registry has it
	}
	name = names.TagNameOnly(name)
	fmt.Fprintf(a.Stderr, "Unable to find image '%s' locally\n", names.FamiliarString(name))
	if err := a.fetch(ctx, cluster, name, image.PullOptions{}, a.Stderr); err != nil {
		return err
	}
	return do()
}

func newPush(a *app) *cobra.Command {
	quiet := false
	c := &cobra.Command{
		Use:               "push [OPTIONS] NAME[:TAG]",
		Short:             "Upload an image to a registry",
		Long:              "Upload an image to a registry, from a host that has it.",
		Example:           "  ddocker push registry.example.org/lab/python3_cuda:latest",
		Args:              named(1, 1, 1),
		ValidArgsFunction: a.completeNames(1, imageNames),
		RunE:              func(c *cobra.Command, args []string) error { return a.push(c.Context(), quiet, args[0]) },
	}
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "Suppress verbose output")
	return c
}

func (a *app) push(ctx context.Context, quiet bool, text string) error {
	name, err := a.registryName(ctx, text)
	if err != nil {
		return err
	}
	bars := a.bars(quiet)
	name = withTag(name, bars)
	auth, err := a.registryAuth(ctx, names.Domain(name))
	if err != nil {
		return err
	}
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	err = transfer(ctx, func(ctx context.Context, watch func(io.Reader) io.Reader) error {
		messages, err := cluster.docker.ImagePush(ctx, name.String(), image.PushOptions{RegistryAuth: auth})
		if err != nil {
			return err
		}
		defer messages.Close()
		return showProgress(watch(messages), bars)
	})
	if err == nil && quiet {
		fmt.Fprintln(a.Stdout, name)
	}
	return err
}
