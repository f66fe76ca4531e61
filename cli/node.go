package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

func newNode(a *app) *cobra.Command {
	ls := newNodes(a)
	ls.Use = "ls [OPTIONS]"
	return newGroup("node", "Look at hosts, and steer what is placed on them", ls, newNodeInspect(a),
		a.nodeVerb("drain", "Have hosts take no new containers; those that they have keep running"),
		a.nodeVerb("activate", "Have drained hosts take containers again"),
		newNodeLabel(a), newNodeRm(a))
}

// nodeVerb is a command that does one thing with each of some hosts.
func (a *app) nodeVerb(verb, short string) *cobra.Command {
	return &cobra.Command{
		Use:               verb + " NAME [NAME...]",
		Short:             short,
		Example:           "  ddocker node " + verb + " gpu2",
		Args:              arguments(1, -1),
		ValidArgsFunction: a.completeNames(0, nodeNames),
		RunE: func(c *cobra.Command, args []string) error {
			return a.eachDone(c.Context(), args, http.MethodPost, "/ddocker/nodes/%s/"+verb)
		},
	}
}

// eachDone sends one request for each name, %s in the path, and prints the names of
// those that were carried out.
func (a *app) eachDone(ctx context.Context, names []string, method, path string) error {
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	return a.each(ctx, names, func(name string) error {
		if _, err := cluster.read(ctx, method, fmt.Sprintf(path, url.PathEscape(name)), nil, nil); err != nil {
			return err
		}
		fmt.Fprintln(a.Stdout, name)
		return nil
	})
}

func newNodeLabel(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "label NAME KEY=VALUE [KEY=VALUE...]",
		Short: "Give a host labels, or take them away (KEY=)",
		Long: "Give a host labels, or take them away with an empty value. Rules of containers can\n" +
			"ask for them, as in: docker run -e constraint:zone==a ...",
		Example:           "  ddocker node label gpu2 zone=a rack=3\n  ddocker node label gpu2 rack=",
		Args:              arguments(2, -1),
		ValidArgsFunction: a.completeNames(1, nodeNames),
		RunE: func(c *cobra.Command, args []string) error {
			labels := map[string]string{}
			for _, pair := range args[1:] {
				key, value, ok := strings.Cut(pair, "=")
				if !ok || key == "" {
					return exitError{125, fmt.Errorf("invalid label %q: write KEY=VALUE, or KEY= to take it away", pair)}
				}
				labels[key] = value
			}
			return a.labelNode(c.Context(), args[0], labels)
		},
	}
}

func (a *app) labelNode(ctx context.Context, name string, labels map[string]string) error {
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	body, err := json.Marshal(labels)
	if err != nil {
		return fmt.Errorf("write the labels: %w", err)
	}
	if _, err := cluster.read(ctx, http.MethodPost, "/ddocker/nodes/"+url.PathEscape(name)+"/labels", nil, body); err != nil {
		return err
	}
	fmt.Fprintln(a.Stdout, name)
	return nil
}

func newNodeInspect(a *app) *cobra.Command {
	format := ""
	c := &cobra.Command{
		Use:               "inspect [OPTIONS] NAME [NAME...]",
		Short:             "Show all details of hosts, and what each holds",
		Example:           "  ddocker node inspect gpu1\n  ddocker node inspect --format '{{range .Placements}}{{.Name}} {{end}}' gpu1",
		Args:              arguments(1, -1),
		ValidArgsFunction: a.completeNames(0, nodeNames),
		RunE: func(c *cobra.Command, args []string) error {
			return a.inspect(c.Context(), format, args, (*connection).inspectNode)
		},
	}
	c.Flags().StringVarP(&format, "format", "f", "", "Format output: 'json' for one line, or a Go template")
	return c
}

func (c *connection) inspectNode(ctx context.Context, name string) (object, error) {
	var fields map[string]any
	return c.object(ctx, "/ddocker/nodes/"+url.PathEscape(name), &fields)
}
