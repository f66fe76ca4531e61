package engine

import (
	"context"
	"fmt"

	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
)

// CreateNetwork has the engine make a network as the body of Docker's create says, and
// returns the engine's own status and reply, refusals too.
func (e *Engine) CreateNetwork(ctx context.Context, body []byte) (status int, reply []byte, err error) {
	return e.change(ctx, changeTimeout, "", "/networks/create", body)
}

// CreateVolume has the engine make a volume as CreateNetwork does a network. One that
// exists is no error to the engine.
func (e *Engine) CreateVolume(ctx context.Context, body []byte) (status int, reply []byte, err error) {
	return e.change(ctx, changeTimeout, "", "/volumes/create", body)
}

// Networks returns the IDs of the engine's networks by name. Of two of one name it
// returns one.
func (e *Engine) Networks(ctx context.Context) (ids map[string]string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, err := e.docker(ctx)
	if err != nil {
		return nil, err
	}
	list, err := c.NetworkList(ctx, network.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list networks: %w", err)
	}
	ids = map[string]string{}
	for _, n := range list {
		ids[n.Name] = n.ID
	}
	return ids, nil
}

// Volumes returns the names of the engine's volumes, each of which is its ID too.
func (e *Engine) Volumes(ctx context.Context) (ids map[string]string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, err := e.docker(ctx)
	if err != nil {
		return nil, err
	}
	list, err := c.VolumeList(ctx, volume.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	ids = map[string]string{}
	for _, v := range list.Volumes {
		ids[v.Name] = v.Name
	}
	return ids, nil
}

// RemoveNetwork removes a network that no running container is on. See IsNotFound.
func (e *Engine) RemoveNetwork(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	c, err := e.docker(ctx)
	if err != nil {
		return err
	}
	if err := c.NetworkRemove(ctx, id); err != nil {
		return fmt.Errorf("remove network %s: %w", id, err)
	}
	return nil
}

// RemoveVolume removes a volume that no container uses. See IsNotFound.
func (e *Engine) RemoveVolume(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	c, err := e.docker(ctx)
	if err != nil {
		return err
	}
	if err := c.VolumeRemove(ctx, name, false); err != nil {
		return fmt.Errorf("remove volume %s: %w", name, err)
	}
	return nil
}
