package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	"github.com/spf13/cobra"
)

func newSave(a *app) *cobra.Command {
	output := ""
	c := &cobra.Command{
		Use:               "save [OPTIONS] IMAGE [IMAGE...]",
		Short:             "Save one or more images to a tar archive",
		Long:              "Save one or more images to a tar archive (streamed to STDOUT by default).\n\nA file is written as a whole or not at all.",
		Example:           "  ddocker save -o python.tar python:3\n  ddocker save python:3 | gzip > python.tar.gz",
		Args:              named(1, -1, -1),
		ValidArgsFunction: a.completeNames(0, imageNames),
		RunE:              func(c *cobra.Command, args []string) error { return a.save(c.Context(), output, args) },
	}
	c.Flags().StringVarP(&output, "output", "o", "", "Write to a `file`, instead of STDOUT")
	return c
}

func (a *app) save(ctx context.Context, output string, images []string) error {
	if output == "" && isTerminal(a.Stdout) {
		return errors.New("cowardly refusing to save to a terminal. Use the -o flag or redirect")
	}
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	fill := func(w io.Writer) error { return cluster.save(ctx, w, images) }
	if output == "" {
		return fill(a.Stdout)
	}
	return replaceFile(output, fill)
}

func (c *connection) save(ctx context.Context, w io.Writer, images []string) error {
	return transfer(ctx, func(ctx context.Context, watch func(io.Reader) io.Reader) error {
		archive, err := c.docker.ImageSave(ctx, images)
		if err != nil {
			return err
		}
		defer archive.Close()
		if _, err = io.Copy(w, watch(archive)); err != nil {
			return fmt.Errorf("save the archive: %w", err)
		}
		return nil
	})
}

func newLoad(a *app) *cobra.Command {
	input, quiet := "", false
	c := &cobra.Command{
		Use:               "load [OPTIONS]",
		Short:             "Load images from a tar archive or STDIN",
		Long:              "Load images from a tar archive, and give them its names in the whole cluster.",
		Example:           "  ddocker load -i python.tar\n  ssh gpu9 docker save python:3 | ddocker load",
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(c *cobra.Command, _ []string) error { return a.load(c.Context(), input, quiet) },
	}
	c.Flags().StringVarP(&input, "input", "i", "", "Read from a tar archive `file`, instead of STDIN")
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "Suppress the load output")
	return c
}

func (a *app) load(ctx context.Context, input string, quiet bool) error {
	if input == "" && isTerminal(a.Stdin) {
		return errors.New("requested load from stdin, but stdin is empty")
	}
	archive, err := a.openArchive(firstOf(input, "-"))
	if err != nil {
		return err
	}
	defer archive.Close()
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	quiet = quiet || !isTerminal(a.Stdout)
	return archive.send(ctx, func(ctx context.Context, r io.Reader) (io.ReadCloser, error) {
		loaded, err := cluster.docker.ImageLoad(ctx, r, client.ImageLoadWithQuiet(quiet))
		return loaded.Body, err
	}, a.Stdout)
}

type importOptions struct {
	image.ImportOptions
	source, name string
}

func newImport(a *app) *cobra.Command {
	o := &importOptions{}
	c := &cobra.Command{
		Use:     "import [OPTIONS] FILE|URL|- [REPOSITORY[:TAG]]",
		Short:   "Import the contents from a tarball to create a filesystem image",
		Example: "  ddocker import -c 'CMD [\"bash\"]' rootfs.tar lab/base:1",
		Args:    arguments(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			o.source = args[0]
			if len(args) > 1 {
				o.name = args[1]
			}
			return a.importImage(c.Context(), o)
		},
	}
	c.Flags().StringArrayVarP(&o.Changes, "change", "c", nil, "Apply Dockerfile instruction to the created image")
	c.Flags().StringVarP(&o.Message, "message", "m", "", "Set commit message for imported image")
	c.Flags().StringVar(&o.Platform, "platform", "", "Set the image's platform, OS[/ARCH[/VARIANT]]")
	return c
}

func (a *app) importImage(ctx context.Context, o *importOptions) error {
	if o.name != "" {
		if _, err := parseName(o.name); err != nil {
			return err
		}
	}
	source := image.ImportSource{SourceName: "-"}
	archive := &archive{ReadCloser: io.NopCloser(strings.NewReader(""))}
	if strings.HasPrefix(o.source, "https://") || strings.HasPrefix(o.source, "http://") {
		source.SourceName = o.source // the engine's to fetch
	} else {
		var err error
		if archive, err = a.openArchive(o.source); err != nil {
			return err
		}
	}
	defer archive.Close()
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	return archive.send(ctx, func(ctx context.Context, r io.Reader) (io.ReadCloser, error) {
		if source.SourceName == "-" {
			source.Source = r
		}
		return cluster.docker.ImageImport(ctx, source, o.name, o.ImportOptions)
	}, a.Stdout)
}

// archive is what load and import read.
type archive struct {
	io.ReadCloser
	failed error // of reading
}

// openArchive opens a file, or standard input for "-", which stays open.
func (a *app) openArchive(path string) (*archive, error) {
	if path == "-" {
		return &archive{ReadCloser: io.NopCloser(a.Stdin)}, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the archive: %w", err)
	}
	if at, err := file.Stat(); err == nil && at.IsDir() {
		file.Close()
		return nil, fmt.Errorf("read the archive: %s is a directory", path)
	}
	return &archive{ReadCloser: file}, nil
}

// Read remembers why reading failed, which HTTP would call a broken connection.
func (r *archive) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		r.failed = fmt.Errorf("read the archive: %w", err)
	}
	return n, err
}

// send uploads the archive and shows what the cluster says to it.
func (r *archive) send(ctx context.Context, upload func(context.Context, io.Reader) (io.ReadCloser, error), out io.Writer) error {
	err := transfer(ctx, func(ctx context.Context, watch func(io.Reader) io.Reader) error {
		messages, err := upload(ctx, watch(r))
		if err != nil {
			return err
		}
		defer messages.Close()
		return showProgress(watch(messages), out)
	})
	if err != nil && r.failed != nil {
		return r.failed
	}
	return err
}
