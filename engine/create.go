package engine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
)

// maxReply bounds the replies that are read whole, in bytes.
const maxReply = 1 << 20

// Create asks the engine for a container by that name, with exactly the bytes
// of body, which is written in API version (the engine's newest when empty).
// It returns the engine's own status and reply, refusals too.
//
// An error means that no answer came, and nothing else: the engine may have
// created the container, or do so later, as it carries on when its caller is
// gone. So cancel ctx only on shutdown, and give nothing of the container's
// away after an error. Without a cancel, Create waits ten minutes.
func (e *Engine) Create(ctx context.Context, name, version string, body []byte) (status int, reply []byte, err error) {
	return e.change(ctx, createTimeout, version, "/containers/create?name="+url.QueryEscape(name), body)
}

// Commit makes an image of a container. Query is that of Docker's POST /commit,
// "container=web&repo=app&tag=2", and body its JSON, in API version (the
// engine's newest when empty). It returns the engine's own status and reply,
// refusals too. An error means what an error of Create means; without a cancel,
// Commit waits half an hour.
func (e *Engine) Commit(ctx context.Context, version, query string, body []byte) (status int, reply []byte, err error) {
	return e.change(ctx, commitTimeout, version, "/commit?"+query, body)
}

// Update changes a container's limits or its restart policy, with exactly the bytes
// of body, which is written in API version (the engine's newest when empty). It
// returns the engine's own status and reply, refusals too. An error means what an
// error of Create means; without a cancel, Update waits two minutes.
func (e *Engine) Update(ctx context.Context, id, version string, body []byte) (status int, reply []byte, err error) {
	defer e.inspected.drop(id)
	return e.change(ctx, changeTimeout, version, "/containers/"+id+"/update", body)
}

// change posts body as JSON and returns the engine's answer as it is.
func (e *Engine) change(ctx context.Context, patience time.Duration, version, path string, body []byte) (status int, reply []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if version == "" {
		d, err := e.speak(ctx)
		if err != nil {
			return 0, nil, err
		}
		version = d.max
	}
	what, _, _ := strings.Cut(path, "?")
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://docker/v"+version+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, fmt.Errorf("post %s: %w", what, err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := e.RoundTripper().RoundTrip(req)
	if err != nil {
		return 0, nil, fmt.Errorf("post %s: %w", what, err)
	}
	defer resp.Body.Close()
	reply, err = io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return 0, nil, fmt.Errorf("read reply to %s: %w", what, err)
	}
	return resp.StatusCode, reply, nil
}

// Remove removes a container by its ID or name, a running one only by force,
// and with it, if volumes is set, its anonymous volumes. See IsNotFound.
func (e *Engine) Remove(ctx context.Context, id string, force, volumes bool) error {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	c, err := e.docker(ctx)
	if err != nil {
		return err
	}
	if err := c.ContainerRemove(ctx, id, container.RemoveOptions{Force: force, RemoveVolumes: volumes}); err != nil {
		return fmt.Errorf("remove container %s: %w", id, err)
	}
	return nil
}

// SetCores moves a container, running or not, onto these CPU ids. No cores
// means that it keeps the ones it has: Docker knows no way back to unpinned.
func (e *Engine) SetCores(ctx context.Context, id string, cores []int) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, err := e.docker(ctx)
	if err != nil {
		return err
	}
	update := container.UpdateConfig{Resources: container.Resources{CpusetCpus: formatCPUs(cores)}}
	if _, err := c.ContainerUpdate(ctx, id, update); err != nil {
		return fmt.Errorf("set cores of container %s: %w", id, err)
	}
	e.inspected.drop(id)
	return nil
}

// IsNotFound reports whether err is the engine's answer that there is no such
// container or image.
func IsNotFound(err error) bool { return errdefs.IsNotFound(err) }
