package cli

import (
	"context"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/go-units"
	"golang.org/x/sync/errgroup"
)

const (
	// statsTimeout bounds one sample; an engine that takes it from the kernel alone
	// needs some milliseconds, an old one two seconds.
	statsTimeout = 3 * time.Second
	// statsHosts and statsPerHost bound how many samples are on their way at once.
	statsHosts, statsPerHost = 16, 4
)

// measured is one container's sample.
type measured struct {
	container.StatsResponse
	known bool // there is one
	gone  bool // there is no such container any more
}

// measure takes a sample of each container. A host that does not answer costs one
// wait: its other containers are not asked for.
func measure(ctx context.Context, cluster *connection, list []containerSummary) []measured {
	samples := make([]measured, len(list))
	onHost := map[string][]int{}
	for i := range list {
		switch c := &list[i]; {
		case c.Ddocker.Unreachable:
		case c.State != container.StateRunning && c.State != container.StatePaused:
			samples[i].known = true // and all of it nothing
		default:
			onHost[c.host()] = append(onHost[c.host()], i)
		}
	}
	var hosts errgroup.Group
	hosts.SetLimit(statsHosts)
	for _, mine := range onHost {
		hosts.Go(func() error {
			var next atomic.Int64
			var silent atomic.Bool
			var asking sync.WaitGroup
			for range min(statsPerHost, len(mine)) {
				asking.Go(func() {
					for !silent.Load() {
						i := int(next.Add(1)) - 1
						if i >= len(mine) {
							return
						}
						if !samples[mine[i]].take(ctx, cluster, list[mine[i]].ID) {
							silent.Store(true)
						}
					}
				})
			}
			asking.Wait()
			return nil
		})
	}
	hosts.Wait()
	return samples
}

// take asks for one sample, and says whether the host answered.
func (m *measured) take(ctx context.Context, cluster *connection, id string) (answered bool) {
	ctx, cancel := context.WithTimeout(ctx, statsTimeout)
	defer cancel()
	err := cluster.get(ctx, "/containers/"+id+"/stats", url.Values{"stream": {"0"}, "one-shot": {"1"}}, &m.StatsResponse)
	m.known, m.gone = err == nil, errdefs.IsNotFound(err)
	return m.known || m.gone
}

// gpuMemory is what containers have in the memory of their cards.
type gpuMemory map[string]*cardMemory

type cardMemory struct {
	bytes int64
	// read: a card of the container told; missing: not of each of its processes.
	read, missing bool
}

// gpuMemory asks for the cards' processes, if any of the containers has a card.
func (u *usage) gpuMemory(ctx context.Context, list []containerSummary) (gpuMemory, error) {
	memory := gpuMemory{}
	for i := range list {
		if len(list[i].Ddocker.GPUs) > 0 && !list[i].Ddocker.Unreachable {
			memory[list[i].ID] = &cardMemory{}
		}
	}
	if len(memory) == 0 {
		return memory, nil
	}
	cards, err := u.cluster.cards(ctx)
	if err != nil {
		return nil, err
	}
	for i := range cards {
		memory.add(&cards[i])
	}
	return memory, nil
}

// add counts what the card's own container has on it.
func (m gpuMemory) add(c *card) {
	if c.Container == nil || c.Used == nil || m[c.Container.ID] == nil {
		return
	}
	mine := m[c.Container.ID]
	mine.read = true
	for _, p := range c.Processes {
		switch {
		case p.Container != c.Container.ID:
		case p.Memory == nil:
			mine.missing = true
		default:
			mine.bytes += *p.Memory
		}
	}
}

func (m gpuMemory) of(c *containerSummary) string {
	mine := m[c.ID]
	switch {
	case mine == nil:
		return "-"
	case !mine.read || mine.missing:
		return "--"
	}
	return units.BytesSize(float64(mine.bytes))
}
