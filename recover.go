package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ddocker/consensus"
	"ddocker/consensus/ledger"
	"ddocker/identity"
)

// offlineCommands are those of "ddocker raft" that work on files and need no agent.
func offlineCommands() map[string][]*cobra.Command {
	return map[string][]*cobra.Command{"raft": {recoverCommand()}, "raft snapshot": {inspectCommand()}}
}

func inspectCommand() *cobra.Command {
	return &cobra.Command{
		Use: "inspect FILE", Short: "Show what a saved snapshot has", Args: cobra.ExactArgs(1), SilenceUsage: true,
		RunE: func(c *cobra.Command, args []string) error {
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			book := ledger.New()
			if err := book.Restore(f); err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			describe(c.OutOrStdout(), book)
			return nil
		},
	}
}

// describe says what a ledger has.
func describe(w io.Writer, l *ledger.Ledger) {
	var names []string
	containers := 0
	for _, n := range l.Nodes() {
		names = append(names, n.Name)
		containers += len(l.Placed(n.Node))
	}
	fmt.Fprintf(w, "Index:       %d\nVersion:     %d\nHosts:       %s\nContainers:  %d\nImages:      %d\nUsers:       %d\n",
		l.Index(), l.Level(), strings.Join(names, ", "), containers, len(l.Images()), len(l.Users()))
}

const recoverHelp = `Make this machine the only voter of its cluster.

For when most voters are lost for good and the cluster has no leader any more: with the
agent stopped, on the one machine left whose log reaches furthest (compare Index and
Term). What only lost machines knew is forgotten. Others that are left follow this
machine once its agent runs again; lost ones that return after all do so too, but must
not be started before, for together they could decide without it.`

func recoverCommand() *cobra.Command {
	var dir string
	r := recovery{net: nodeNetwork()}
	c := &cobra.Command{
		Use: "recover", Short: "Make this machine the only voter, when most are lost for good",
		Long: recoverHelp, Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(c *cobra.Command, _ []string) error {
			id, err := identity.Load(filepath.Join(dir, dirTLS))
			if err != nil {
				return err
			}
			stores, err := consensus.OpenStores(filepath.Join(dir, dirRaft), slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			defer stores.Close()
			r.id, r.stores, r.in, r.out = id, stores, c.InOrStdin(), c.OutOrStdout()
			return r.run(c.Context())
		},
	}
	c.Flags().StringVar(&dir, "data-dir", "/var/lib/ddocker", "the agent's data `directory`")
	c.Flags().BoolVarP(&r.yes, "yes", "y", false, "do not prompt for confirmation")
	c.Flags().BoolVar(&r.force, "force", false, "also while another voter answers")
	return c
}

// recovery makes a node the only voter, if its user is sure and no other voter answers.
type recovery struct {
	id     *identity.Identity
	stores *consensus.Stores
	net    network
	in     io.Reader
	out    io.Writer
	yes    bool // does not ask
	force  bool // also while others answer
}

func (r *recovery) run(ctx context.Context) error {
	rem, err := consensus.Examine(r.stores)
	if err != nil {
		return err
	}
	self := rem.Ledger.Node(r.id.NodeID())
	if self == nil {
		return fmt.Errorf("the ledger on this machine does not know it as a node")
	}
	fmt.Fprintf(r.out, "Last entry:  %d of term %d\nVoters:      %s\n", rem.Index, rem.Term, namesOf(rem.Ledger, rem.Voters))
	describe(r.out, rem.Ledger)
	if up := r.answering(ctx, rem); len(up) > 0 && !r.force {
		return fmt.Errorf("%s still answers: a quorum may be there, or come back when the other voters are started; --force recovers all the same", strings.Join(up, ", "))
	}
	fmt.Fprintf(r.out, "%s will be the only voter. What other voters had beyond entry %d is forgotten.\n", self.Name, rem.Index)
	if !r.yes {
		fmt.Fprint(r.out, "Are you sure you want to continue? [y/N] ")
		answer, err := bufio.NewReader(r.in).ReadString('\n')
		if err != nil || !strings.EqualFold(strings.TrimSpace(answer), "y") {
			return errors.New("nothing was changed")
		}
	}
	if err := consensus.Recover(r.stores, rem, r.id.NodeID(), self.Address); err != nil {
		return err
	}
	fmt.Fprintln(r.out, "Done. Start the agent again, here first: systemctl start ddocker")
	return nil
}

func namesOf(l *ledger.Ledger, ids []string) string {
	var names []string
	for _, id := range ids {
		if n := l.Node(id); n != nil {
			id = n.Name
		}
		names = append(names, id)
	}
	return strings.Join(names, ", ")
}

// answering returns the names of the other voters whose agents answer.
func (r *recovery) answering(ctx context.Context, rem *consensus.Remains) (names []string) {
	for _, voter := range rem.Voters {
		n := rem.Ledger.Node(voter)
		if voter == r.id.NodeID() || n == nil {
			continue
		}
		try, cancel := context.WithTimeout(ctx, 3*time.Second)
		c, err := dialTLS(try, r.net, n.Address, r.id.Client(identity.ProtoRPC, voter))
		cancel()
		if err == nil {
			c.Close()
			names = append(names, n.Name)
		}
	}
	return names
}
