package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/spf13/cobra"
)

// stamp is the seed's form of a date in names and tags.
const stamp = "20060102-150405"

func newCommit(a *app) *cobra.Command {
	o := &container.CommitOptions{}
	c := &cobra.Command{
		Use:   "commit [OPTIONS] CONTAINER IMAGE[:TAG]",
		Short: "Create a new image from a container's changes",
		Long: "Create a new image from a container's changes.\n\n" +
			"Without a tag the image is tagged with the present time. A name that an image\n" +
			"already has is refused.",
		Example: "  ddocker commit abc python3_cuda\n" +
			"  ddocker commit -m 'numpy added' abc python3_cuda:numpy",
		Args:              named(2, 2, 1),
		ValidArgsFunction: a.completeNames(1, containerNames),
		RunE: func(c *cobra.Command, args []string) error {
			o.Reference = args[1]
			return a.commit(c.Context(), args[0], *o)
		},
	}
	c.Flags().StringVarP(&o.Author, "author", "a", "", `Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")`)
	c.Flags().StringVarP(&o.Comment, "message", "m", "", "Commit message")
	c.Flags().StringArrayVarP(&o.Changes, "change", "c", nil, "Apply Dockerfile instruction to the created image")
	c.Flags().BoolVarP(&o.Pause, "pause", "p", true, "Pause container during commit")
	return c
}

func (a *app) commit(ctx context.Context, name string, o container.CommitOptions) error {
	if _, tag := splitTag(o.Reference); tag == "" {
		o.Reference += ":" + time.Now().Format(stamp)
		if _, err := parseName(o.Reference); err != nil {
			return err
		}
		fmt.Fprintln(a.Stderr, "Committing to "+o.Reference)
	}
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	done, err := cluster.docker.ContainerCommit(ctx, name, o)
	if err != nil {
		return err
	}
	fmt.Fprintln(a.Stdout, done.ID)
	return nil
}
