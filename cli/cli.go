package cli

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// Env is everything that a command line takes from its surroundings. All
// fields but Extra and Offline are required.
type Env struct {
	// Args are the arguments after the program's name.
	Args []string
	// Stdin is read by the questions of create and of the prunes, by exec and
	// start with -i, by what docker's own commands read of it, by "config apply -",
	// and by nothing else. Terminal features need a terminal's *os.File here and in
	// Stdout.
	Stdin io.Reader
	// Stdout takes data, Stderr everything else.
	Stdout, Stderr io.Writer
	// Getenv reads the environment: DDOCKER_HOST, DOCKER_HOST,
	// DOCKER_CERT_PATH, DOCKER_CONFIG, HOME, USER and what "-e NAME" passes on.
	Getenv func(string) string
	// Version is this program's version.
	Version string
	// Template is the text of info_template.json.
	Template string
	// Extra are further top-level commands, such as the agent.
	Extra []*cobra.Command
	// Offline are further commands of a group, by the words that lead to it: those that
	// work on this machine's files without an agent.
	Offline map[string][]*cobra.Command
}

// app is what the commands of one invocation share.
type app struct {
	Env
	host  string // value of -H
	tried string // directory of the certificates of a login that is not yet known to be good
}

// Execute runs the command that env.Args name and returns the process's exit
// code. It blocks until the command is done. SIGINT and SIGTERM cancel the
// command's context; a second one kills the process.
func Execute(ctx context.Context, env Env) (exitCode int) {
	ctx, stop := untilSignal(ctx)
	defer stop()

	a := &app{Env: env}
	root := newRoot(a)
	root.SetArgs(append([]string{}, env.Args...))
	return a.exit(ctx, root.ExecuteContext(ctx))
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:               "ddocker",
		Short:             "Many machines' Docker Engines as one",
		Version:           a.Version,
		Args:              cobra.ArbitraryArgs,
		RunE:              runGroup,
		SilenceErrors:     true,
		SilenceUsage:      true,
		TraverseChildren:  true, // docker's history has a -H of its own
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetIn(a.Stdin)
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	root.SetVersionTemplate("ddocker version {{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	root.SetHelpFunc(func(c *cobra.Command, _ []string) { writeHelp(a.Stdout, c) })
	root.PersistentFlags().StringVarP(&a.host, "host", "H", "",
		"Agent to speak to: a socket's path, HOST[:PORT] over TLS, or ssh://HOST; of several, comma-separated, the first that is up")
	root.Flags().BoolP("version", "v", false, "Print version information and quit")
	root.PersistentFlags().Bool("help", false, "Print usage")
	for _, group := range dockerGroups() {
		root.AddGroup(&cobra.Group{ID: group.title, Title: group.title})
	}
	root.AddCommand(
		newPs(a), newImages(a), newInspect(a), newExec(a), newStart(a), newStop(a),
		newRm(a), newRmi(a), newSMI(a), newCreate(a), newCommit(a),
		newVersion(a), newCompletion(), newMan(a),
	)
	addGroup(root, containerTitle, newStats(a))
	addGroup(root, imageTitle, newTag(a))
	addGroup(root, "Cluster commands:", newNodes(a), newNode(a), newLeave(a), newToken(a), newCA(a), newUser(a), newAudit(a), newConfig(a), newRaft(a), newContext(a))
	root.AddCommand(a.Extra...)
	for group, commands := range a.Offline {
		if c, _, err := root.Find(strings.Fields(group)); err == nil {
			c.AddCommand(commands...)
		}
	}
	if c, _, _ := root.Find(a.Args); c == root || c.Name() == "man" {
		a.addDocker(root) // which takes some milliseconds that the seed's commands need not wait
	}
	return root
}

// addGroup adds commands that stand under a title of their own in help.
func addGroup(root *cobra.Command, title string, commands ...*cobra.Command) {
	if !root.ContainsGroup(title) {
		root.AddGroup(&cobra.Group{ID: title, Title: title})
	}
	for _, c := range commands {
		c.GroupID = title
	}
	root.AddCommand(commands...)
}

// runGroup is the body of a command that only holds others: it prints help,
// or says that there is no such command.
func runGroup(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		writeHelp(c.OutOrStdout(), c)
		return nil
	}
	hint := ""
	c.SuggestionsMinimumDistance = min(2, len(args[0])/2) // letters; cobra sets this by itself for the root alone
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		hint = ", did you mean " + strings.Join(near, " or ") + "?"
	}
	return usageError{c, 1, "unknown command: " + c.CommandPath() + " " + args[0] + hint}
}

func newGroup(use, short string, commands ...*cobra.Command) *cobra.Command {
	group := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, RunE: runGroup}
	group.AddCommand(commands...)
	return group
}
