package engine

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
)

// LabelPlacement is the label that carries the placement a container was
// created for.
const LabelPlacement = "ddocker.placement"

// LabelOwner is the label that says whose a container of the cluster is, also in what
// its engine tells after its end.
const LabelOwner = "ddocker.owner"

// inspectAge bounds how long an outsider's `docker update` may go unseen when
// nobody watches the events.
const inspectAge = time.Minute

// Container is what one container holds of this host, running or not.
type Container struct {
	ID, Name, Image string
	ImageID         string    // the engine's ID of the image it runs, whatever Image means by now
	Created         time.Time // to the second
	Running         bool      // paused and restarting ones run, too
	Fresh           bool      // it was never started
	Placement       string    // label LabelPlacement; empty when made outside the cluster
	Labels          map[string]string
	Cores           []int    // CPU ids it is pinned to, ascending; nil when it is not
	NanoCPUs        int64    // 10⁻⁹ CPUs it may use; 0 is no limit
	CPUQuota        int64    // µs of each period, where NanoCPUs is told in that form
	CPUPeriod       int64    // µs, where it has one
	Memory          int64    // bytes; 0 is no limit
	GPUs            []string // UUIDs or indices as asked for, or "all"
	Ports           []Port   // bound now, or what it will bind when started; sorted
	Networks        []string // that it is on, or will be when started, by name; sorted
}

// Port is a port of the host that leads into a container.
type Port struct {
	Host, Container uint16
	Proto           string // tcp, udp or sctp
	IP              string // host address it is bound to; 0.0.0.0 and :: are any
}

// Containers returns all containers, running or not, newest first. It costs one
// call to list them and one for every container that is new, has changed its
// state, or was last inspected a minute ago. What a container is pinned and
// limited to may therefore be a minute old, and is current while a Watch runs.
// A container that is removed meanwhile is left out, and so is that of a trial: see GPUs.
func (e *Engine) Containers(ctx context.Context) ([]Container, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, err := e.docker(ctx)
	if err != nil {
		return nil, err
	}
	list, err := c.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	all := make([]Container, 0, len(list))
	for _, s := range list {
		if Probing(s.Labels, s.Names, s.State) {
			continue
		}
		d, err := e.demand(ctx, c, s)
		if IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, describe(s, d))
	}
	e.inspected.keep(list)
	return all, nil
}

// demand returns what the listed container was asked to be given.
func (e *Engine) demand(ctx context.Context, c *client.Client, s container.Summary) (demand, error) {
	if d, ok := e.inspected.get(s.ID, s.State, time.Now()); ok {
		return d, nil
	}
	asked := time.Now()
	generation := e.inspected.generation()
	in, err := c.ContainerInspect(ctx, s.ID)
	if err != nil {
		return demand{}, fmt.Errorf("inspect container %s: %w", s.ID, err)
	}
	d, err := demandOf(in)
	if err != nil {
		return demand{}, fmt.Errorf("inspect container %s: %w", s.ID, err)
	}
	e.inspected.put(s.ID, inspection{s.State, asked, d}, generation)
	return d, nil
}

// inspectCache remembers inspections. A drop between asking and remembering
// wins: the generation tells.
type inspectCache struct {
	mu    sync.Mutex // guards what follows
	drops uint64
	byID  map[string]inspection
}

type inspection struct {
	state string
	at    time.Time
	demand
}

func (ic *inspectCache) get(id, state string, now time.Time) (demand, bool) {
	ic.mu.Lock()
	defer ic.mu.Unlock()
	in, ok := ic.byID[id]
	return in.demand, ok && in.state == state && now.Sub(in.at) < inspectAge
}

func (ic *inspectCache) generation() uint64 {
	ic.mu.Lock()
	defer ic.mu.Unlock()
	return ic.drops
}

func (ic *inspectCache) put(id string, in inspection, generation uint64) {
	ic.mu.Lock()
	defer ic.mu.Unlock()
	if ic.drops != generation {
		return
	}
	if ic.byID == nil {
		ic.byID = make(map[string]inspection)
	}
	ic.byID[id] = in
}

// drop forgets one container; by a name that is not its ID, all of them.
func (ic *inspectCache) drop(id string) {
	ic.mu.Lock()
	defer ic.mu.Unlock()
	ic.drops++
	if _, ok := ic.byID[id]; !ok {
		clear(ic.byID)
	}
	delete(ic.byID, id)
}

// keep forgets the containers that are not in list.
func (ic *inspectCache) keep(list []container.Summary) {
	ic.mu.Lock()
	defer ic.mu.Unlock()
	listed := make(map[string]inspection, len(list))
	for _, s := range list {
		if in, ok := ic.byID[s.ID]; ok {
			listed[s.ID] = in
		}
	}
	ic.byID = listed
}
