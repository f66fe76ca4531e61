package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/docker/docker/pkg/jsonmessage"
	"github.com/spf13/cobra"
)

type replicateOptions struct {
	all    bool
	hosts  []string
	number int
}

func newReplicate(a *app) *cobra.Command {
	o := &replicateOptions{}
	c := &cobra.Command{
		Use:   "replicate [OPTIONS] IMAGE",
		Short: "Copy an image to further hosts",
		Long: "Copy an image to further hosts, so that containers start there at once.\n\n" +
			"Without an option it is copied to as many hosts as the cluster keeps copies on\n" +
			"by itself; \"ddocker config\" knows that number as image_replicas.",
		Example: "  ddocker image replicate --all python3_cuda:latest\n" +
			"  ddocker image replicate --hosts gpu1,gpu2 python:3\n" +
			"  ddocker image replicate -n 3 python:3",
		Args:              named(1, 1, 1),
		ValidArgsFunction: a.completeNames(1, imageNames),
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		if c.Flags().Changed("number") && o.number < 1 {
			return exitError{125, fmt.Errorf("invalid --number %d: write how many hosts are to have the image", o.number)}
		}
		if len(o.query()) > 1 {
			return exitError{125, errors.New("choose one of --all, --hosts and --number: each says which hosts are to have the image")}
		}
		return a.replicate(c.Context(), o, args[0])
	}
	c.Flags().BoolVar(&o.all, "all", false, "Copy to every host")
	c.Flags().StringSliceVar(&o.hosts, "hosts", nil, "Copy to these hosts, comma-separated")
	c.Flags().IntVarP(&o.number, "number", "n", 0, "Copy until so many hosts have it")
	c.RegisterFlagCompletionFunc("hosts", a.completeNames(0, nodeNames))
	return c
}

func (o *replicateOptions) query() url.Values {
	query := url.Values{}
	if o.all {
		query.Set("all", "1")
	}
	if len(o.hosts) > 0 {
		query.Set("hosts", strings.Join(o.hosts, ","))
	}
	if o.number > 0 {
		query.Set("n", strconv.Itoa(o.number))
	}
	return query
}

func (a *app) replicate(ctx context.Context, o *replicateOptions, name string) error {
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	lines := &hostLines{repeat: isTerminal(a.Stdout)}
	err = transfer(ctx, func(ctx context.Context, watch func(io.Reader) io.Reader) error {
		answer, err := cluster.send(ctx, http.MethodPost, "/ddocker/images/"+name+"/replicate", o.query(), nil)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		lines.from = json.NewDecoder(watch(answer.Body))
		return showProgress(lines, a.Stdout)
	})
	if err != nil {
		return err
	}
	for _, failed := range lines.failed {
		a.complain(failed)
		err = exitError{code: 1}
	}
	return err
}

// hostLine is one line of the route's answer: how far one host is.
type hostLine struct {
	Host           string // empty: of all
	Status         string
	ProgressDetail jsonmessage.JSONProgress
	Error          string // why the host does not get the image
	Done           bool
}

// hostLines reads such lines as docker's messages, a bar for each host. A host
// that fails does not end them.
type hostLines struct {
	from   *json.Decoder
	repeat bool // tell a host's status again
	told   map[string]bool
	failed []error
	ready  bytes.Buffer
}

func (h *hostLines) Read(p []byte) (int, error) {
	for h.ready.Len() == 0 {
		var line hostLine
		if err := h.from.Decode(&line); err != nil {
			return 0, err
		}
		if err := h.take(line); err != nil {
			return 0, err
		}
	}
	return h.ready.Read(p)
}

func (h *hostLines) take(line hostLine) error {
	switch {
	case line.Error != "" && line.Host == "":
		return json.NewEncoder(&h.ready).Encode(jsonmessage.JSONMessage{Error: &jsonmessage.JSONError{Message: line.Error}})
	case line.Error != "":
		if at := "host " + line.Host; !strings.Contains(line.Error, at+":") && !strings.Contains(line.Error, at+" ") {
			line.Error = "host " + line.Host + ": " + line.Error
		}
		h.failed = append(h.failed, errors.New(line.Error))
		line.Status = "failed"
	case line.Done:
		line.Status = "done"
	}
	message := jsonmessage.JSONMessage{ID: line.Host, Status: line.Status}
	if line.Host != "" {
		message.Progress = &line.ProgressDetail
	}
	if key := line.Host + ": " + line.Status; line.ProgressDetail.Current == 0 {
		if h.told[key] && !h.repeat {
			return nil
		}
		if h.told == nil {
			h.told = map[string]bool{}
		}
		h.told[key] = true
	}
	return json.NewEncoder(&h.ready).Encode(message)
}
