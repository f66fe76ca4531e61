package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"github.com/spf13/cobra"
)

// configLimit bounds a settings file, in bytes.
const configLimit = 1 << 20

func newConfig(a *app) *cobra.Command {
	show := &cobra.Command{
		Use:               "show",
		Short:             "Print the cluster's settings as an info.json",
		Example:           "  ddocker config show > info.json",
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.printText(c.Context(), "/ddocker/settings", url.Values{"format": {"file"}})
		},
	}
	apply := &cobra.Command{
		Use:     "apply FILE",
		Short:   "Take the settings of a file, or of standard input (-)",
		Example: "  ddocker config apply info.json",
		Args:    arguments(1, 1),
		RunE:    func(c *cobra.Command, args []string) error { return a.applyConfig(c.Context(), args[0]) },
	}
	template := &cobra.Command{
		Use:               "template",
		Short:             "Print an example of an info.json",
		Example:           "  ddocker config template > info.json",
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := io.WriteString(a.Stdout, a.Template)
			return err
		},
	}
	return newGroup("config", "Show or change the cluster's service types and other settings", show, apply, template)
}

// printText prints the answer of a route as it is.
func (a *app) printText(ctx context.Context, path string, query url.Values) error {
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	text, err := cluster.read(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return err
	}
	_, err = a.Stdout.Write(text)
	return err
}

func (a *app) applyConfig(ctx context.Context, file string) error {
	text, err := a.readConfig(file)
	if err != nil {
		return err
	}
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	_, err = cluster.read(ctx, http.MethodPost, "/ddocker/settings", url.Values{"name": {file}}, text)
	var refusal *apiError
	if errors.As(err, &refusal) && refusal.status == http.StatusBadRequest {
		return fmt.Errorf("nothing was changed, %s has mistakes:\n%w", file, err)
	}
	return err
}

func (a *app) readConfig(file string) ([]byte, error) {
	text, err := a.readLimited(file, configLimit)
	if err != nil {
		return nil, fmt.Errorf("read the settings: %w", err)
	}
	return text, nil
}

// readLimited reads a file, or standard input (-), of at most so many bytes.
func (a *app) readLimited(file string, most int64) ([]byte, error) {
	in := a.Stdin
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer opened.Close()
		in = opened
	}
	text, err := io.ReadAll(io.LimitReader(in, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > most {
		return nil, fmt.Errorf("%s has more than %d bytes", file, most)
	}
	return text, nil
}
