package engine

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
)

// LabelProbe is the label of what GPUs makes to find out: a container that never
// runs, and the image that it is made from. Both are gone when GPUs returns, or after
// SweepTrials. Its value is made anew for each of them.
const LabelProbe = "ddocker.probe"

// Way is how an engine gives GPUs to containers.
type Way int

// The ways, the better one first.
const (
	NoWay     Way = iota
	ByRequest     // device requests, which the engine passes to NVIDIA's hook or to CDI
	ByRuntime     // the runtime "nvidia", which obeys the variable NVIDIA_VISIBLE_DEVICES
)

// RuntimeNVIDIA is the runtime of ByRuntime, VisibleDevices the variable that it and
// the hook obey.
const (
	RuntimeNVIDIA  = "nvidia"
	VisibleDevices = "NVIDIA_VISIBLE_DEVICES"
)

const (
	probeTimeout = time.Minute
	// noProgram is what a trial is to run, and what no image has.
	noProgram = "/ddocker-no-program"
	// probeName begins the name of a trial's container, which its label's value ends.
	probeName = "ddocker-probe-"
	// probeSize bounds an image without files as the engine counts, in bytes.
	probeSize = 64 << 10
	// markLength is that of rand.Text.
	markLength = 26
	// noDriver is what engines say that have no way to fulfil a device request.
	noDriver = "could not select device driver"
)

// GPUs finds out how the engine gives containers the card with that UUID, by starting
// one that is granted it: an engine without NVIDIA's toolkit makes such a container and
// then fails to start it. The program to start does not exist, and where its absence is
// what the engine complains of, the card was given by then. The image is made here, so
// that nothing has to be pulled.
//
// With NoWay the reason is the engine's own sentence, which stays true until the engine
// is restarted. An error means that the trial could not be made, or failed of something
// that may pass, such as a driver that is being replaced. GPUs ends within a minute and
// some seconds.
func (e *Engine) GPUs(ctx context.Context, uuid string) (way Way, reason string, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	c, err := e.docker(ctx)
	if err != nil {
		return NoWay, "", err
	}
	if err := sweep(ctx, c); err != nil { // of a trial that a crash ended
		return NoWay, "", err
	}
	defer func() {
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), dialTimeout)
		defer cancel()
		if left := sweep(after, c); left != nil {
			way, reason, err = NoWay, "", errors.Join(err, left)
		}
	}()
	from, err := emptyImage(ctx, c)
	if err != nil {
		return NoWay, "", fmt.Errorf("make an empty image: %w", err)
	}
	for _, way := range []Way{ByRequest, ByRuntime} {
		said, err := e.try(ctx, from, way, uuid)
		switch {
		case err != nil:
			return NoWay, "", err
		case strings.Contains(said, noProgram):
			return way, "", nil
		case strings.Contains(said, noDriver):
			reason = said
		case !unknownRuntime(said):
			return NoWay, "", errors.New(said)
		}
	}
	return NoWay, reason, nil
}

// unknownRuntime knows the engines' sentences for a runtime that they do not have.
func unknownRuntime(said string) bool {
	said = strings.ToLower(said)
	return strings.Contains(said, "unknown") && strings.Contains(said, "runtime") && strings.HasSuffix(said, RuntimeNVIDIA)
}

// emptyImage makes an image without files, and without a name.
func emptyImage(ctx context.Context, c *client.Client) (id string, err error) {
	var files bytes.Buffer
	if err := tar.NewWriter(&files).Close(); err != nil {
		return "", err
	}
	source := image.ImportSource{Source: &files, SourceName: "-"}
	body, err := c.ImageImport(ctx, source, "", image.ImportOptions{Changes: []string{"LABEL " + LabelProbe + "=" + rand.Text()}})
	if err != nil {
		return "", err
	}
	defer body.Close()
	for lines := json.NewDecoder(body); ; {
		var m struct{ Status, Error string }
		if err := lines.Decode(&m); err != nil {
			return "", err
		}
		if m.Error != "" {
			return "", errors.New(m.Error)
		}
		if strings.HasPrefix(m.Status, "sha256:") {
			return m.Status, nil
		}
	}
}

type trial struct {
	Image           string
	Cmd, Env        []string
	Labels          map[string]string
	NetworkDisabled bool // else every engine tells of a network that it is connected to
	HostConfig      trialHost
}

