// Command ddocker makes the Docker Engines of many machines look like one.
//
//	ddocker agent               on every machine
//	ddocker create|ps|exec|…    from any of them
//
// See README.md for use and ARCHITECTURE.md for how it is built.
package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"ddocker/cli"
	"ddocker/gpu"
)

// version is set by the linker.
var version = "dev"

func main() {
	code := cli.Execute(context.Background(), cli.Env{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Getenv: os.Getenv, Version: version, Template: infoTemplate,
		Extra:   []*cobra.Command{agentCommand(), nvmlCommand()},
		Offline: offlineCommands(),
	})
	os.Exit(code)
}

// nvmlCommand is what the agent runs to read GPUs: a driver's library that
// crashes takes this process along, and not the agent.
func nvmlCommand() *cobra.Command {
	return &cobra.Command{
		Use: "nvml-child", Hidden: true, Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(c *cobra.Command, _ []string) error { return gpu.Child(c.Context(), c.OutOrStdout()) },
	}
}
