package cli

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/flags"
	"github.com/moby/moby/client"
	apiversions "github.com/moby/moby/client/pkg/versions"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// dockerCLI is what docker's commands run on. What prepare returns comes before their
// first use: it reads docker's config.json, and which agent is meant is for hosts to
// say: no context of docker's has a word in it.
func (a *app) dockerCLI() (docker *command.DockerCli, prepare func() error) {
	input, ok := a.Stdin.(io.ReadCloser)
	if !ok {
		input = io.NopCloser(a.Stdin)
	}
	docker, err := command.NewDockerCli(
		command.WithInputStream(input), command.WithOutputStream(a.Stdout), command.WithErrorStream(a.Stderr),
	)
	return docker, func() error {
		if err != nil {
			return fmt.Errorf("prepare docker's commands: %w", err)
		}
		o := flags.NewClientOptions()
		o.Hosts = []string{"tcp://" + agentName}
		o.ConfigDir = a.dockerDir()
		return docker.Initialize(o, command.WithInitializeClient(a.dockerClient))
	}
}

// dockerDir is where docker keeps its configuration.
func (a *app) dockerDir() string {
	return firstOf(a.Getenv("DOCKER_CONFIG"), filepath.Join(a.Getenv("HOME"), ".docker"))
}

func (a *app) dockerClient(*command.DockerCli) (client.APIClient, error) {
	return client.New(
		client.WithHost("tcp://"+agentName),
		client.WithHTTPClient(&http.Client{Transport: a.transport(), CheckRedirect: client.CheckRedirect}),
		client.WithUserAgent(userAgent(a.Version)),
		client.WithAPIVersion(a.Getenv("DOCKER_API_VERSION")),
	)
}

// supported refuses commands and flags for which the cluster's engines are too old,
// as docker's main does. It asks the cluster only where that is in question.
func supported(c *cobra.Command, docker *command.DockerCli) (err error) {
	require := func(what, version string) {
		if err == nil && version != "" && apiversions.LessThan(docker.CurrentVersion(), version) {
			err = fmt.Errorf("%s requires API version %s, but the cluster's engines speak %s", what, version, docker.CurrentVersion())
		}
	}
	for at := c; at != nil; at = at.Parent() {
		require(c.CommandPath(), at.Annotations["version"])
	}
	c.Flags().Visit(func(f *pflag.Flag) { require(`"--`+f.Name+`"`, strings.Join(f.Annotations["version"], "")) })
	return err
}
