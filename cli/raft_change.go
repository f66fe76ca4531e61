package cli

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// sure says what is about to happen and asks whether it should. Whatever is not "y"
// means no.
func (a *app) sure(ctx context.Context, yes bool, what string) (bool, error) {
	fmt.Fprintln(a.Stderr, what)
	if yes {
		return true, nil
	}
	p := &prompt{in: bufio.NewReader(a.Stdin), out: a.Stderr, typed: isTerminal(a.Stdin)}
	q := question{"Are you sure you want to continue? [y/N] ", "--yes"}
	return ask(ctx, p, q, func(answer string) (bool, error) { return strings.EqualFold(answer, "y"), nil })
}

func newVote(a *app, verb, word, short, effect string) *cobra.Command {
	var yes, auto bool
	c := &cobra.Command{
		Use:               verb + " [OPTIONS] NAME",
		Short:             short,
		Long:              short + ".\n\nVoters change one at a time, a substitute votes before a vote is taken, and the leader\nhands over before it loses its own: the quorum is never at stake. With --auto the\ncluster decides about the host again as about all others.",
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeNames(1, nodeNames),
		RunE: func(c *cobra.Command, args []string) error {
			path, what := verb, fmt.Sprintf("Host %s will %s vote on the log: %s.", args[0], word, effect)
			if auto {
				path, what = "automatic", fmt.Sprintf("Host %s will vote on the log when the cluster finds that it should.", args[0])
			}
			return a.changeVote(c.Context(), path+"/"+args[0], what, yes)
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "Do not prompt for confirmation")
	c.Flags().BoolVar(&auto, "auto", false, "Leave it to the cluster again")
	return c
}

// changeVote says what a change comes to, and makes it if the user is sure. What would
// be refused is refused before.
func (a *app) changeVote(ctx context.Context, path, what string, yes bool) error {
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	var votes struct{ Voters, Then int }
	if err := cluster.get(ctx, "/ddocker/raft/"+path, nil, &votes); err != nil {
		return err
	}
	switch {
	case votes.Then == 1 && votes.Voters > 1:
		what += fmt.Sprintf("\nOne host votes then, instead of %d: when it is off, the cluster starts nothing new.", votes.Voters)
	case votes.Then < votes.Voters:
		what += fmt.Sprintf("\nThen %d hosts vote, instead of %d.", votes.Then, votes.Voters)
	}
	if sure, err := a.sure(ctx, yes, what); !sure {
		return err
	}
	return a.raftDo(ctx, path, nil)
}

func newSnapshot(a *app) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:               "snapshot",
		Short:             "Write a snapshot of the ledger and shorten the log; save it, or restore one",
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(c *cobra.Command, _ []string) error { return a.raftDo(c.Context(), "snapshot", nil) },
	}
	save := &cobra.Command{
		Use:   "save FILE",
		Short: "Save the ledger, who holds what, to a file",
		Args:  arguments(1, 1),
		RunE:  func(c *cobra.Command, args []string) error { return a.saveSnapshot(c.Context(), args[0]) },
	}
	restore := &cobra.Command{
		Use:   "restore [OPTIONS] FILE",
		Short: "Replace the ledger by a saved one",
		Long: `Replace the ledger by a saved one.

What the cluster decided since then is forgotten: names, grants, users, tokens. Containers
go on running; those that the saved ledger does not know show as made outside the cluster.
Hosts that joined since then register again by themselves.`,
		Args: arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error { return a.restoreSnapshot(c.Context(), args[0], yes) },
	}
	restore.Flags().BoolVarP(&yes, "yes", "y", false, "Do not prompt for confirmation")
	c.AddCommand(save, restore)
	return c
}

func (a *app) saveSnapshot(ctx context.Context, path string) error {
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	text, err := cluster.read(ctx, http.MethodGet, "/ddocker/raft/snapshot", nil, nil)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return fmt.Errorf("save the snapshot: %w", err)
	}
	fmt.Fprintf(a.Stdout, "%s has the ledger, %d bytes: look at it with \"ddocker raft snapshot inspect %s\"\n", path, len(text), path)
	return nil
}

func (a *app) restoreSnapshot(ctx context.Context, path string, yes bool) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("restore a snapshot: %w", err)
	}
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	what := fmt.Sprintf("The ledger of the whole cluster will be replaced by that of %s; what was decided since then is forgotten. Containers go on running.", path)
	if sure, err := a.sure(ctx, yes, what); !sure {
		return err
	}
	_, err = cluster.read(ctx, http.MethodPut, "/ddocker/raft/snapshot", nil, text)
	return err
}
