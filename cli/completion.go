package cli

import (
	"context"
	"net/url"
	"slices"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/spf13/cobra"
)

// completionTimeout bounds what a press of the Tab key waits for.
const completionTimeout = 2 * time.Second

func newCompletion() *cobra.Command {
	shell := func(name string, generate func(c *cobra.Command) error) *cobra.Command {
		return &cobra.Command{
			Use:               name,
			Short:             "Print the completion script for " + name,
			Args:              arguments(0, 0),
			ValidArgsFunction: cobra.NoFileCompletions,
			RunE:              func(c *cobra.Command, _ []string) error { return generate(c) },
		}
	}
	group := newGroup("completion", "Print a shell's completion script",
		shell("bash", func(c *cobra.Command) error { return c.Root().GenBashCompletionV2(c.OutOrStdout(), true) }),
		shell("zsh", func(c *cobra.Command) error { return c.Root().GenZshCompletion(c.OutOrStdout()) }),
		shell("fish", func(c *cobra.Command) error { return c.Root().GenFishCompletion(c.OutOrStdout(), true) }),
	)
	group.Example = "  source <(ddocker completion bash)\n" +
		"  ddocker completion fish > ~/.config/fish/completions/ddocker.fish"
	return group
}

// nameSource asks the cluster for names of one kind.
type nameSource func(ctx context.Context, c *connection) ([]string, error)

// completeNames completes the first most arguments with names of the cluster,
// all of them where most is 0, leaving out those already typed.
func (a *app) completeNames(most int, source nameSource) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveDefault
		}
		cluster, err := a.connect()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		ctx, cancel := context.WithTimeout(c.Context(), completionTimeout)
		defer cancel()
		names, err := source(ctx, cluster)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		names = slices.DeleteFunc(names, func(name string) bool { return slices.Contains(args, name) })
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

func containerNames(ctx context.Context, c *connection) ([]string, error) {
	return namesWhere(ctx, c, func(string) bool { return true })
}

func runningNames(ctx context.Context, c *connection) ([]string, error) {
	return namesWhere(ctx, c, func(state string) bool { return state == container.StateRunning })
}

func stoppedNames(ctx context.Context, c *connection) ([]string, error) {
	return namesWhere(ctx, c, func(state string) bool { return state != container.StateRunning })
}

func namesWhere(ctx context.Context, c *connection, want func(state string) bool) ([]string, error) {
	list, err := c.containers(ctx, url.Values{"all": {"1"}})
	var names []string
	for _, found := range list.rows {
		if want(string(found.State)) {
			names = append(names, joinNames(found.Names))
		}
	}
	return names, err
}

// imageNames are the names of all images, in the order of the cluster's list.
func imageNames(ctx context.Context, c *connection) ([]string, error) {
	images, err := c.images(ctx, nil)
	var names []string
	for _, image := range images {
		for _, name := range image.RepoTags {
			if name != "<none>:<none>" && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names, err
}

func nodeNames(ctx context.Context, c *connection) ([]string, error) {
	nodes, err := c.nodes(ctx)
	var names []string
	for _, n := range nodes {
		names = append(names, n.Name)
	}
	return names, err
}

// typeNames are the cluster's service types in the order of its menu.
func typeNames(ctx context.Context, c *connection) ([]string, error) {
	var settings struct{ Types []struct{ Name string } }
	err := c.get(ctx, "/ddocker/settings", nil, &settings)
	var names []string
	for _, t := range settings.Types {
		names = append(names, t.Name)
	}
	return names, err
}
