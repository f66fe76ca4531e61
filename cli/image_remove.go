package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/go-units"
	"github.com/spf13/cobra"
)

type rmiOptions struct{ force, noPrune bool }

func newRmi(a *app) *cobra.Command {
	o := &rmiOptions{}
	c := &cobra.Command{
		Use:   "rmi [OPTIONS] IMAGE [IMAGE...]",
		Short: "Remove one or more images",
		Long: "Remove names of images, and images without a name, on all hosts.\n\n" +
			"A host that is away removes them when it is back. An image that a container of\n" +
			"any host uses is kept; with --force it loses its name alone.",
		Example: "  ddocker rmi python3_cuda:20200530-003533\n" +
			"  ddocker rmi python:3@gpu2",
		Args:              named(1, -1, -1),
		ValidArgsFunction: a.completeNames(0, imageNames),
		RunE:              func(c *cobra.Command, args []string) error { return a.rmi(c.Context(), o, args) },
	}
	c.Flags().BoolVarP(&o.force, "force", "f", false, "Force removal of the image")
	c.Flags().BoolVar(&o.noPrune, "no-prune", false, "Do not delete untagged parents")
	return c
}

func (a *app) rmi(ctx context.Context, o *rmiOptions, names []string) error {
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	return a.each(ctx, names, func(name string) error {
		gone, err := cluster.removeImage(ctx, name, o)
		if o.force && errdefs.IsNotFound(err) {
			a.complain(err) // it is gone, as was asked
			return nil
		}
		if err != nil {
			return err
		}
		writeRemoved(a.Stdout, gone, "Untagged: ", "Deleted: ")
		return nil
	})
}

func (c *connection) removeImage(ctx context.Context, name string, o *rmiOptions) ([]image.DeleteResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	return c.docker.ImageRemove(ctx, name, image.RemoveOptions{Force: o.force, PruneChildren: !o.noPrune})
}

func writeRemoved(w io.Writer, gone []image.DeleteResponse, untagged, deleted string) {
	for _, part := range gone {
		if part.Deleted != "" {
			fmt.Fprintln(w, deleted+part.Deleted)
		} else {
			fmt.Fprintln(w, untagged+part.Untagged)
		}
	}
}

type pruneOptions struct {
	all, force bool
	filters    []string
}

func newPrune(a *app) *cobra.Command {
	o := &pruneOptions{}
	c := &cobra.Command{
		Use:               "prune [OPTIONS]",
		Short:             "Remove unused images",
		Long:              "Remove the images without a name on all hosts; with --all those that no container\nof any host uses, too.",
		Example:           "  ddocker image prune\n  ddocker image prune -a --force --filter until=240h",
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(c *cobra.Command, _ []string) error { return a.prune(c.Context(), o) },
	}
	c.Flags().BoolVarP(&o.all, "all", "a", false, "Remove all unused images, not just dangling ones")
	c.Flags().BoolVarP(&o.force, "force", "f", false, "Do not prompt for confirmation")
	c.Flags().StringArrayVar(&o.filters, "filter", nil, "Provide filter values (e.g. \"until=24h\", \"label=KEY\")")
	return c
}

func (a *app) prune(ctx context.Context, o *pruneOptions) error {
	conditions, err := filterArgs(o.filters)
	if err != nil {
		return err
	}
	conditions.Add("dangling", strconv.FormatBool(!o.all))
	if sure, err := a.surePrune(ctx, o); !sure {
		return err
	}
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	report, err := cluster.pruneImages(ctx, conditions)
	if err != nil {
		return err
	}
	if len(report.ImagesDeleted) > 0 {
		fmt.Fprintln(a.Stdout, "Deleted Images:")
		writeRemoved(a.Stdout, report.ImagesDeleted, "untagged: ", "deleted: ")
		fmt.Fprintln(a.Stdout)
	}
	fmt.Fprintln(a.Stdout, "Total reclaimed space:", units.HumanSize(float64(report.SpaceReclaimed)))
	for _, away := range report.Ddocker.Away {
		fmt.Fprintf(a.Stderr, "WARNING: host %s does not answer and was left out: see \"ddocker nodes\"\n", away)
	}
	return nil
}

// surePrune asks docker's question. Whatever is not "y" means no.
func (a *app) surePrune(ctx context.Context, o *pruneOptions) (bool, error) {
	if o.force {
		return true, nil
	}
	what := "dangling images"
	if o.all {
		what = "images without at least one container associated to them"
	}
	fmt.Fprintf(a.Stderr, "WARNING! This will remove all %s.\n", what)
	p := &prompt{in: bufio.NewReader(a.Stdin), out: a.Stderr, typed: isTerminal(a.Stdin)}
	q := question{"Are you sure you want to continue? [y/N] ", "--force"}
	return ask(ctx, p, q, func(answer string) (bool, error) { return strings.EqualFold(answer, "y"), nil })
}

// pruneReport is docker's, with the hosts that were left out.
type pruneReport struct {
	image.PruneReport
	Ddocker struct{ Away []string }
}

// pruneImages speaks to the route itself: docker's client knows no hosts.
func (c *connection) pruneImages(ctx context.Context, conditions filters.Args) (report pruneReport, err error) {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	wanted, err := filters.ToJSON(conditions)
	if err != nil {
		return report, err
	}
	answer, err := c.send(ctx, http.MethodPost, "/images/prune", url.Values{"filters": {wanted}}, nil)
	if err != nil {
		return report, err
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&report); err != nil {
		return report, fmt.Errorf("read what was pruned: %w", err)
	}
	return report, nil
}
