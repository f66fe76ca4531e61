package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

type auditOptions struct {
	follow, json       bool
	user, since, until string
	tail               int
}

func newAudit(a *app) *cobra.Command {
	o := &auditOptions{}
	c := &cobra.Command{
		Use:   "audit [OPTIONS]",
		Short: "Show who did what in the cluster, from where, and with what result",
		Long: "Show who did what in the cluster, from where, and with what result: every change,\n" +
			"whatever showed the inside of a container or image, and every request that was\n" +
			"denied; lists are not recorded. Admins see all, users what they did themselves.\n\n" +
			"What takes longer than a second stands there twice: as \"open\" when it goes on, and\n" +
			"when it has ended. Each host keeps the newest 64 MiB of what was asked of it.",
		Example: "  ddocker audit --since 1h --user alice\n" +
			"  ddocker audit -f --json | jq .",
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(c *cobra.Command, _ []string) error { return a.audit(c.Context(), o) },
	}
	c.Flags().BoolVarP(&o.follow, "follow", "f", false, "Go on with what happens")
	c.Flags().BoolVar(&o.json, "json", false, "Print a JSON object a line, with all that was recorded")
	c.Flags().StringVarP(&o.user, "user", "u", "", "Only what this user did")
	c.Flags().StringVar(&o.since, "since", "", "Only what was asked for since then, such as 10m or 2006-01-02T15:04:05")
	c.Flags().StringVar(&o.until, "until", "", "Only what was asked for before then")
	c.Flags().IntVarP(&o.tail, "tail", "n", 100, "How many of the newest to show, 10000 at most")
	return c
}

func (a *app) audit(ctx context.Context, o *auditOptions) error {
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	query := url.Values{"tail": {strconv.Itoa(o.tail)}}
	for key, value := range map[string]string{"user": o.user, "since": o.since, "until": o.until} {
		if value != "" {
			query.Set(key, value)
		}
	}
	if o.follow {
		query.Set("follow", "1")
	} else {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, readTimeout)
		defer cancel()
	}
	answer, err := cluster.send(ctx, http.MethodGet, "/ddocker/audit", query, nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if silent := answer.Header.Get("Ddocker-Silent"); silent != "" {
		fmt.Fprintf(a.Stderr, "What was asked of these hosts is missing, as they do not answer: %s\n", strings.ReplaceAll(silent, ",", ", "))
	}
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	if !o.json {
		fmt.Fprintf(a.Stdout, auditColumns, "TIME", "HOST", "USER", "FROM", "RESULT", "TOOK", "REQUEST")
	}
	for lines.Scan() {
		if o.json {
			fmt.Fprintf(a.Stdout, "%s\n", lines.Bytes())
		} else if err := writeDeed(a.Stdout, lines.Bytes()); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("follow the audit log: %w", err)
	}
	return nil
}

// auditColumns is a line for people. Widths are fixed: what comes next is not known yet.
const auditColumns = "%-19s  %-12s  %-12s  %-21s  %-6s  %-7s  %s\n"

// deed is an entry of the audit log.
type deed struct {
	Time                      time.Time
	Node, User, From          string
	Method, Route             string
	Object, Args, Made, Error string
	Status, Lost              int
	Open                      bool
	Ms                        int64
}

func writeDeed(w io.Writer, line []byte) error {
	var d deed
	if err := understand("/ddocker/audit", line, &d); err != nil {
		return err
	}
	if d.Lost > 0 {
		fmt.Fprintf(w, "(of host %s, %s before this one could not be kept)\n", d.Node, count(d.Lost, "record"))
	}
	_, err := fmt.Fprintf(w, auditColumns, d.Time.Local().Format(time.DateTime), plain(d.Node), firstOf(plain(d.User), "-"), plain(d.From),
		d.result(), (time.Duration(d.Ms) * time.Millisecond).String(), plain(d.request()))
	return err
}

func (d *deed) result() string {
	if d.Open {
		return "open"
	}
	if d.Status == 0 {
		return "ended" // by the client, or with its agent
	}
	return strconv.Itoa(d.Status)
}

// request is what was asked for, and what came of it.
func (d *deed) request() string {
	path := strings.Replace(d.Route, "{}", d.Object, 1)
	text := d.Method + " " + path
	if d.Args != "" {
		text += "?" + d.Args
	}
	if path == d.Route && d.Object != "" && !strings.Contains(d.Args, d.Object) {
		text += " " + d.Object
	}
	if d.Made != "" && d.Made != d.Object {
		text += " -> " + d.Made[:min(12, len(d.Made))]
	}
	if d.Error != "" {
		text += ": " + d.Error
	}
	return text
}

// plain has nothing in it that a terminal would obey: clients chose the names.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}
