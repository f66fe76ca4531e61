package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
)

// Event is one thing that happened in the engine.
type Event struct {
	Kind   string // container, image, network or volume
	Action string // Docker's word: create, start, die, destroy, update, pull, …
	ID     string // of the container, image, network or volume
	Name   string // the container's or network's name, or the image's reference
}

// Watch calls each for every event of containers and images, and for every network and
// volume that is made or removed, since the moment of the call, in order, and returns when ctx ends or the stream breaks, always
// with the reason. Connecting again is the caller's, and so is to list once
// more then: events between two Watches are lost. While each runs, no further
// event is read; an engine drops the events of a reader that is too slow.
func (e *Engine) Watch(ctx context.Context, each func(Event)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Docker answers before it subscribes; since closes that gap.
	since := time.Now()
	c, err := e.docker(ctx)
	if err != nil {
		return err
	}
	answer := time.AfterFunc(callTimeout, cancel) // for the stream to begin
	stream, errs := c.Events(ctx, events.ListOptions{
		Since: fmt.Sprintf("%d.%09d", since.Unix(), since.Nanosecond()),
		Filters: filters.NewArgs(
			filters.Arg("type", string(events.ContainerEventType)),
			filters.Arg("type", string(events.ImageEventType)),
			filters.Arg("type", string(events.NetworkEventType)),
			filters.Arg("type", string(events.VolumeEventType))),
	})
	if !answer.Stop() {
		return errors.New("watch engine: no answer")
	}
	for {
		select {
		case m := <-stream:
			if m.Action == events.ActionUpdate {
				e.inspected.drop(m.Actor.ID)
			}
			if m.Type == events.NetworkEventType || m.Type == events.VolumeEventType {
				if m.Action != events.ActionCreate && m.Action != events.ActionDestroy {
					continue // every start of a container connects and mounts
				}
			}
			each(Event{Kind: string(m.Type), Action: string(m.Action), ID: m.Actor.ID, Name: m.Actor.Attributes["name"]})
		case err := <-errs:
			e.forget()
			return fmt.Errorf("watch engine: %w", err)
		}
	}
}
