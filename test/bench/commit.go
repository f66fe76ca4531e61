package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
)

// commit measures how soon a day's work runs on another host: 20 MB are committed
// here, and a container of the new image is created and started there. What a plain
// create takes is taken off.
func (b *bench) commit(ctx context.Context, m *moves) error {
	ours, plain, more := sample{}, sample{}, sample{unit: "s"}
	for i := range b.n + 1 {
		name := fmt.Sprintf("work-%d", i)
		if err := m.work(ctx, name); err != nil {
			return err
		}
		took, err := m.carryOn(ctx, name)
		if err != nil {
			return err
		}
		base, err := m.c.plain[0].once(ctx, name, "")
		if err != nil {
			return err
		}
		if i == 0 { // to warm up
			continue
		}
		ours.add(took)
		plain.add(base.whole())
		more.values = append(more.values, (took - base.whole()).Seconds())
	}
	b.limited("image, commit of 20 MB and create elsewhere until it runs − plain create", more.median(), "%.2f s", 1, fmt.Sprintf("%s − %s", ours, plain))
	return nil
}

// work leaves a container on the source whose command has written 20 random MB.
func (m *moves) work(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	busy := sleeper(m.source().name)
	busy.Cmd = []string{"dd", "if=/dev/urandom", "of=/work", "bs=1000000", "count=20"}
	made, err := m.source().ContainerCreate(ctx, busy, nil, nil, nil, name)
	if err != nil {
		return err
	}
	ended, fault := m.source().ContainerWait(ctx, made.ID, container.WaitConditionNextExit)
	if err := m.source().ContainerStart(ctx, made.ID, container.StartOptions{}); err != nil {
		return err
	}
	select {
	case end := <-ended:
		if end.StatusCode != 0 {
			return fmt.Errorf("dd ends with exit code %d", end.StatusCode)
		}
		return nil
	case err := <-fault:
		return err
	}
}

// carryOn commits the container and runs the image on the first receiver, through an
// agent that is neither's. It leaves nothing.
func (m *moves) carryOn(ctx context.Context, name string) (took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	through, next := m.c.agents[2], name+"-next"
	began := time.Now()
	if _, err := through.ContainerCommit(ctx, name, container.CommitOptions{Reference: name + ":latest"}); err != nil {
		return 0, fmt.Errorf("commit %s: %w", name, err)
	}
	again := sleeper(m.c.agents[1].name)
	again.Image = name + ":latest"
	made, err := through.ContainerCreate(ctx, again, nil, nil, nil, next)
	if err != nil {
		return 0, fmt.Errorf("create from %s: %w", name, err)
	}
	if err := through.ContainerStart(ctx, made.ID, container.StartOptions{}); err != nil {
		return 0, fmt.Errorf("start what was made from %s: %w", name, err)
	}
	took = time.Since(began)
	if err := errors.Join(through.remove(ctx, next), through.remove(ctx, name)); err != nil {
		return 0, err
	}
	if _, err := through.ImageRemove(ctx, name+":latest", image.RemoveOptions{}); err != nil {
		return 0, fmt.Errorf("remove %s: %w", name, err)
	}
	return took, nil
}
