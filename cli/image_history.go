package cli

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/go-units"
	"github.com/spf13/cobra"
)

// historyRow is one layer of an image as templates and --format json see it.
type historyRow struct {
	Comment      string
	CreatedAt    string
	CreatedBy    string
	CreatedSince string
	ID           string
	Size         string
}

func newHistory(a *app) *cobra.Command {
	l, human := &listing{}, true
	c := &cobra.Command{
		Use:               "history [OPTIONS] IMAGE",
		Short:             "Show the history of an image",
		Example:           "  ddocker history python3_cuda:latest\n  ddocker history --no-trunc --format '{{.CreatedBy}}' python:3",
		Args:              named(1, 1, 1),
		ValidArgsFunction: a.completeNames(1, imageNames),
		RunE:              func(c *cobra.Command, args []string) error { return a.history(c.Context(), *l, human, args[0]) },
	}
	c.Flags().BoolVarP(&human, "human", "H", true, "Print sizes and dates in human readable format")
	c.Flags().StringVar(&a.host, "host", "", "Agent to speak to; its -H comes before the command: ddocker -H HOST history")
	l.flags(c, "Only show image IDs")
	l.truncFlag(c)
	return c
}

func (a *app) history(ctx context.Context, l listing, human bool, name string) error {
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	layers, err := cluster.docker.ImageHistory(ctx, name)
	if err != nil {
		return err
	}
	rows := make([]historyRow, len(layers))
	for i, layer := range layers {
		rows[i] = newHistoryRow(layer, human, !l.noTrunc)
	}
	return write(a.Stdout, historyTable(human), l, rows)
}

func historyTable(human bool) table {
	t := table{
		columns: "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
		quiet:   "{{.ID}}", minWidth: 10,
		titles: titles{
			"Comment": "COMMENT", "CreatedAt": "CREATED AT", "CreatedBy": "CREATED BY",
			"CreatedSince": "CREATED", "ID": "IMAGE", "Size": "SIZE",
		},
	}
	if !human {
		t.columns = strings.Replace(t.columns, "CreatedSince", "CreatedAt", 1)
	}
	return t
}

// longAgo is a time before the first container: images that are built
// reproducibly carry such times, which say nothing.
const longAgo = 946684800 // the year 2000, in Unix seconds

func newHistoryRow(layer image.HistoryResponseItem, human, trunc bool) historyRow {
	created := time.Unix(layer.Created, 0)
	row := historyRow{
		Comment:      layer.Comment,
		CreatedAt:    created.Format(time.RFC3339),
		CreatedBy:    strings.ReplaceAll(layer.CreatedBy, "\t", " "),
		CreatedSince: "N/A",
		ID:           layer.ID,
		Size:         units.HumanSizeWithPrecision(float64(layer.Size), 3),
	}
	if layer.Created > longAgo {
		row.CreatedSince = units.HumanDuration(time.Since(created)) + " ago"
	}
	if !human {
		row.CreatedSince, row.Size = row.CreatedAt, strconv.FormatInt(layer.Size, 10)
	}
	if trunc {
		row.ID, row.CreatedBy = shortID(layer.ID), ellipsis(row.CreatedBy, 45)
	}
	return row
}
