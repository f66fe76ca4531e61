package cli

import (
	"context"
	"fmt"
	"io"
	"runtime"

	"github.com/docker/cli/templates"
	"github.com/docker/docker/api/types"
	"github.com/spf13/cobra"
)

// versions is what a template of "version" sees.
type versions struct {
	Client struct{ Version, APIVersion, GoVersion, OS, Arch string }
	Server *types.Version
}

func newVersion(a *app) *cobra.Command {
	format := ""
	c := &cobra.Command{
		Use:   "version [OPTIONS]",
		Short: "Show the version of this program and of the cluster",
		Example: "  ddocker version\n" +
			"  ddocker version --format '{{.Server.APIVersion}}'",
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(c *cobra.Command, _ []string) error { return a.version(c.Context(), format) },
	}
	c.Flags().StringVarP(&format, "format", "f", "", "Format output: 'json', or a Go template")
	return c
}

// version prints what it knows of itself even when no agent answers.
func (a *app) version(ctx context.Context, format string) error {
	if format == "json" {
		format = "{{json .}}"
	}
	view, err := templates.Parse(format)
	if err != nil {
		return exitError{64, fmt.Errorf("understand --format: %w", err)}
	}
	var v versions
	v.Client.Version, v.Client.GoVersion = a.Version, runtime.Version()
	v.Client.OS, v.Client.Arch = runtime.GOOS, runtime.GOARCH
	failed := a.askVersion(ctx, &v)
	if format == "" {
		v.print(a.Stdout)
		return failed
	}
	if err := view.Execute(a.Stdout, v); err != nil {
		return fmt.Errorf("apply --format: %w", err)
	}
	fmt.Fprintln(a.Stdout)
	return failed
}

func (a *app) askVersion(ctx context.Context, v *versions) error {
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	server, err := cluster.docker.ServerVersion(ctx)
	v.Client.APIVersion = cluster.docker.ClientVersion()
	if err != nil {
		return err
	}
	v.Server = &server
	return nil
}

func (v versions) print(w io.Writer) {
	field := func(name, value string) { fmt.Fprintf(w, " %-18s %s\n", name+":", value) }
	fmt.Fprintln(w, "Client:")
	field("Version", v.Client.Version)
	field("API version", v.Client.APIVersion)
	field("Go version", v.Client.GoVersion)
	field("OS/Arch", v.Client.OS+"/"+v.Client.Arch)
	if v.Server == nil {
		return
	}
	fmt.Fprintln(w, "\nServer:")
	field("Version", v.Server.Version)
	field("API version", v.Server.APIVersion+" (minimum version "+v.Server.MinAPIVersion+")")
	field("OS/Arch", v.Server.Os+"/"+v.Server.Arch)
	for _, part := range v.Server.Components {
		field(part.Name, part.Version)
	}
}
