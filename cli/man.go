package cli

import (
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// newMan writes the manual pages from what --help says, for packages.
func newMan(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "man DIRECTORY", Short: "Write the manual pages", Hidden: true, Args: arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			asWritten(c.Root())
			header := &doc.GenManHeader{Section: "1", Source: "ddocker " + a.Version, Manual: "Distributed Docker"}
			return doc.GenManTree(c.Root(), header, args[0])
		},
	}
}

// asWritten keeps the usage lines as they are: they name their options already.
func asWritten(c *cobra.Command) {
	c.DisableFlagsInUseLine = true
	for _, sub := range c.Commands() {
		asWritten(sub)
	}
}
