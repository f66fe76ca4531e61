package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
)

// raftState is the answer of /ddocker/raft.
type raftState struct {
	Leader, State string
	Term          uint64
	Index         uint64
	Commit        uint64
	Applied       uint64
	LastContact   string
	Voters        int
	Servers       []raftServer
}

// raftServer is one server of the log, also as a row.
type raftServer struct {
	Address string
	Alive   bool
	ID      string
	Name    string
	Role    string
}

func newRaft(a *app) *cobra.Command {
	peers := &listing{}
	peersCommand := &cobra.Command{
		Use:               "peers [OPTIONS]",
		Short:             "List the servers of the log",
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(c *cobra.Command, _ []string) error { return a.raftPeers(c.Context(), *peers) },
	}
	peers.flags(peersCommand, "Only display names")
	return newGroup("raft", "Look at and steer the cluster's log",
		&cobra.Command{
			Use:               "status",
			Short:             "Show the state of the log",
			Args:              arguments(0, 0),
			ValidArgsFunction: cobra.NoFileCompletions,
			RunE:              func(c *cobra.Command, _ []string) error { return a.raftStatus(c.Context()) },
		},
		peersCommand,
		&cobra.Command{
			Use:               "transfer-leader [NAME]",
			Short:             "Hand leadership over, to any voter or to the one named",
			Example:           "  ddocker raft transfer-leader gpu2",
			Args:              arguments(0, 1),
			ValidArgsFunction: a.completeNames(1, nodeNames),
			RunE: func(c *cobra.Command, args []string) error {
				query := url.Values{}
				if len(args) == 1 {
					query.Set("to", args[0])
				}
				return a.raftDo(c.Context(), "transfer-leader", query)
			},
		},
		newVote(a, "promote", "always", "Have a host vote on the log before others", "it takes the vote of a host that need not have one, once it has caught up"),
		newVote(a, "demote", "never", "Have a host never vote on the log", "another takes its vote first, where there is one"),
		newSnapshot(a),
	)
}

func (a *app) raftState(ctx context.Context) (raftState, error) {
	var state raftState
	cluster, err := a.connect()
	if err == nil {
		err = cluster.get(ctx, "/ddocker/raft", nil, &state)
	}
	return state, err
}

func (a *app) raftStatus(ctx context.Context) error {
	s, err := a.raftState(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.Stdout, "Leader:        %s\nState:         %s\nTerm:          %d\nIndex:         %d\n"+
		"Commit:        %d\nApplied:       %d\nLast contact:  %s\nVoters:        %d\nServers:       %d\n",
		firstOf(s.Leader, "none"), s.State, s.Term, s.Index, s.Commit, s.Applied,
		firstOf(s.LastContact, "never"), s.Voters, len(s.Servers))
	return nil
}

func (a *app) raftPeers(ctx context.Context, l listing) error {
	s, err := a.raftState(ctx)
	if err != nil {
		return err
	}
	return write(a.Stdout, table{
		columns: "{{.Name}}\t{{.Address}}\t{{.Role}}\t{{.Alive}}\t{{.ID}}",
		quiet:   "{{.Name}}",
		titles:  titles{"Address": "ADDRESS", "Alive": "ALIVE", "ID": "ID", "Name": "NAME", "Role": "ROLE"},
	}, l, s.Servers)
}

func (a *app) raftDo(ctx context.Context, verb string, query url.Values) error {
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	_, err = cluster.read(ctx, http.MethodPost, "/ddocker/raft/"+verb, query, nil)
	return err
}