type trialHost struct {
	Runtime        string                    `json:",omitempty"`
	DeviceRequests []container.DeviceRequest `json:",omitempty"`
}

// try returns what the engine says of a container that is given the card this way.
func (e *Engine) try(ctx context.Context, from string, way Way, uuid string) (said string, err error) {
	mark := rand.Text()
	t := trial{
		Image: from, Cmd: []string{noProgram}, NetworkDisabled: true,
		Labels: map[string]string{LabelProbe: mark}, Env: []string{VisibleDevices + "=" + uuid},
	}
	if way == ByRuntime {
		t.HostConfig.Runtime = RuntimeNVIDIA
	} else {
		t.HostConfig.DeviceRequests = []container.DeviceRequest{{DeviceIDs: []string{uuid}, Capabilities: [][]string{{"gpu"}}}}
	}
	body, err := json.Marshal(t)
	if err != nil {
		return "", err
	}
	status, reply, err := e.change(ctx, probeTimeout, "", "/containers/create?name="+probeName+mark, body)
	if err != nil || status != http.StatusCreated {
		return sentence(status, reply), err
	}
	var made struct{ ID string }
	if err := json.Unmarshal(reply, &made); err != nil {
		return "", fmt.Errorf("read the engine's reply: %w", err)
	}
	status, reply, err = e.change(ctx, probeTimeout, "", "/containers/"+made.ID+"/start", nil)
	return sentence(status, reply), err
}

// sentence is what a refusal says.
func sentence(status int, reply []byte) string {
	var said struct{ Message string }
	if json.Unmarshal(reply, &said) != nil || said.Message == "" {
		return fmt.Sprintf("the engine answered %d %s", status, http.StatusText(status))
	}
	return said.Message
}

// SweepTrials removes what trials have left, within a minute. None may be under way.
func (e *Engine) SweepTrials(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	c, err := e.docker(ctx)
	if err != nil {
		return err
	}
	return sweep(ctx, c)
}

// sweep removes what trials have left.
func sweep(ctx context.Context, c *client.Client) error {
	ours := filters.NewArgs(filters.Arg("label", LabelProbe))
	containers, err := c.ContainerList(ctx, container.ListOptions{All: true, Filters: ours})
	if err != nil {
		return fmt.Errorf("look for what a trial left: %w", err)
	}
	var failed []error
	fails := func(err error) {
		if err != nil && !IsNotFound(err) {
			failed = append(failed, err)
		}
	}
	for _, left := range containers {
		if Probing(left.Labels, left.Names, left.State) {
			fails(c.ContainerRemove(ctx, left.ID, container.RemoveOptions{Force: true}))
		}
	}
	images, err := c.ImageList(ctx, image.ListOptions{Filters: ours})
	fails(err)
	for _, left := range images {
		if ProbeImage(left.Labels, slices.Concat(left.RepoTags, left.RepoDigests), left.Size) {
			// By force, an image would go that somebody has made a container of.
			if _, err := c.ImageRemove(ctx, left.ID, image.RemoveOptions{}); !errdefs.IsConflict(err) {
				fails(err)
			}
		}
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("remove what a trial left: %w", err)
	}
	return nil
}

// Probing says whether a container is that of a trial, which has never run. The label
// alone hides nothing: images hand it on to containers, and containers to images. Nor is
// what was placed ever hidden.
func Probing(labels map[string]string, names []string, state string) bool {
	mark := labels[LabelProbe]
	if !marked(mark) || labels[LabelPlacement] != "" || len(names) != 1 || strings.TrimPrefix(names[0], "/") != probeName+mark {
		return false
	}
	return state == container.StateCreated || state == container.StateDead || state == container.StateRemoving
}

// ProbeImage says whether an image is that of a trial, which has no name, no digest and
// no files.
func ProbeImage(labels map[string]string, refs []string, size int64) bool {
	named := func(ref string) bool { return !strings.HasPrefix(ref, "<none>") }
	return marked(labels[LabelProbe]) && !slices.ContainsFunc(refs, named) && size <= probeSize
}

// marked says whether the value of LabelProbe is one that a trial made.
func marked(value string) bool {
	return len(value) == markLength && strings.Trim(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}
