package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"

	"github.com/docker/docker/api/types/container"
)

// onFar and onPlain are the containers that requests are about: one two machines away
// from whoever asks, and one of a plain engine.
const onFar, onPlain = "on-far", "on-plain"

// side is where the same thing is done: through a node that does not hold the
// container, or on the engine that does.
type side struct {
	*site
	container string
}

// docker runs the docker command against the side, and throws away what it prints.
func (s side) docker(ctx context.Context, out io.Writer, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var fault bytes.Buffer
	cmd := exec.CommandContext(ctx, "docker", append([]string{"-H", "unix://" + s.socket}, args...)...)
	cmd.Stdout, cmd.Stderr = out, &fault
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("docker %v on %s: %w: %s", args, s.name, err, fault.String())
	}
	return nil
}

// sides starts the two containers and returns where they are. They go with end.
func (c *cluster) sides(ctx context.Context) (far, plain side, end func(context.Context) error, err error) {
	far, plain = side{c.entry(), onFar}, side{c.plain[0], onPlain}
	_, err = far.launch(ctx, onFar, c.far())
	if err == nil {
		_, err = plain.launch(ctx, onPlain, "")
	}
	return far, plain, c.clear, err
}

// turns has both sides do the same in turn, n times and once before to warm up; they
// change places every time.
func turns(far, plain side, n int, do func(side) error) (ours, theirs sample, err error) {
	for i := range n + 1 {
		us := func() error { return timed(&ours, func() error { return do(far) }) }
		them := func() error { return timed(&theirs, func() error { return do(plain) }) }
		if i%2 == 1 {
			us, them = them, us
		}
		if err := errors.Join(us(), them()); err != nil {
			return ours, theirs, err
		}
		if i == 0 {
			ours, theirs = sample{}, sample{}
		}
	}
	return ours, theirs, nil
}

// hop measures what it costs to ask a node that does not hold the container.
func (b *bench) hop(ctx context.Context, c *cluster) (err error) {
	far, plain, end, err := c.sides(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end(context.WithoutCancel(ctx))) }()
	for _, quick := range []struct {
		what string
		do   func(side) error
	}{
		{"_ping", func(s side) error { _, err := s.Ping(ctx); return err }},
		{"inspect", func(s side) error { _, err := s.ContainerInspect(ctx, s.container); return err }},
	} {
		ours, theirs, err := turns(far, plain, 30*b.n, quick.do)
		if err != nil {
			return fmt.Errorf("%s: %w", quick.what, err)
		}
		b.limited(quick.what+" through a non-holder, over the plain engine", ours.median()-theirs.median(), "%.2f ms", 2,
			fmt.Sprintf("%s − %s", ours, theirs))
	}
	ours, theirs, err := turns(far, plain, 5*b.n, func(s side) error {
		return s.docker(ctx, nil, "exec", s.container, "true")
	})
	if err != nil {
		return err
	}
	b.ratio("docker exec … true through a non-holder ÷ plain engine", ours, theirs, 1.1)
	if ours, theirs, err = turns(far, plain, 5*b.n, func(s side) error { return s.execTrue(ctx) }); err != nil {
		return err
	}
	b.ratio("  the API calls alone: create, start attached, inspect", ours, theirs, 0)
	return nil
}

// execTrue does what docker exec does, without docker.
func (s side) execTrue(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	made, err := s.ContainerExecCreate(ctx, s.container, container.ExecOptions{Cmd: []string{"true"}, AttachStdout: true, AttachStderr: true})
	if err != nil {
		return err
	}
	attached, err := s.ContainerExecAttach(ctx, made.ID, container.ExecAttachOptions{})
	if err != nil {
		return err
	}
	defer attached.Close()
	if _, err := io.Copy(io.Discard, attached.Reader); err != nil {
		return err
	}
	ended, err := s.ContainerExecInspect(ctx, made.ID)
	if err == nil && (ended.Running || ended.ExitCode != 0) {
		err = fmt.Errorf("true on %s ends with %+v", s.name, ended)
	}
	return err
}
