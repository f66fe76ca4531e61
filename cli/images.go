package cli

import (
	"context"
	"net/url"
	"slices"
	"strconv"
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
		Hosts    []string          // that have it and answer
		Away     []string          // that have it and do not
		Owners   map[string]string // by name
		Replicas int               // how many hosts are to have it; 0: nobody asked
	}
}

// imageRow is one name of an image as templates and --format json see it.
type imageRow struct {
	Copies       string
	CreatedAt    string
	CreatedSince string
	Digest       string
	Hosts        string
	ID           string
	Owner        string
	Repository   string
	Size         string
	Tag          string
}

func newImages(a *app) *cobra.Command {
	l, all, hosts := &listing{}, false, false
	c := &cobra.Command{
		Use:   "images [OPTIONS] [REPOSITORY[:TAG]]",
		Short: "List images",
		Long: "List the images of all hosts, each name once.\n\n" +
			"HOSTS is on how many hosts an image is; 1/2 says that one has it and the cluster\n" +
			"will make it two. A tag with @HOST is a name that stands for another image on that\n" +
			"host alone. A template for --format knows docker's fields, and .Copies .Hosts\n" +
			".Owner besides.",
		Example: "  ddocker images --hosts\n" +
			"  ddocker images --format 'table {{.Repository}}:{{.Tag}}\\t{{.Hosts}}'",
		Args:              arguments(0, 1),
		ValidArgsFunction: a.completeNames(1, imageNames),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				l.filters = append(l.filters, "reference="+args[0])
			}
			return a.images(c.Context(), l, all, hosts)
		},
	}
	c.Flags().BoolVarP(&all, "all", "a", false, "Show all images (default hides intermediate images)")
	c.Flags().BoolVar(&hosts, "hosts", false, "Name the hosts that have an image, instead of their number")
	l.flags(c, "Only show image IDs")
	l.filterFlag(c)
	l.truncFlag(c)
	return c
}

func (a *app) images(ctx context.Context, l *listing, all, hosts bool) error {
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
	return write(a.Stdout, imageTable(hosts), *l, rows)
}

func (c *connection) images(ctx context.Context, query url.Values) ([]imageSummary, error) {
	var list []imageSummary
	err := c.get(ctx, "/images/json", query, &list)
	return list, err
}

func imageTable(hosts bool) table {
	last := "\t{{.Copies}}"
	if hosts {
		last = "\t{{.Hosts}}"
	}
	return table{
		columns:  "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.Owner}}" + last,
		quiet:    "{{.ID}}",
		minWidth: 10,
		titles: titles{
			"Copies": "HOSTS", "CreatedAt": "CREATED AT", "CreatedSince": "CREATED", "Digest": "DIGEST",
			"Hosts": "HOSTS", "ID": "IMAGE ID", "Owner": "OWNER", "Repository": "REPOSITORY", "Size": "SIZE", "Tag": "TAG",
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
		ID:           i.ID,
		Repository:   "<none>",
		Size:         units.HumanSizeWithPrecision(float64(i.Size), 3),
		Tag:          "<none>",
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
		row.Digest, row.Owner = firstOf(digests[row.Repository], "<none>"), i.Ddocker.Owners[name]
		row.Copies, row.Hosts = copies(i, localTo(name))
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		row.Copies, row.Hosts = copies(i, "")
		rows = append(rows, row)
	}
	return rows
}

// copies is on how many hosts an image is, and of how many while those are too few,
// and lists the hosts. A name that is local to one host is there alone.
func copies(i imageSummary, local string) (number, list string) {
	elsewhere := func(host string) bool { return local != "" && host != local }
	hosts := slices.DeleteFunc(slices.Clone(i.Ddocker.Hosts), elsewhere)
	number = strconv.Itoa(len(hosts))
	if local == "" && len(hosts) < i.Ddocker.Replicas {
		number += "/" + strconv.Itoa(i.Ddocker.Replicas)
	}
	for _, away := range slices.DeleteFunc(slices.Clone(i.Ddocker.Away), elsewhere) {
		hosts = append(hosts, away+" (away)")
	}
	return number, strings.Join(hosts, ", ")
}

// localTo is the HOST of NAME@HOST, which is empty for other names.
func localTo(name string) string {
	_, host, _ := strings.Cut(name, "@")
	if strings.Contains(host, ":") {
		return "" // a digest
	}
	return host
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
