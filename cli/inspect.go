package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"text/template"

	"github.com/containerd/errdefs"
	"github.com/docker/cli/templates"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/spf13/cobra"
)

// object is a container or an image: as docker's templates know it, and with
// every field that the engine sent.
type object struct {
	typed any
	raw   []byte
}

func newInspect(a *app) *cobra.Command {
	format := ""
	c := &cobra.Command{
		Use:   "inspect [OPTIONS] NAME [NAME...]",
		Short: "Show all details of containers and images",
		Example: "  ddocker inspect abc\n" +
			"  ddocker inspect --format '{{.State.Status}}' abc def",
		Args:              named(1, -1, -1),
		ValidArgsFunction: a.completeNames(0, containerNames),
		RunE: func(c *cobra.Command, args []string) error {
			return a.inspect(c.Context(), format, args, (*connection).inspect)
		},
	}
	c.Flags().StringVarP(&format, "format", "f", "", "Format output: 'json' for one line, or a Go template")
	return c
}

func (a *app) inspect(ctx context.Context, format string, names []string,
	find func(*connection, context.Context, string) (object, error)) error {
	view, err := templates.Parse(format)
	if err != nil {
		return exitError{64, fmt.Errorf("understand --format: %w", err)}
	}
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	var array [][]byte
	err = a.each(ctx, names, func(name string) error {
		found, err := find(cluster, ctx, name)
		if err != nil {
			return err
		}
		if format == "" || format == "json" {
			array = append(array, found.raw)
			return nil
		}
		return a.writeObject(view, found)
	})
	if format == "" || format == "json" {
		a.writeArray(array, format == "")
	}
	return err
}

// writeObject applies view to docker's own struct, and where that lacks a
// field to what the engine sent.
func (a *app) writeObject(view *template.Template, found object) error {
	var text bytes.Buffer
	if view.Execute(&text, found.typed) != nil {
		text.Reset()
		var fields any
		decoder := json.NewDecoder(bytes.NewReader(found.raw))
		decoder.UseNumber()
		if err := decoder.Decode(&fields); err != nil {
			return fmt.Errorf("understand the object: %w", err)
		}
		if err := view.Option("missingkey=error").Execute(&text, fields); err != nil {
			return fmt.Errorf("apply --format: %w", err)
		}
	}
	fmt.Fprintln(a.Stdout, text.String())
	return nil
}

func (a *app) writeArray(array [][]byte, indent bool) {
	text := append(append([]byte{'['}, bytes.Join(array, []byte{','})...), ']')
	var out bytes.Buffer
	if indent {
		json.Indent(&out, text, "", "    ")
	} else {
		json.Compact(&out, text)
	}
	fmt.Fprintln(a.Stdout, out.String())
}

// noSuchObject is docker's own sentence.
const noSuchObject = "No such object"

// inspect looks for a container of that name, then for an image.
func (c *connection) inspect(ctx context.Context, name string) (object, error) {
	found, missing := c.object(ctx, "/containers/"+name+"/json", &container.InspectResponse{})
	if !errdefs.IsNotFound(missing) {
		return found, missing
	}
	found, err := c.inspectImage(ctx, name)
	if !errdefs.IsNotFound(err) {
		return found, err
	}
	if lost := strings.TrimPrefix(missing.Error(), "No such container: "+name+": "); lost != missing.Error() {
		return object{}, fmt.Errorf("%s: %s: %s", noSuchObject, name, lost)
	}
	return object{}, fmt.Errorf("%s: %s", noSuchObject, name)
}

// object reads what is at path, typed as docker knows it.
func (c *connection) object(ctx context.Context, path string, typed any) (object, error) {
	raw, err := c.read(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return object{}, err
	}
	if err := json.Unmarshal(raw, typed); err != nil {
		return object{}, fmt.Errorf("understand the answer of %s: %w", path, err)
	}
	return object{typed, raw}, nil
}

func (c *connection) inspectImage(ctx context.Context, name string) (object, error) {
	return c.object(ctx, "/images/"+name+"/json", &image.InspectResponse{})
}
