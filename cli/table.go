package cli

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/docker/cli/templates"
	"github.com/spf13/cobra"
)

// listing is how a user wants a list to look.
type listing struct {
	format  string
	quiet   bool
	noTrunc bool
	filters []string
}

func (l *listing) formatFlag(c *cobra.Command) {
	c.Flags().StringVar(&l.format, "format", "",
		"Format output: 'table', 'table TEMPLATE' (with column headers), 'json', or a Go template of a row")
}

func (l *listing) flags(c *cobra.Command, quiet string) {
	l.formatFlag(c)
	c.Flags().BoolVarP(&l.quiet, "quiet", "q", false, quiet)
}

func (l *listing) filterFlag(c *cobra.Command) {
	c.Flags().StringArrayVarP(&l.filters, "filter", "f", nil, "Filter output based on conditions, KEY=VALUE")
}

func (l *listing) truncFlag(c *cobra.Command) {
	c.Flags().BoolVar(&l.noTrunc, "no-trunc", false, "Don't truncate output")
}

// table says how rows of one kind are drawn.
type table struct {
	columns  string // the row's template for a bare "table"
	quiet    string // the row's template for -q
	minWidth int    // of a column, in characters, padding included
	titles   titles
}

// titles are the column titles by field of a row.
type titles map[string]string

// Label is the title of the column {{.Label "name"}}.
func (titles) Label(name string) string {
	return strings.NewReplacer("-", " ", "_", " ").Replace(name[strings.LastIndex(name, ".")+1:])
}

// template is what to print of one row, and whether in columns under titles.
func (t table) template(l listing) (text string, aligned bool) {
	format, aligned := strings.CutPrefix(l.format, "table")
	format = strings.Trim(format, " ")
	switch {
	case l.quiet:
		return t.quiet, false
	case format == "":
		return t.columns, true
	case format == "json":
		return "{{json .}}", false
	}
	return strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(format), aligned
}

// write draws rows on w as l asks.
func write[Row any](w io.Writer, t table, l listing, rows []Row) error {
	text, aligned := t.template(l)
	row, err := templates.Parse(text)
	if err != nil {
		return exitError{64, fmt.Errorf("understand --format: %w", err)}
	}
	var lines bytes.Buffer
	for _, r := range rows {
		if err := row.Execute(&lines, r); err != nil {
			return fmt.Errorf("apply --format: %w", err)
		}
		lines.WriteByte('\n')
	}
	if !aligned {
		_, err = lines.WriteTo(w)
		return err
	}
	columns := tabwriter.NewWriter(w, t.minWidth, 1, 3, ' ', 0)
	if err := row.Funcs(templates.HeaderFunctions).Execute(columns, t.titles); err != nil {
		return fmt.Errorf("apply --format: %w", err)
	}
	columns.Write([]byte{'\n'})
	lines.WriteTo(columns)
	return columns.Flush()
}
