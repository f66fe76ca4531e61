package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

// departure is what leaves the cluster with a host.
type departure struct {
	Node, Role string
	Containers []struct{ Name string }
	Networks   []string
	Volumes    []string
	Images     []string
}

func newLeave(a *app) *cobra.Command {
	force := false
	c := &cobra.Command{
		Use:   "leave [OPTIONS]",
		Short: "Take this host out of the cluster for good",
		Long: "Take the host that is asked out of the cluster for good: its vote and what else others\n" +
			"need of it are handed on, its agent ends, and its identity, keys and log are removed.\n" +
			"Its Docker Engine is not touched. It is refused while the host holds containers; with\n" +
			"--force they run on without the cluster, which lists them as lost.",
		Example:           "  ddocker leave\n  ddocker leave --force",
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(c *cobra.Command, _ []string) error { return a.leave(c.Context(), force) },
	}
	c.Flags().BoolVarP(&force, "force", "f", false, "Leave although the host holds containers: they run on, without the cluster")
	return c
}

func (a *app) leave(ctx context.Context, force bool) error {
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	var d departure
	if err := cluster.get(ctx, "/ddocker/leave", nil, &d); err != nil {
		return err
	}
	a.tellDeparture(d)
	if err := cluster.decode(ctx, http.MethodPost, "/ddocker/leave", forced(force), &d); err != nil {
		return err
	}
	fmt.Fprintln(a.Stdout, d.Node)
	return nil
}

func newNodeRm(a *app) *cobra.Command {
	force := false
	c := &cobra.Command{
		Use:   "rm [OPTIONS] NAME [NAME...]",
		Short: "Take hosts that will not come back out of the cluster",
		Long: "Take hosts that will not come back out of the cluster. Their containers are listed as\n" +
			"lost from then on, until \"ddocker rm\" forgets them; names, ports and GPUs are free at\n" +
			"once. A host that is up is refused without --force: run \"ddocker leave\" on it.",
		Example:           "  ddocker node rm gpu2",
		Args:              arguments(1, -1),
		ValidArgsFunction: a.completeNames(0, nodeNames),
		RunE:              func(c *cobra.Command, args []string) error { return a.nodeRm(c.Context(), force, args) },
	}
	c.Flags().BoolVarP(&force, "force", "f", false, "Remove a host that is up, too: its containers run on without the cluster")
	return c
}

func (a *app) nodeRm(ctx context.Context, force bool, names []string) error {
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	return a.each(ctx, names, func(name string) error {
		var d departure
		if err := cluster.decode(ctx, http.MethodDelete, "/ddocker/nodes/"+url.PathEscape(name), forced(force), &d); err != nil {
			return err
		}
		a.tellDeparture(d)
		fmt.Fprintln(a.Stdout, name)
		return nil
	})
}

func forced(force bool) url.Values {
	if force {
		return url.Values{"force": {"1"}}
	}
	return nil
}

// tellDeparture lists what the cluster has no more when the host has left.
func (a *app) tellDeparture(d departure) {
	var containers []string
	for _, c := range d.Containers {
		containers = append(containers, c.Name)
	}
	for _, of := range []struct {
		what  string
		names []string
	}{{"Containers", containers}, {"Networks", d.Networks}, {"Volumes", d.Volumes}, {"Images", d.Images}} {
		if len(of.names) > 0 {
			fmt.Fprintf(a.Stderr, "%s of %s alone: %s\n", of.what, d.Node, strings.Join(of.names, ", "))
		}
	}
}
