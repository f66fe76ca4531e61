package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/docker/cli/cli/command"
	"github.com/docker/go-units"
	"github.com/moby/go-archive"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

// across makes docker's cp copy from container to container, too: on whichever hosts
// they are, the archive of one streams into the other.
func across(docker command.Cli, c *cobra.Command) {
	toOrFrom := c.RunE
	c.Use = "cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n" +
		"        ddocker cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH\n" +
		"        ddocker cp [OPTIONS] CONTAINER:SRC_PATH CONTAINER:DEST_PATH"
	c.Short = "Copy files/folders between containers, or a container and this machine"
	c.Long = strings.Replace(c.Long, "Copy files/folders between a container and the local filesystem", c.Short, 1)
	c.RunE = func(c *cobra.Command, args []string) error {
		from, isFrom := parsePlace(args[0])
		to, isTo := parsePlace(args[1])
		if !isFrom || !isTo {
			return toOrFrom(c, args)
		}
		flag := func(name string) bool { return c.Flag(name).Value.String() == "true" }
		o := copyOptions{followLink: flag("follow-link"), owners: flag("archive")}
		written, err := copyAcross(c.Context(), docker.Client(), from, to, o)
		if err == nil && !flag("quiet") && docker.Err().IsTerminal() {
			fmt.Fprintf(docker.Err(), "Successfully copied %s to %s\n", units.HumanSizeWithPrecision(float64(written), 3), args[1])
		}
		return err
	}
}

// place is a path in a container.
type place struct{ container, path string }

// parsePlace reads CONTAINER:PATH as docker's cp does: what begins with a slash or a
// dot is a path of this machine.
func parsePlace(text string) (place, bool) {
	container, path, ok := strings.Cut(text, ":")
	if !ok || strings.HasPrefix(text, "/") || strings.HasPrefix(text, ".") {
		return place{}, false
	}
	return place{container, path}, container != ""
}

type copyOptions struct{ followLink, owners bool }

// copyAcross copies with the semantics of docker's cp, and says how many bytes its
// archive had. No more of that than a buffer is ever held.
func copyAcross(ctx context.Context, engines client.APIClient, from, to place, o copyOptions) (int64, error) {
	if from.path == "" || to.path == "" {
		return 0, errors.New("copy: write CONTAINER:PATH for both, with a path each")
	}
	source := archive.CopyInfo{Path: from.path, Exists: true}
	if o.followLink {
		stat, err := engines.ContainerStatPath(ctx, from.container, client.ContainerStatPathOptions{Path: from.path})
		if err == nil && stat.Stat.Mode&fs.ModeSymlink != 0 {
			source.Path, source.RebaseName = archive.GetRebaseName(from.path, linkTarget(from.path, stat.Stat.LinkTarget))
		}
	}
	read, err := engines.CopyFromContainer(ctx, from.container, client.CopyFromContainerOptions{SourcePath: source.Path})
	if err != nil {
		return 0, err
	}
	defer read.Content.Close()
	source.IsDir = read.Stat.Mode.IsDir()
	counted := &counter{Reader: read.Content}
	content := io.NopCloser(counted)
	if source.RebaseName != "" {
		_, base := archive.SplitPathDirEntry(source.Path)
		content = archive.RebaseArchiveEntries(content, base, source.RebaseName)
	}
	target, err := destination(ctx, engines, to)
	if err != nil {
		return 0, err
	}
	dir, content, err := archive.PrepareArchiveCopy(content, source, target)
	if err != nil {
		return 0, err
	}
	defer content.Close()
	_, err = engines.CopyToContainer(ctx, to.container, client.CopyToContainerOptions{
		DestinationPath: dir, Content: content, CopyUIDGID: o.owners,
	})
	return counted.bytes, err
}

// destination looks what there is at a place that is copied to. One that cannot be
// looked at is left to the copy itself: its parent may be there.
func destination(ctx context.Context, engines client.APIClient, to place) (archive.CopyInfo, error) {
	found := archive.CopyInfo{Path: to.path}
	stat, err := engines.ContainerStatPath(ctx, to.container, client.ContainerStatPathOptions{Path: to.path})
	if err == nil && stat.Stat.Mode&fs.ModeSymlink != 0 {
		found.Path = linkTarget(to.path, stat.Stat.LinkTarget)
		stat, err = engines.ContainerStatPath(ctx, to.container, client.ContainerStatPathOptions{Path: found.Path})
	}
	if err != nil {
		return found, nil
	}
	if err := command.ValidateOutputPathFileMode(stat.Stat.Mode); err != nil {
		return found, fmt.Errorf(`destination "%s:%s" must be a directory or a regular file: %w`, to.container, to.path, err)
	}
	found.Exists, found.IsDir = true, stat.Stat.Mode.IsDir()
	return found, nil
}

// linkTarget is where a symbolic link in a container leads.
func linkTarget(link, target string) string {
	if path.IsAbs(target) {
		return target
	}
	parent, _ := archive.SplitPathDirEntry(link)
	return path.Join(parent, target)
}

// counter counts what is read through it.
type counter struct {
	io.Reader
	bytes int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.bytes += int64(n)
	return n, err
}
