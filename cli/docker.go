package cli

import (
	"slices"
	"strings"
	_ "unsafe" // for go:linkname

	"github.com/docker/cli/cli/command"
	_ "github.com/docker/cli/cli/command/builder"
	_ "github.com/docker/cli/cli/command/container"
	_ "github.com/docker/cli/cli/command/image"
	_ "github.com/docker/cli/cli/command/network"
	_ "github.com/docker/cli/cli/command/registry"
	_ "github.com/docker/cli/cli/command/system"
	_ "github.com/docker/cli/cli/command/volume"
	"github.com/spf13/cobra"
)

// registered makes the commands that docker's packages above have registered. The
// package that hands them out by its exported name brings swarm's and the stack's
// along, whose start takes every run of this program 15 ms and the binary 12 MB.
//
//go:linkname registered github.com/docker/cli/internal/commands.Commands
func registered() []func(command.Cli) *cobra.Command

// Titles in help under which commands of docker's and this program's own stand.
const (
	containerTitle = "Container commands:"
	imageTitle     = "Image commands:"
)

// dockerGroup is a part of help: commands that are docker's own.
type dockerGroup struct {
	title string
	names []string
}

// dockerGroups are docker's commands that make sense on a cluster. Those that are
// left out are swarm's, plug-ins and manifests, and those that ddocker has its own of.
func dockerGroups() []dockerGroup {
	return []dockerGroup{
		{containerTitle, []string{
			"run", "attach", "container", "cp", "diff", "export", "kill", "logs", "pause", "port", "rename",
			"restart", "top", "unpause", "update", "wait",
		}},
		{imageTitle, []string{
			"build", "builder", "history", "image", "import", "load", "pull", "push", "save",
		}},
		{"Network, volume and system commands:", []string{
			"events", "info", "login", "logout", "network", "search", "system", "volume",
		}},
	}
}

// addDocker adds docker's commands to root, on this program's connection. Plug-ins,
// their hooks and telemetry are the business of docker's main, and stay away.
func (a *app) addDocker(root *cobra.Command) {
	docker, prepare := a.dockerCLI()
	if slices.Contains(a.Args, cobra.ShellCompRequestCmd) || slices.Contains(a.Args, cobra.ShellCompNoDescRequestCmd) {
		prepare() // completion asks the cluster, and runs nothing that could be refused
	}
	all := map[string]*cobra.Command{}
	for _, construct := range registered() {
		c := construct(docker)
		all[c.Name()] = c
	}
	for _, group := range dockerGroups() {
		for _, name := range group.names {
			c := all[name]
			visit(c, func(c *cobra.Command) {
				c.PreRunE = func(c *cobra.Command, _ []string) error { return a.ready(c, docker, prepare) }
				a.adopt(c)
				extendGPUs(c)
			})
			addGroup(root, group.title, c)
		}
	}
	a.extend(docker, all["cp"], all["container"], all["image"])
	a.orFile(all["login"])
	all["pull"].Args = cobra.MatchAll(all["pull"].Args, ofRegistry)
	all["push"].Args = cobra.MatchAll(all["push"].Args, ofRegistry)
	all["pull"].Short = "Download an image from another host or a registry"
}

// extend adds to docker's commands what only a cluster can do.
func (a *app) extend(docker command.Cli, cp, container, image *cobra.Command) {
	across(docker, cp)
	for _, c := range container.Commands() {
		switch c.Name() {
		case "cp":
			across(docker, c)
		case "stats":
			container.RemoveCommand(c)
			container.AddCommand(newStats(a))
		}
	}
	own := a.imageCommands()
	for _, c := range image.Commands() {
		if slices.ContainsFunc(own, func(o *cobra.Command) bool { return o.Name() == c.Name() }) {
			image.RemoveCommand(c)
		} else if c.Name() == "pull" || c.Name() == "push" {
			c.Args = cobra.MatchAll(c.Args, ofRegistry)
		}
	}
	image.AddCommand(own...)
}

// ready refuses what cannot be done before a command of docker's begins.
func (a *app) ready(c *cobra.Command, docker *command.DockerCli, prepare func() error) error {
	if _, err := a.hosts(); err != nil {
		return err
	}
	if err := prepare(); err != nil {
		return err
	}
	go giveUp(c.Context(), docker)
	return supported(c, docker)
}

// adopt makes a command of docker's one of this program's.
func (a *app) adopt(c *cobra.Command) {
	c.Use = strings.ReplaceAll(c.Use, "docker ", "ddocker ")
	c.Long = strings.ReplaceAll(c.Long, "docker ", "ddocker ")
	c.Example = strings.ReplaceAll(c.Example, "docker ", "ddocker ")
	if c.HasSubCommands() {
		c.Args, c.RunE, c.PreRunE = cobra.ArbitraryArgs, runGroup, nil
	}
	if c.Flags().ShorthandLookup("H") != nil {
		c.Flags().StringVar(&a.host, "host", "", "Agent to speak to; its -H comes before the command: ddocker -H HOST "+c.Name())
	}
}

// visit does the same to a command and to all below it.
func visit(c *cobra.Command, do func(*cobra.Command)) {
	do(c)
	for _, sub := range c.Commands() {
		visit(sub, do)
	}
}
