package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"
)

// keyRow is what a host has of the cluster's keys.
type keyRow struct {
	Name      string
	Authority string // the begin of the fingerprint of the one that signed its certificate
	Expires   string
	Signs     string
	Waits     string
}

// keysState is the answer of /ddocker/ca.
type keysState struct {
	Rotations []struct {
		Kind, ID, Stage, By string
		Began               time.Time
		Waits               []string
	}
	Nodes []struct {
		Node, Authority string
		Expires         time.Time
		Signs           bool
		Waits           []string
	}
}

func newCA(a *app) *cobra.Command {
	list := &listing{}
	ls := &cobra.Command{
		Use:               "ls [OPTIONS]",
		Short:             "List the hosts' certificates, and what is being replaced",
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(c *cobra.Command, _ []string) error { return a.keys(c.Context(), *list) },
	}
	list.flags(ls, "Only display names")
	gossip := false
	rotate := &cobra.Command{
		Use:               "rotate [OPTIONS]",
		Short:             "Replace the key that signs certificates, on all hosts and while they work",
		Long:              "Replace the key that signs certificates, on all hosts and while they work. What users and tokens have of the old authority stays good: they are shown how the new one follows from it.",
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(c *cobra.Command, _ []string) error { return a.rotateKey(c.Context(), gossip) },
	}
	rotate.Flags().BoolVar(&gossip, "gossip", false, "Replace the key of the hosts' gossip instead")
	return newGroup("ca", "Look at the hosts' certificates, and replace the cluster's keys", ls, rotate)
}

func (a *app) keysState(ctx context.Context) (s keysState, err error) {
	cluster, err := a.connect()
	if err == nil {
		err = cluster.get(ctx, "/ddocker/ca", nil, &s)
	}
	return s, err
}

func (a *app) keys(ctx context.Context, l listing) error {
	s, err := a.keysState(ctx)
	if err != nil {
		return err
	}
	rows := make([]keyRow, len(s.Nodes))
	for i, n := range s.Nodes {
		rows[i] = keyRow{n.Node, "one of before", "in " + units.HumanDuration(time.Until(n.Expires)), "no", firstOf(strings.Join(n.Waits, ", "), "-")}
		if n.Signs {
			rows[i].Signs = "yes"
		}
		if len(n.Authority) >= 12 {
			rows[i].Authority = n.Authority[:12]
		}
	}
	err = write(a.Stdout, table{
		columns: "{{.Name}}\t{{.Authority}}\t{{.Expires}}\t{{.Signs}}\t{{.Waits}}",
		quiet:   "{{.Name}}",
		titles: titles{
			"Authority": "AUTHORITY", "Expires": "CERTIFICATE EXPIRES", "Name": "NAME", "Signs": "CAN SIGN", "Waits": "AWAITED FOR",
		},
	}, l, rows)
	for _, r := range s.Rotations {
		if r.Stage != "done" {
			fmt.Fprintf(a.Stderr, "The %s key is being replaced since %s, by %s: %s%s\n", r.Kind, r.Began.Format(time.RFC3339), firstOf(r.By, "-"), r.Stage, waits(r.Waits))
		}
	}
	return err
}

func waits(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return ", waiting for " + strings.Join(names, ", ")
}

// last returns the newest rotation of a kind, and how far it is.
func (s *keysState) last(kind string) (id, stage string) {
	for _, r := range s.Rotations {
		if r.Kind == kind {
			id, stage = r.ID, r.Stage+waits(r.Waits)
		}
	}
	return id, stage
}

// rotatePause is how often is looked how far a rotation is.
const rotatePause = 300 * time.Millisecond

// rotateKey begins a rotation and says how it goes, until it is done.
func (a *app) rotateKey(ctx context.Context, gossip bool) error {
	kind := "ca"
	if gossip {
		kind = "gossip"
	}
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	s, err := a.keysState(ctx)
	if err != nil {
		return err
	}
	before, _ := s.last(kind)
	if _, err := cluster.read(ctx, http.MethodPost, "/ddocker/ca/rotate", url.Values{"key": {kind}}, nil); err != nil {
		return err
	}
	said := ""
	for {
		if s, err = a.keysState(ctx); err != nil {
			return err
		}
		id, stage := s.last(kind)
		if id == before {
			stage = "" // the host that was asked has not heard of it yet
		}
		if stage != said && stage != "" {
			said = stage
			fmt.Fprintln(a.Stdout, stage)
		}
		if stage == "done" {
			return nil
		}
		select {
		case <-time.After(rotatePause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
