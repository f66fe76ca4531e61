package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"
)

// node is a row of /ddocker/nodes.
type node struct {
	ID, Name, Address   string
	State               string // alive or down
	Role                string // leader, voter, nonvoter or reader
	Version, Engine     string
	Cores, FreeMilliCPU int
	Memory, FreeMemory  int64 // bytes
	GPUs                []nodeCard
	Containers          int
	Reason              string // why the node takes nothing, if so
	Store               string // how images are read from its engine
}

// nodeCard is one GPU of a node.
type nodeCard struct {
	UUID, Index, Model, Profile string
	Memory                      int64 // bytes
	Free                        bool
	Closed                      string // why it takes nothing new, if so
}

// nodeRow is one node as templates and --format json see it.
type nodeRow struct {
	Address    string
	Cards      []nodeCard
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
			"--format also knows .ID .Version .Engine .Containers .Reason .Store, and .Cards with\n" +
			".UUID .Index .Model .Profile .Memory .Free .Closed of each GPU. REASON, where there\n" +
			"is any, is why a host or one of its GPUs takes no containers now.",
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
	rows, reasons := make([]nodeRow, len(nodes)), ""
	for i, n := range nodes {
		rows[i] = n.row()
		reasons += rows[i].Reason
	}
	t := nodeTable()
	if reasons != "" {
		t.columns += "\t{{.Reason}}"
	}
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
			"Address": "ADDRESS", "Cards": "CARDS", "Containers": "CONTAINERS", "Cores": "CORES", "Engine": "ENGINE",
			"GPUs": "GPUS", "ID": "ID", "Memory": "MEMORY", "Name": "NAME", "Reason": "REASON",
			"Role": "ROLE", "State": "STATE", "Store": "STORE", "Version": "VERSION",
		},
	}
}

// row shows resources as free/total.
func (n node) row() nodeRow {
	return nodeRow{
		Address:    n.Address,
		Cards:      n.GPUs,
		Containers: strconv.Itoa(n.Containers),
		Cores:      strconv.FormatFloat(float64(n.FreeMilliCPU)/1000, 'f', -1, 64) + "/" + strconv.Itoa(n.Cores),
		Engine:     n.Engine,
		GPUs:       n.models(),
		ID:         n.ID,
		Memory:     units.BytesSize(float64(n.FreeMemory)) + "/" + units.BytesSize(float64(n.Memory)),
		Name:       n.Name,
		Reason:     n.reason(),
		Role:       n.Role,
		State:      n.State,
		Store:      n.Store,
		Version:    n.Version,
	}
}

// models is how many cards are free and how many there are, model by model:
// "1/2 TITAN Xp, 0/1 A100-SXM4-80GB".
func (n node) models() string {
	var models []string
	free, all := map[string]int{}, map[string]int{}
	for _, card := range n.GPUs {
		model := firstOf(strings.TrimPrefix(card.Model, "NVIDIA "), "GPU")
		if all[model]++; all[model] == 1 {
			models = append(models, model)
		}
		if card.Free {
			free[model]++
		}
	}
	for i, model := range models {
		models[i] = fmt.Sprintf("%d/%d %s", free[model], all[model], model)
	}
	return dash(strings.Join(models, ", "))
}

// reason says why the host or one of its cards takes nothing.
func (n node) reason() string {
	var reasons []string
	if n.Reason != "" {
		reasons = append(reasons, n.Reason)
	}
	for _, card := range n.GPUs {
		if card.Closed != "" {
			name := card.UUID // which says what it is
			if card.Index != "" {
				name = "GPU " + card.Index
			}
			reasons = append(reasons, name+" "+card.Closed)
		}
	}
	return strings.Join(reasons, "; ")
}
