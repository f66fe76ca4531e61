package cli

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	dockercontext "github.com/docker/cli/cli/context"
	"github.com/docker/cli/cli/context/docker"
	"github.com/docker/cli/cli/context/store"
	"github.com/spf13/cobra"
)

const (
	// contextName is what docker calls the cluster.
	contextName = "ddocker"
	// contextText is how docker describes it.
	contextText = "All machines of the ddocker cluster"
)

func newContext(a *app) *cobra.Command {
	install := &cobra.Command{
		Use:   "install",
		Short: "Make plain docker use the cluster",
		Long: "Make plain docker, compose and all else that knows docker's contexts use the\n" +
			"cluster, by the agent of this machine or the one that -H names.\n\n" +
			"It makes docker's context \"ddocker\", or brings it up to date, and selects it.",
		Example:           "  ddocker context install\n  ddocker -H ssh://alice@gpu1 context install",
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(c *cobra.Command, _ []string) error { return a.installContext(c.Context()) },
	}
	uninstall := &cobra.Command{
		Use:               "uninstall",
		Short:             "Let plain docker use this machine's own engine again, and end a login",
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(*cobra.Command, []string) error { return a.uninstallContext() },
	}
	return newGroup("context", "Make plain docker use the cluster, or no longer", install, uninstall)
}

// dockerContexts opens docker's configuration and its contexts.
func (a *app) dockerContexts() (*configfile.ConfigFile, *store.ContextStore, error) {
	file, err := config.Load(a.dockerDir())
	if err != nil {
		return nil, nil, fmt.Errorf("read docker's configuration: %w", err)
	}
	return file, store.New(filepath.Join(a.dockerDir(), "contexts"), command.DefaultContextStoreConfig()), nil
}

func (a *app) installContext(ctx context.Context) error {
	endpoints, err := a.hosts()
	if err != nil {
		return err
	}
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	if _, err := cluster.nodes(ctx); errdefs.IsNotFound(err) {
		return fmt.Errorf("what answers at %v is a Docker Engine and no ddocker agent: name an agent with -H", endpoints[0])
	} else if err != nil {
		return err
	}
	file, contexts, err := a.dockerContexts()
	if err != nil {
		return err
	}
	if err := a.writeContext(contexts, endpoints[0]); err != nil {
		return fmt.Errorf("write docker's context %s: %w", contextName, err)
	}
	before := cmp.Or(file.CurrentContext, command.DefaultContextName)
	if before != contextName {
		file.CurrentContext = contextName
		if err := file.Save(); err != nil {
			return fmt.Errorf("select docker's context %s: %w", contextName, err)
		}
	}
	fmt.Fprintf(a.Stdout, "docker now uses the cluster at %v, by its context %q\n", endpoints[0].ofDocker(), contextName)
	if len(endpoints) > 1 {
		fmt.Fprintln(a.Stderr, "WARNING: docker knows one host alone: it does not go on to the next when that is down")
	}
	if before == contextName {
		before = command.DefaultContextName
	}
	fmt.Fprintf(a.Stderr, "To go back for a while: docker context use %s; for good: ddocker context uninstall\n", before)
	for _, name := range []string{"DOCKER_HOST", "DOCKER_CONTEXT"} {
		if value := a.Getenv(name); value != "" && value != contextName {
			fmt.Fprintf(a.Stderr, "WARNING: %s is set to %s in the environment and goes before the context: unset it\n", name, value)
		}
	}
	return nil
}

// writeContext makes docker's context, or makes it anew.
func (a *app) writeContext(contexts *store.ContextStore, e endpoint) error {
	material, err := a.contextTLS(e)
	if err != nil {
		return err
	}
	err = contexts.CreateOrUpdate(store.Metadata{
		Name:      contextName,
		Metadata:  command.DockerContext{Description: contextText},
		Endpoints: map[string]any{docker.DockerEndpoint: docker.EndpointMeta{Host: e.ofDocker()}},
	})
	if err != nil {
		return err
	}
	return contexts.ResetTLSMaterial(contextName, material)
}

// contextTLS is the user's certificate for agents that are reached over TCP. docker
// looks for the host's name in the agent's, which names what it was told to advertise.
func (a *app) contextTLS(e endpoint) (*store.ContextTLSData, error) {
	material := &store.ContextTLSData{}
	if e.network != "tcp" {
		return material, nil
	}
	file := func(name string) string { return filepath.Join(a.certificates(), name) }
	data, err := dockercontext.TLSDataFromFiles(file("ca.pem"), file("cert.pem"), file("key.pem"))
	if err != nil {
		return nil, err
	}
	material.Endpoints = map[string]store.EndpointTLSData{docker.DockerEndpoint: *data.ToStoreTLSData()}
	return material, nil
}

// ofDocker is the endpoint as docker writes it. Its ssh:// means the host's plain
// engine where no path says otherwise.
func (e endpoint) ofDocker() string {
	if path, err := filepath.Abs(e.address); e.network == "unix" && err == nil {
		return "unix://" + path
	}
	if e.network == "ssh" && !strings.Contains(e.address, "/") {
		return e.String() + defaultSocket
	}
	return e.String()
}

func (a *app) uninstallContext() error {
	file, contexts, err := a.dockerContexts()
	if err != nil {
		return err
	}
	if out, err := a.logOut(); err != nil {
		return err
	} else if out {
		fmt.Fprintln(a.Stdout, "ddocker uses this machine's own agent again")
	}
	if file.CurrentContext == contextName {
		file.CurrentContext = ""
		if err := file.Save(); err != nil {
			return fmt.Errorf("select docker's default context: %w", err)
		}
	}
	if _, err := contexts.GetMetadata(contextName); errdefs.IsNotFound(err) {
		fmt.Fprintf(a.Stdout, "docker has no context %q: nothing to remove\n", contextName)
		return nil
	}
	if err := contexts.Remove(contextName); err != nil {
		return fmt.Errorf("remove docker's context %s: %w", contextName, err)
	}
	fmt.Fprintf(a.Stdout, "docker's context %q is removed; docker uses %q\n", contextName, cmp.Or(file.CurrentContext, command.DefaultContextName))
	return nil
}
