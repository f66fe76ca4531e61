package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"
)

// node is a row of /ddocker/nodes.
type node struct {
	ID, Name, Address   string
	State               string // alive or down
	Role                string // leader, voter or nonvoter
	Version, Engine     string
	Cores, FreeMilliCPU int
	Memory, FreeMemory  int64 // bytes
	GPUs                []struct {
		UUID, Model string
		Free        bool
	}
	Containers int
	Reason     string // why the node takes nothing, if so
	Store      string // how images are read from its engine
}

// nodeRow is one node as templates and --format json see it.
type nodeRow struct {
	Address    string
	Containers string
	Cores      string
	Engine     string
	GPUs       string
	ID         string
	Memory     string
	Name       string
	Reason     string
	Role       string
	State      string
	Store      string
	Version    string
}

func newNodes(a *app) *cobra.Command {
	l, verbose := &listing{}, false
	c := &cobra.Command{
		Use:   "nodes [OPTIONS]",
		Short: "List the hosts of the cluster",
		Long: "List the hosts of the cluster, with their free and total resources.\n\n" +
			"STORE, of --verbose, is how images are read from a host's engine. A template for\n" +
			"--format also knows .ID .Version .Engine .Containers .Reason .Store.",
		Example: "  ddocker nodes\n" +
			"  ddocker nvidia-smi $(ddocker nodes -q)",
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(c *cobra.Command, _ []string) error { return a.nodes(c.Context(), *l, verbose) },
	}
	c.Flags().BoolVar(&verbose, "verbose", false, "Also show how each host's images are read")
	l.flags(c, "Only display names")
	return c
}

func (a *app) nodes(ctx context.Context, l listing, verbose bool) error {
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	nodes, err := cluster.nodes(ctx)
	if err != nil {
		return err
	}
	rows := make([]nodeRow, len(nodes))
	for i, n := range nodes {
		rows[i] = n.row()
	}
	t := nodeTable()
	if verbose {
		t.columns += "\t{{.Store}}"
	}
	return write(a.Stdout, t, l, rows)
}

func (c *connection) nodes(ctx context.Context) ([]node, error) {
	var list []node
	err := c.get(ctx, "/ddocker/nodes", nil, &list)
	return list, err
}

func nodeTable() table {
	return table{
		columns: "{{.Name}}\t{{.Address}}\t{{.State}}\t{{.Role}}\t{{.Cores}}\t{{.Memory}}\t{{.GPUs}}",
		quiet:   "{{.Name}}",
		titles: titles{
			"Address": "ADDRESS", "Containers": "CONTAINERS", "Cores": "CORES", "Engine": "ENGINE",
			"GPUs": "GPUS", "ID": "ID", "Memory": "MEMORY", "Name": "NAME", "Reason": "REASON",
			"Role": "ROLE", "State": "STATE", "Store": "STORE", "Version": "VERSION",
		},
	}
}

// row shows resources as free/total.
func (n node) row() nodeRow {
	free := 0
	for _, gpu := range n.GPUs {
		if gpu.Free {
			free++
		}
	}
	return nodeRow{
		Address:    n.Address,
		Containers: strconv.Itoa(n.Containers),
		Cores:      strconv.FormatFloat(float64(n.FreeMilliCPU)/1000, 'f', -1, 64) + "/" + strconv.Itoa(n.Cores),
		Engine:     n.Engine,
		GPUs:       fmt.Sprintf("%d/%d", free, len(n.GPUs)),
		ID:         n.ID,
		Memory:     units.BytesSize(float64(n.FreeMemory)) + "/" + units.BytesSize(float64(n.Memory)),
		Name:       n.Name,
		Reason:     n.Reason,
		Role:       n.Role,
		State:      n.State,
		Store:      n.Store,
		Version:    n.Version,
	}
}

func newSMI(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "nvidia-smi HOST [HOST...]",
		Short:             "Show GPU usage of hosts",
		Example:           "  ddocker nvidia-smi gpu1 gpu2",
		Args:              arguments(1, -1),
		ValidArgsFunction: a.completeNames(0, nodeNames),
		RunE:              func(c *cobra.Command, args []string) error { return a.smi(c.Context(), args) },
	}
}

func (a *app) smi(ctx context.Context, hosts []string) error {
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	return a.each(ctx, hosts, func(host string) error {
		text, err := cluster.read(ctx, http.MethodGet, "/ddocker/nvidia-smi", url.Values{"host": {host}}, nil)
		if err != nil {
			return err
		}
		if len(hosts) > 1 {
			fmt.Fprintln(a.Stdout, host+":")
		}
		_, err = a.Stdout.Write(text)
		return err
	})
}
