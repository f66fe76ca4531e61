package cli

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/go-units"
)

// Labels that tell the cluster what Docker's own body has no field for.
const (
	typeLabel  = "ddocker.type"  // name of a service type
	portsLabel = "ddocker.ports" // how many ports, decimal
)

// createRequest is docker's body of POST /containers/create for o.
func (a *app) createRequest(ctx context.Context, cluster *connection, o *createOptions) (container.CreateRequest, error) {
	none := container.CreateRequest{}
	resources, err := o.resources()
	if err != nil {
		return none, err
	}
	env, err := a.environment(nil, o.env)
	if err != nil {
		return none, err
	}
	command := o.command
	if len(command) == 0 {
		err := a.withImage(ctx, cluster, o.image, func() (err error) {
			command, err = cluster.defaultCommand(ctx, o.image)
			return err
		})
		if err != nil {
			return none, err
		}
	}
	config := &container.Config{
		Image:     o.image,
		Cmd:       command,
		Env:       env,
		Tty:       true,
		OpenStdin: true,
		Labels:    map[string]string{portsLabel: o.ports},
		Volumes:   map[string]struct{}{},
	}
	if o.serviceType != "" {
		config.Labels[typeLabel] = o.serviceType
	}
	host := &container.HostConfig{Resources: resources}
	for _, volume := range o.volumes {
		if strings.Contains(volume, ":") {
			host.Binds = append(host.Binds, volume)
		} else {
			config.Volumes[volume] = struct{}{}
		}
	}
	return container.CreateRequest{Config: config, HostConfig: host}, nil
}

// defaultCommand is nil where the image knows what to run, else a shell.
func (c *connection) defaultCommand(ctx context.Context, name string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	image, err := c.docker.ImageInspect(ctx, name)
	if err != nil {
		return nil, err
	}
	if image.Config != nil && len(image.Config.Cmd)+len(image.Config.Entrypoint) > 0 {
		return nil, nil
	}
	return []string{"/bin/bash"}, nil
}

// resources are what --cpus, --memory and --gpus ask for.
func (o *createOptions) resources() (container.Resources, error) {
	var r container.Resources
	if o.cpus != "" {
		cpus, err := strconv.ParseFloat(o.cpus, 64)
		if err != nil || cpus <= 0 || cpus > 1<<20 || math.IsNaN(cpus) {
			return r, fmt.Errorf("invalid --cpus %q: write a number such as 4 or 0.5", o.cpus)
		}
		r.NanoCPUs = int64(math.Round(cpus * 1e9))
	}
	if o.memory != "" {
		bytes, err := units.RAMInBytes(o.memory)
		if err != nil || bytes <= 0 {
			return r, fmt.Errorf("invalid --memory %q: write a size such as 512m or 64g", o.memory)
		}
		r.Memory = bytes
	}
	for i := range o.gpus {
		if one := &o.gpus[i]; one.count != 0 || len(one.devices) > 0 {
			r.DeviceRequests = append(r.DeviceRequests, one.device())
		}
	}
	return r, nil
}
