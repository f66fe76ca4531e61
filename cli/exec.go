package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/docker/cli/pkg/kvfile"
	"github.com/docker/docker/api/types/container"
	"github.com/spf13/cobra"
)

type execOptions struct {
	interactive, tty, detach, privileged bool
	user, workdir, detachKeys            string
	env, envFiles                        []string
}

func newExec(a *app) *cobra.Command {
	o := &execOptions{}
	c := &cobra.Command{
		Use:   "exec [OPTIONS] CONTAINER [COMMAND] [ARG...]",
		Short: "Access in container, or execute a command in it",
		Long: "Execute a command in a running container, on whichever host it runs.\n\n" +
			"Without a command it is an interactive /bin/bash.",
		Example: "  ddocker exec abc\n" +
			"  ddocker exec -it abc sh\n" +
			"  ddocker exec -e EPOCHS=3 -w /src abc python train.py",
		Args:              named(1, -1, 1),
		ValidArgsFunction: a.completeNames(1, runningNames),
		RunE: func(c *cobra.Command, args []string) error {
			return a.exec(c.Context(), o, args[0], args[1:])
		},
	}
	f := c.Flags()
	f.SetInterspersed(false)
	f.BoolVarP(&o.interactive, "interactive", "i", false, "Keep STDIN open even if not attached")
	f.BoolVarP(&o.tty, "tty", "t", false, "Allocate a pseudo-TTY")
	f.BoolVarP(&o.detach, "detach", "d", false, "Detached mode: run command in the background")
	f.BoolVar(&o.privileged, "privileged", false, "Give extended privileges to the command")
	f.StringVarP(&o.user, "user", "u", "", `Username or UID (format: "<name|uid>[:<group|gid>]")`)
	f.StringVarP(&o.workdir, "workdir", "w", "", "Working directory inside the container")
	f.StringVar(&o.detachKeys, "detach-keys", "", "Override the key sequence for detaching a container")
	f.StringArrayVarP(&o.env, "env", "e", nil, "Set environment variables")
	f.StringArrayVar(&o.envFiles, "env-file", nil, "Read in a file of environment variables")
	return c
}

func (a *app) exec(ctx context.Context, o *execOptions, name string, command []string) error {
	if len(command) == 0 {
		command = []string{"/bin/bash"}
		o.interactive, o.tty = true, o.tty || isTerminal(a.Stdin)
	}
	config, err := a.execConfig(o, command)
	if err != nil {
		return err
	}
	keys, err := detachKeys(o.detachKeys)
	if err != nil {
		return err
	}
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	id, err := cluster.createExec(ctx, name, config)
	if err != nil {
		return err // docker's exec ends with 1 then, as its run would with 125
	}
	if o.detach {
		return refused(cluster.startExec(ctx, id, config.Tty))
	}
	err = a.attachExec(ctx, cluster, id, config, keys)
	if errors.Is(err, errDetached) {
		return nil
	}
	if err != nil {
		return refused(err)
	}
	return cluster.execResult(ctx, id)
}

// execConfig is docker's body of POST /containers/NAME/exec.
func (a *app) execConfig(o *execOptions, command []string) (container.ExecOptions, error) {
	if o.tty && o.interactive && !o.detach && !isTerminal(a.Stdin) {
		return container.ExecOptions{}, errors.New("the input device is not a TTY: leave -t away to pipe input into a container")
	}
	env, err := a.environment(o.envFiles, o.env)
	if err != nil {
		return container.ExecOptions{}, exitError{125, err}
	}
	return container.ExecOptions{
		User:         o.user,
		Privileged:   o.privileged,
		Tty:          o.tty,
		ConsoleSize:  a.consoleSize(),
		AttachStdin:  o.interactive && !o.detach,
		AttachStdout: !o.detach,
		AttachStderr: !o.detach,
		DetachKeys:   o.detachKeys,
		Env:          env,
		WorkingDir:   o.workdir,
		Cmd:          command,
	}, nil
}

// environment joins files of NAME=VALUE lines and single settings. A name
// alone takes the value of the user's own variable.
func (a *app) environment(files, settings []string) ([]string, error) {
	lookup := func(name string) (string, bool) {
		value := a.Getenv(name)
		return value, value != ""
	}
	var env []string
	for _, file := range files {
		lines, err := kvfile.Parse(file, lookup)
		if err != nil {
			return nil, fmt.Errorf("read --env-file: %w", err)
		}
		env = append(env, lines...)
	}
	for _, setting := range settings {
		name, _, given := strings.Cut(setting, "=")
		if name == "" {
			return nil, fmt.Errorf("invalid environment variable: %s", setting)
		}
		if value, ok := lookup(name); !given && ok {
			setting = name + "=" + value
		}
		env = append(env, setting)
	}
	return env, nil
}

func (a *app) attachExec(ctx context.Context, cluster *connection, id string, config container.ExecOptions, keys []byte) error {
	conn, err := cluster.docker.ContainerExecAttach(ctx, id,
		container.ExecAttachOptions{Tty: config.Tty, ConsoleSize: config.ConsoleSize})
	if err != nil {
		return err
	}
	return a.join(ctx, stream{
		conn:       conn,
		stdin:      config.AttachStdin,
		tty:        config.Tty,
		detachKeys: keys,
		resize: func(ctx context.Context, height, width uint) error {
			ctx, cancel := context.WithTimeout(ctx, readTimeout)
			defer cancel()
			return cluster.docker.ContainerExecResize(ctx, id, container.ResizeOptions{Height: height, Width: width})
		},
	})
}

func (c *connection) createExec(ctx context.Context, name string, config container.ExecOptions) (id string, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	created, err := c.docker.ContainerExecCreate(ctx, name, config)
	return created.ID, err
}

func (c *connection) startExec(ctx context.Context, id string, tty bool) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return c.docker.ContainerExecStart(ctx, id, container.ExecStartOptions{Detach: true, Tty: tty})
}

// execResult passes the exit code of the process on.
func (c *connection) execResult(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	result, err := c.docker.ContainerExecInspect(ctx, id)
	if err != nil {
		return refused(err)
	}
	if result.ExitCode != 0 {
		return exitError{code: result.ExitCode}
	}
	return nil
}
