package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
)

const (
	copied   = 256 << 20 // bytes of the file that docker cp carries
	logged   = 100 << 20 // bytes that a container has written
	streamed = 256 << 20 // bytes that a docker exec writes
)

// tally is a writer that counts.
type tally int64

// Write counts.
func (c *tally) Write(p []byte) (int, error) {
	*c += tally(len(p))
	return len(p), nil
}

// flow measures how fast bytes come through a node that does not hold the container.
func (b *bench) flow(ctx context.Context, c *cluster) (err error) {
	far, plain, end, err := c.sides(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end(context.WithoutCancel(ctx))) }()
	if err := b.copies(ctx, far, plain); err != nil {
		return err
	}
	return b.streams(ctx, far, plain)
}

// faster adds a row for how fast bytes flow, one side over the other.
func (t *table) faster(what string, bytes int64, ours, plain sample, least float64) {
	speed := func(s sample) sample {
		rate := sample{unit: "MB/s"}
		for _, ms := range s.values {
			rate.values = append(rate.values, float64(bytes)/1e3/ms)
		}
		return rate
	}
	x, y := speed(ours), speed(plain)
	t.atLeast(what, x.median()/y.median(), "%.2f×", least, fmt.Sprintf("%s ÷ %s", x, y))
}

func (b *bench) copies(ctx context.Context, far, plain side) error {
	file, back := filepath.Join(b.dir, "sent"), filepath.Join(b.dir, "back")
	if err := fill(file, copied); err != nil {
		return err
	}
	ours, theirs, err := turns(far, plain, b.n, func(s side) error {
		return s.docker(ctx, nil, "cp", "-q", file, s.container+":/sent")
	})
	if err != nil {
		return err
	}
	b.faster("docker cp of 256 MB into a container, through a non-holder ÷ plain engine", copied, ours, theirs, 0.7)
	if ours, theirs, err = turns(far, plain, b.n, func(s side) error {
		if err := s.docker(ctx, nil, "cp", "-q", s.container+":/sent", back); err != nil {
			return err
		}
		return sized(back, copied)
	}); err != nil {
		return err
	}
	b.faster("docker cp of 256 MB out of a container, through a non-holder ÷ plain engine", copied, ours, theirs, 0.7)
	return errors.Join(os.Remove(file), os.Remove(back))
}

func fill(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, rand.Reader, size)
	return errors.Join(err, f.Close())
}

func sized(path string, size int64) error {
	is, err := os.Stat(path)
	if err == nil && is.Size() != size {
		err = fmt.Errorf("%s has %d bytes, not %d", path, is.Size(), size)
	}
	return err
}

func (b *bench) streams(ctx context.Context, far, plain side) error {
	ours, theirs, err := turns(far, plain, b.n, func(s side) error {
		return s.flows(ctx, streamed, "exec", s.container, "dd", "if=/dev/zero", "bs=1M", fmt.Sprint("count=", streamed>>20))
	})
	if err != nil {
		return err
	}
	b.faster("docker exec that writes 256 MB, through a non-holder ÷ plain engine", streamed, ours, theirs, 0.7)
	for _, s := range []side{far, plain} {
		if err := s.writer(ctx); err != nil {
			return err
		}
	}
	if ours, theirs, err = turns(far, plain, b.n, func(s side) error {
		return s.flows(ctx, logged, "logs", s.container+"-logs")
	}); err != nil {
		return err
	}
	b.faster("docker logs of 100 MB, through a non-holder ÷ plain engine", logged, ours, theirs, 0.7)
	return nil
}

// flows runs docker and counts what it prints.
func (s side) flows(ctx context.Context, bytes int64, args ...string) error {
	var got tally
	err := s.docker(ctx, &got, args...)
	if err == nil && int64(got) != bytes {
		err = fmt.Errorf("docker %v on %s prints %d bytes, not %d", args, s.name, got, bytes)
	}
	return err
}

// writer runs a container beside the side's own until it has written lines of 8 KiB,
// logged in all.
func (s side) writer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	made := sleeper("")
	if s.container == onFar {
		in, err := s.ContainerInspect(ctx, s.container)
		if err != nil {
			return err
		}
		made = sleeper(in.Config.Labels["ddocker.node"])
	}
	line := strings.Repeat("x", 8191)
	made.Cmd = []string{"busybox", "sh", "-c", fmt.Sprintf("busybox yes %s | busybox head -n %d", line, logged>>13)}
	if _, err := s.ContainerCreate(ctx, made, nil, nil, nil, s.container+"-logs"); err != nil {
		return err
	}
	ended, fault := s.ContainerWait(ctx, s.container+"-logs", container.WaitConditionNextExit)
	if err := s.ContainerStart(ctx, s.container+"-logs", container.StartOptions{}); err != nil {
		return err
	}
	select {
	case <-ended:
		return pause(ctx, time.Second) // the engine writes the last lines
	case err := <-fault:
		return err
	}
}
