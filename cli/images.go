package cli

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/go-units"
	"github.com/spf13/cobra"
)

// imageSummary is a row of /images/json with what the cluster adds.
type imageSummary struct {
	image.Summary
	Ddocker struct {
		Node  string
		Hosts []string
	}
}

// imageRow is one name of an image as templates and --format json see it.
type imageRow struct {
	CreatedAt    string
	CreatedSince string
	Digest       string
	Hosts        string
	ID           string
	Repository   string
	Size         string
	Tag          string
}

func newImages(a *app) *cobra.Command {
	l, all := &listing{}, false
	c := &cobra.Command{
		Use:   "images [OPTIONS] [REPOSITORY[:TAG]]",
		Short: "List images",
		Long: "List the images of all hosts.\n\n" +
			"A template for --format knows docker's fields, and .Hosts besides.",
		Example: "  ddocker images\n" +
			"  ddocker images --format 'table {{.Repository}}:{{.Tag}}\\t{{.Hosts}}'",
		Args:              arguments(0, 1),
		ValidArgsFunction: a.completeNames(1, imageNames),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				l.filters = append(l.filters, "reference="+args[0])
			}
			return a.images(c.Context(), l, all)
		},
	}
	c.Flags().BoolVarP(&all, "all", "a", false, "Show all images (default hides intermediate images)")
	l.flags(c, "Only show image IDs")
	l.filterFlag(c)
	l.truncFlag(c)
	return c
}

func (a *app) images(ctx context.Context, l *listing, all bool) error {
	query, err := filterQuery(l.filters)
	if err != nil {
		return err
	}
	if all {
		query.Set("all", "1")
	}
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	images, err := cluster.images(ctx, query)
	if err != nil {
		return err
	}
	var rows []imageRow
	for _, i := range images {
		rows = append(rows, imageRows(i, !l.noTrunc)...)
	}
	return write(a.Stdout, imageTable(), *l, rows)
}

func (c *connection) images(ctx context.Context, query url.Values) ([]imageSummary, error) {
	var list []imageSummary
	err := c.get(ctx, "/images/json", query, &list)
	return list, err
}

func imageTable() table {
	return table{
		columns:  "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
		quiet:    "{{.ID}}",
		minWidth: 10,
		titles: titles{
			"CreatedAt": "CREATED AT", "CreatedSince": "CREATED", "Digest": "DIGEST", "Hosts": "HOSTS",
			"ID": "IMAGE ID", "Repository": "REPOSITORY", "Size": "SIZE", "Tag": "TAG",
		},
	}
}

// imageRows is one row for each name of an image, or one for an image that
// has none.
func imageRows(i imageSummary, trunc bool) []imageRow {
	created := time.Unix(i.Created, 0)
	row := imageRow{
		CreatedAt:    created.String(),
		CreatedSince: units.HumanDuration(time.Since(created)) + " ago",
		Digest:       "<none>",
		Hosts:        strings.Join(i.Ddocker.Hosts, ","),
		ID:           i.ID,
		Repository:   "<none>",
		Size:         units.HumanSizeWithPrecision(float64(i.Size), 3),
		Tag:          "<none>",
	}
	if row.Hosts == "" {
		row.Hosts = i.Ddocker.Node
	}
	if trunc {
		row.ID = shortID(i.ID)
	}
	digests := map[string]string{}
	for _, text := range i.RepoDigests {
		repository, digest, _ := strings.Cut(text, "@")
		digests[repository] = digest
		row.Repository, row.Digest = repository, digest
	}
	var rows []imageRow
	for _, name := range i.RepoTags {
		row.Repository, row.Tag = splitTag(name)
		row.Digest = firstOf(digests[row.Repository], "<none>")
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		rows = append(rows, row)
	}
	return rows
}

// splitTag cuts an image's name at the colon of its tag, which is not that of
// a registry's port.
func splitTag(name string) (repository, tag string) {
	colon := strings.LastIndex(name, ":")
	if colon < strings.LastIndex(name, "/") || colon < 0 {
		return name, ""
	}
	return name[:colon], name[colon+1:]
}
