package cli

import (
	"context"
	"fmt"

	"github.com/docker/docker/api/types/container"
	"github.com/spf13/cobra"
)

// createOptions are the flags of create. What a flag leaves open is asked.
type createOptions struct {
	serviceType, ports, image, name string
	cpus, memory                    string
	gpus                            gpuRequests
	env, volumes, command           []string
}

func newCreate(a *app) *cobra.Command {
	o := &createOptions{}
	c := &cobra.Command{
		Use:   "create [OPTIONS] [IMAGE [COMMAND] [ARG...]]",
		Short: "Create and start a container with a selected type",
		Long: "Create and start a container on a host that has its resources free. An image that\n" +
			"is missing there is brought from another host, or from a registry.\n\n" +
			"What no flag says is asked; Enter takes the default. With --cpus, --memory or\n" +
			"--gpus no type is asked. The container has a terminal, and runs /bin/bash where\n" +
			"neither COMMAND nor the image says otherwise.",
		Example: "  ddocker create\n" +
			"  ddocker create --type 1 --ports 2 --name abc python3_cuda:latest\n" +
			"  ddocker create --cpus 4 --memory 16g --gpus 1:'TITAN Xp' --ports 0 --name abc \\\n" +
			"      -v /home/data:/data nvidia/cuda:10.2-base python train.py",
		Args: func(c *cobra.Command, args []string) error {
			if o.image == "" && len(args) > 0 {
				o.image, args = args[0], args[1:]
			}
			o.command = args
			return nil
		},
		ValidArgsFunction: a.completeNames(1, imageNames),
		RunE:              func(c *cobra.Command, _ []string) error { return refused(a.create(c.Context(), o)) },
	}
	f := c.Flags()
	f.SetInterspersed(false)
	f.StringVar(&o.serviceType, "type", "", "Service type, by name or by number")
	f.StringVar(&o.ports, "ports", "", "Number of ports")
	f.StringVar(&o.image, "image", "", "Image; all arguments are then the command")
	f.StringVar(&o.name, "name", "", "Container name")
	f.StringVar(&o.cpus, "cpus", "", "Number of CPUs, instead of a type")
	f.StringVarP(&o.memory, "memory", "m", "", "Memory limit such as 64g, instead of a type")
	f.Var(&o.gpus, "gpus", gpusUsage)
	f.StringArrayVarP(&o.env, "env", "e", nil, "Set environment variables")
	f.StringArrayVarP(&o.volumes, "volume", "v", nil, "Bind mount a volume")
	c.RegisterFlagCompletionFunc("type", a.completeNames(0, typeNames))
	c.RegisterFlagCompletionFunc("image", a.completeNames(0, imageNames))
	return c
}

// create completes o by questions, then creates and starts the container. On
// a terminal the whole dialogue is on standard output, as the seed's; else
// standard output holds the name alone.
func (a *app) create(ctx context.Context, o *createOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	dialogue := a.Stderr
	if isTerminal(a.Stdout) {
		dialogue = a.Stdout
	}
	if err := a.completeOptions(ctx, cluster, o, dialogue); err != nil {
		return err
	}
	fmt.Fprintln(dialogue, "Start to create")
	if err := a.launch(ctx, cluster, o); err != nil {
		return err
	}
	fmt.Fprintln(a.Stdout, o.name)
	fmt.Fprintln(dialogue, "Successfully created!")
	return nil
}

// launch creates and starts the container. It leaves none behind when it
// fails or the user interrupts it: the creation itself is never abandoned
// half-way, for nobody would know then whether there is something to remove.
func (a *app) launch(ctx context.Context, cluster *connection, o *createOptions) error {
	request, err := a.createRequest(ctx, cluster, o)
	if err != nil {
		return err
	}
	var created container.CreateResponse
	err = a.withImage(ctx, cluster, o.image, func() (err error) {
		created, err = cluster.create(ctx, request, o.name)
		return err
	})
	if err != nil {
		return err
	}
	for _, warning := range created.Warnings {
		fmt.Fprintln(a.Stderr, "WARNING: "+warning)
	}
	if err = ctx.Err(); err == nil {
		err = cluster.start(ctx, created.ID)
	}
	if err == nil {
		return nil
	}
	undo := context.WithoutCancel(ctx)
	if undone := cluster.remove(undo, created.ID, &rmOptions{force: true, volumes: true}); undone != nil {
		a.complain(fmt.Errorf(`container %[1]s is left behind, %[2]s: remove it with "ddocker rm -f %[1]s"`, o.name, describe(undone)))
	}
	return err
}

// create goes on when ctx ends in the middle of it.
func (c *connection) create(ctx context.Context, request container.CreateRequest, name string) (container.CreateResponse, error) {
	if ctx.Err() != nil {
		return container.CreateResponse{}, context.Cause(ctx)
	}
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTimeout)
	defer cancel()
	return c.docker.ContainerCreate(whole, request.Config, request.HostConfig, nil, nil, name)
}

// check refuses wrong flags before anything is asked.
func (o *createOptions) check() error {
	if _, err := numberBelow(maxPorts+1, 0)(o.ports); err != nil {
		return fmt.Errorf("invalid --ports: %w", err)
	}
	_, err := o.resources()
	return err
}
