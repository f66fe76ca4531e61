package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/errdefs"
	names "github.com/distribution/reference"
	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/config"
	"github.com/docker/docker/api/types/image"
)

// withImage does what needs an image. Where that is missing it is pulled, bars
// on standard error, and what needs it is done once more.
func (a *app) withImage(ctx context.Context, cluster *connection, text string, do func() error) error {
	err := do()
	if !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "No such image") {
		return err
	}
	name, unnamed := names.ParseNormalizedNamed(text)
	if unnamed != nil {
		return err // an ID, or a name on one host: no registry has it
	}
	name = names.TagNameOnly(name)
	fmt.Fprintf(a.Stderr, "Unable to find image '%s' locally\n", names.FamiliarString(name))
	if err := a.pull(ctx, cluster, name); err != nil {
		return err
	}
	return do()
}

// pull brings an image through the cluster, with the user's credentials for its
// registry.
func (a *app) pull(ctx context.Context, cluster *connection, name names.Named) error {
	auth, err := a.registryAuth(name)
	if err != nil {
		return err
	}
	return transfer(ctx, func(ctx context.Context, watch func(io.Reader) io.Reader) error {
		messages, err := cluster.docker.ImagePull(ctx, name.String(), image.PullOptions{RegistryAuth: auth})
		if err != nil {
			return err
		}
		defer messages.Close()
		return showProgress(watch(messages), a.Stderr)
	})
}

// registryAuth is the header with which an engine logs in at the image's registry as
// the user who runs the program. It is empty where the user's login cannot be told:
// most images are for everybody.
func (a *app) registryAuth(name names.Named) (string, error) {
	logins, err := config.Load(a.dockerDir())
	if err != nil {
		return "", fmt.Errorf("read the credentials of registries: %w", err)
	}
	auth, err := command.RetrieveAuthTokenFromImage(logins, name.String())
	if err != nil {
		fmt.Fprintf(a.Stderr, "WARNING: going on without a login at %s: %v\n", names.Domain(name), err)
		return "", nil
	}
	return auth, nil
}
