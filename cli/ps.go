package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/spf13/cobra"
)

// containerSummary is a row of /containers/json with what the cluster adds.
type containerSummary struct {
	container.Summary
	Ddocker struct {
		Node        string
		Type        string
		Ports       []string
		Owner       string
		GPUs        []grantedCard
		Unreachable bool
		Lost        bool
	}
}

// grantedCard is a GPU of a container.
type grantedCard struct {
	UUID, Index string
	Utilization *int // per cent; nil: not known
}

// host is where the container is.
func (c *containerSummary) host() string { return firstOf(c.Ddocker.Node, c.Labels["ddocker.node"]) }

type psOptions struct {
	listing
	all, latest bool
	last        int
}

func newPs(a *app) *cobra.Command {
	o := &psOptions{}
	c := &cobra.Command{
		Use:   "ps [OPTIONS]",
		Short: "List containers",
		Long: "List the containers of all hosts.\n\n" +
			"RUNNING says True, False, or unreachable for a container whose host does not\n" +
			"answer, or lost for one whose host was removed. USER says whose a container is,\n" +
			"where they are several users' or a host has GPUs; then GPU says which cards of its\n" +
			"host it was granted, and UTIL how busy each of them is. A template for --format\n" +
			"knows docker's fields, and .Host .Type .Running .Owner .Created .User .GPU .GPUs\n" +
			".Util besides; .GPUs are UUIDs.",
		Example: "  ddocker ps -a\n" +
			"  ddocker ps --filter name=train --format '{{.Names}} {{.Host}}'\n" +
			"  ddocker stop $(ddocker ps -q)",
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(c *cobra.Command, _ []string) error { return a.ps(c.Context(), o) },
	}
	c.Flags().BoolVarP(&o.all, "all", "a", false, "Show all containers (default shows just running)")
	c.Flags().BoolVarP(&o.latest, "latest", "l", false, "Show the latest created container (includes all states)")
	c.Flags().IntVarP(&o.last, "last", "n", -1, "Show n last created containers (includes all states)")
	o.flags(c, "Only display container IDs")
	o.filterFlag(c)
	o.truncFlag(c)
	return c
}

func (a *app) ps(ctx context.Context, o *psOptions) error {
	query, err := o.query()
	if err != nil {
		return err
	}
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	list, err := cluster.containers(ctx, query)
	if err != nil {
		return err
	}
	rows := make([]containerRow, len(list.rows))
	for i, c := range list.rows {
		rows[i] = newContainerRow(c, !o.noTrunc)
	}
	t := containerTable()
	if list.gpus > 0 || list.owners() > 1 {
		t.columns += "\t{{.User}}"
	}
	if list.gpus > 0 {
		t.columns += "\t{{.GPU}}\t{{.Util}}"
	}
	return write(a.Stdout, t, o.listing, rows)
}

func (o *psOptions) query() (url.Values, error) {
	query, err := filterQuery(o.filters)
	if err != nil {
		return nil, err
	}
	if o.latest && o.last < 0 {
		o.last = 1
	}
	if o.last > 0 {
		query.Set("limit", strconv.Itoa(o.last))
	}
	if o.all {
		query.Set("all", "1")
	}
	if strings.Contains(o.format, ".Size") {
		query.Set("size", "1")
	}
	return query, nil
}

// filterQuery encodes KEY=VALUE conditions as Docker's filters parameter.
func filterQuery(conditions []string) (url.Values, error) {
	query := url.Values{}
	if len(conditions) == 0 {
		return query, nil
	}
	args, err := filterArgs(conditions)
	if err != nil {
		return nil, err
	}
	text, err := filters.ToJSON(args)
	if err != nil {
		return nil, fmt.Errorf("encode the filters: %w", err)
	}
	query.Set("filters", text)
	return query, nil
}

// filterArgs reads KEY=VALUE conditions.
func filterArgs(conditions []string) (filters.Args, error) {
	args := filters.NewArgs()
	for _, condition := range conditions {
		key, value, ok := strings.Cut(condition, "=")
		if !ok {
			return args, exitError{125, fmt.Errorf("invalid filter %q: write KEY=VALUE", condition)}
		}
		args.Add(strings.ToLower(strings.TrimSpace(key)), strings.TrimSpace(value))
	}
	return args, nil
}

// owners counts whose the containers are, those that the cluster made.
func (l *containerList) owners() int {
	owners := map[string]bool{}
	for _, r := range l.rows {
		owners[r.Ddocker.Owner] = true
	}
	delete(owners, "")
	return len(owners)
}

// containerList is the list of containers, and how many GPUs the cluster has.
type containerList struct {
	rows []containerSummary
	gpus int
}

func (c *connection) containers(ctx context.Context, query url.Values) (containerList, error) {
	const path = "/containers/json"
	var list containerList
	header, text, err := c.ask(ctx, http.MethodGet, path, query, nil)
	if err == nil {
		err = understand(path, text, &list.rows)
	}
	list.gpus, _ = strconv.Atoi(header.Get("Ddocker-Gpus")) // none of a cluster without
	return list, err
}
