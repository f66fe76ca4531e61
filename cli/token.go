package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"
)

type tokenOptions struct {
	life time.Duration
	uses int
}

func (o *tokenOptions) flags(c *cobra.Command) {
	c.Flags().DurationVar(&o.life, "life", time.Hour, "How long it is good, such as 30m or 72h")
	c.Flags().IntVar(&o.uses, "uses", 64, "How many hosts may join with it")
}

// newToken is a group that makes a token when it is given no further word.
func newToken(a *app) *cobra.Command {
	create := func(use, short string) *cobra.Command {
		o := &tokenOptions{}
		c := &cobra.Command{
			Use: use, Short: short,
			Args:              arguments(0, 0),
			ValidArgsFunction: cobra.NoFileCompletions,
			RunE:              func(c *cobra.Command, _ []string) error { return a.token(c.Context(), o) },
		}
		o.flags(c)
		return c
	}
	list := &listing{}
	ls := &cobra.Command{
		Use:               "ls [OPTIONS]",
		Short:             "List the tokens that hosts can still join with",
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(c *cobra.Command, _ []string) error { return a.tokens(c.Context(), *list) },
	}
	list.flags(ls, "Only display IDs")
	revoke := &cobra.Command{
		Use:               "revoke ID [ID...]",
		Short:             "End tokens before their time",
		Example:           "  ddocker token revoke $(ddocker token ls -q)",
		Args:              arguments(1, -1),
		ValidArgsFunction: a.completeNames(0, tokenIDs),
		RunE: func(c *cobra.Command, args []string) error {
			return a.eachDone(c.Context(), args, http.MethodDelete, "/ddocker/tokens/%s")
		},
	}
	group := create("token", "Print a token with which other hosts can join; list and revoke them")
	group.Example = "  ddocker token\n  ddocker token create --uses 1 --life 10m"
	group.AddCommand(create("create [OPTIONS]", "Print a token with which other hosts can join"), ls, revoke)
	return group
}

func (a *app) token(ctx context.Context, o *tokenOptions) error {
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	query := url.Values{"life": {o.life.String()}, "uses": {strconv.Itoa(o.uses)}}
	var token struct {
		Token, Expires string
		Uses           int
	}
	if err := cluster.decode(ctx, http.MethodPost, "/ddocker/tokens", query, &token); err != nil {
		return err
	}
	fmt.Fprintln(a.Stdout, token.Token)
	fmt.Fprintf(a.Stderr, "Good for %s until %s. On the new host: sudo ddocker agent --join HOST --token TOKEN\n",
		count(token.Uses, "host"), token.Expires)
	return nil
}

// tokenRow is one join token as templates and --format json see it.
type tokenRow struct {
	By      string
	Expires string
	ID      string
	Uses    string
}

func (a *app) tokens(ctx context.Context, l listing) error {
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	var tokens []struct {
		ID, By  string
		Expires time.Time
		Uses    int
	}
	if err := cluster.get(ctx, "/ddocker/tokens", nil, &tokens); err != nil {
		return err
	}
	rows := make([]tokenRow, len(tokens))
	for i, t := range tokens {
		rows[i] = tokenRow{firstOf(t.By, "-"), "in " + units.HumanDuration(time.Until(t.Expires)), t.ID, strconv.Itoa(t.Uses)}
	}
	return write(a.Stdout, table{
		columns: "{{.ID}}\t{{.Uses}}\t{{.Expires}}\t{{.By}}",
		quiet:   "{{.ID}}",
		titles:  titles{"By": "CREATED BY", "Expires": "EXPIRES", "ID": "ID", "Uses": "USES LEFT"},
	}, l, rows)
}

func tokenIDs(ctx context.Context, c *connection) ([]string, error) {
	var tokens []struct{ ID string }
	err := c.get(ctx, "/ddocker/tokens", nil, &tokens)
	ids := make([]string, len(tokens))
	for i, t := range tokens {
		ids[i] = t.ID
	}
	return ids, err
}
