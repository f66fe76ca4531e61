package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"

	"ddocker/test/lab"
)

// swarmLabel is what Swarm writes on the containers of a service.
const swarmLabel = "com.docker.swarm.service.name"

// swarm measures Swarm mode of the cluster's engines, without the agents: all three
// manage, one that does not lead is asked, and the container comes to the third.
func (b *bench) swarm(ctx context.Context, c *cluster) (err error) {
	for i := range c.agents {
		if _, err := c.script(ctx, "halt", fmt.Sprint(i+1)); err != nil {
			return err
		}
	}
	s := []*site{c.engine["h1"], c.engine["h2"], c.engine["h3"]}
	if err := c.enlist(ctx, s); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, disband(ctx, s)) }()
	local, err := s[0].ImageInspect(ctx, busybox)
	if err != nil {
		return err
	}
	serve := service{image: local.ID, manager: s[1], engines: s}
	var ours, plain sample
	for i := range 2*b.n + 1 {
		name := fmt.Sprintf("duel-%d", i)
		if err := timed(&ours, func() error { return serve.up(ctx, s[2].name, name) }); err != nil {
			return err
		}
		if err := serve.down(ctx, name); err != nil {
			return err
		}
		took, err := c.plain[0].once(ctx, name, "")
		if err != nil {
			return err
		}
		if plain.add(took.whole()); i == 0 { // to warm up
			ours, plain = sample{}, sample{}
		}
	}
	b.ratio("Swarm mode: service create until it runs ÷ R", ours, plain, 0)
	return b.swarmBurst(ctx, c, serve)
}

// swarmBurst is the burst as services, each of one container.
func (b *bench) swarmBurst(ctx context.Context, c *cluster, serve service) error {
	var ours, plain sample
	for i := range 4 {
		err := timed(&ours, func() error {
			return storm(ctx, func(ctx context.Context, _ int, name string) error { return serve.up(ctx, "", name) })
		})
		for i := range burstSize {
			err = errors.Join(err, serve.manager.ServiceRemove(ctx, burstName(i)))
		}
		if err == nil {
			err = vacant(ctx, serve.engines)
		}
		if err == nil {
			err = timed(&plain, func() error { return storm(ctx, c.straight) })
		}
		if err == nil {
			err = empty(ctx, c.plain)
		}
		if err != nil {
			return err
		}
		if i == 0 { // to warm up
			ours, plain = sample{}, sample{}
		}
	}
	b.ratio("Swarm mode: burst of 60 services, 20 at a time ÷ plain engines", ours, plain, 0)
	return nil
}

// enlist makes a swarm of the engines.
func (c *cluster) enlist(ctx context.Context, s []*site) error {
	at := make([]string, len(s))
	for i, one := range s {
		text, err := os.ReadFile(filepath.Join(c.lab.Dir, one.name, "address"))
		if err != nil {
			return err
		}
		at[i] = strings.TrimSpace(string(text))
	}
	if _, err := s[0].SwarmInit(ctx, swarm.InitRequest{ListenAddr: at[0] + ":2377", AdvertiseAddr: at[0]}); err != nil {
		return fmt.Errorf("begin the swarm: %w", err)
	}
	it, err := s[0].SwarmInspect(ctx)
	if err != nil {
		return err
	}
	for i := 1; i < len(s); i++ {
		err := s[i].SwarmJoin(ctx, swarm.JoinRequest{
			ListenAddr: at[i] + ":2377", AdvertiseAddr: at[i], RemoteAddrs: []string{at[0] + ":2377"}, JoinToken: it.JoinTokens.Manager,
		})
		if err != nil {
			return fmt.Errorf("%s joins the swarm: %w", s[i].name, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return lab.Poll(ctx, func() error {
		nodes, err := s[1].NodeList(ctx, swarm.NodeListOptions{})
		for _, n := range nodes {
			if err == nil && (n.Status.State != swarm.NodeStateReady || n.ManagerStatus == nil || n.ManagerStatus.Reachability != swarm.ReachabilityReachable) {
				err = fmt.Errorf("%s of the swarm is not ready", n.Description.Hostname)
			}
		}
		if err == nil && len(nodes) != len(s) {
			err = fmt.Errorf("%d nodes in the swarm", len(nodes))
		}
		return err
	})
}

// disband has everybody leave the swarm.
func disband(ctx context.Context, s []*site) (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	for _, one := range s {
		err = errors.Join(err, one.SwarmLeave(ctx, true))
	}
	return err
}

// service is how services of one container are made and undone.
type service struct {
	image   string // its ID: of a name Swarm asks the registry every time
	manager *site
	engines []*site
}

// up creates a service on a host or anywhere, and returns when one of the engines
// says that its container has started.
func (s service) up(ctx context.Context, host, name string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	started := make(chan error, len(s.engines))
	for _, e := range s.engines {
		messages, faults := e.Events(ctx, events.ListOptions{Filters: filters.NewArgs(
			filters.Arg("event", "start"), filters.Arg("label", swarmLabel+"="+name))})
		go func() {
			select {
			case <-messages:
				started <- nil
			case err := <-faults:
				started <- err
			}
		}()
	}
	one := uint64(1)
	spec := swarm.ServiceSpec{
		Annotations:  swarm.Annotations{Name: name},
		Mode:         swarm.ServiceMode{Replicated: &swarm.ReplicatedService{Replicas: &one}},
		TaskTemplate: swarm.TaskSpec{ContainerSpec: &swarm.ContainerSpec{Image: s.image, Command: sleeper("").Cmd}},
	}
	if host != "" {
		spec.TaskTemplate.Placement = &swarm.Placement{Constraints: []string{"node.hostname==" + host}}
	}
	if _, err := s.manager.ServiceCreate(ctx, spec, swarm.ServiceCreateOptions{}); err != nil {
		return fmt.Errorf("create service %s: %w", name, err)
	}
	if err := <-started; err != nil {
		return fmt.Errorf("wait for service %s: %w", name, err)
	}
	return nil
}

// down removes a service and waits until its container is gone.
func (s service) down(ctx context.Context, name string) error {
	if err := s.manager.ServiceRemove(ctx, name); err != nil {
		return err
	}
	return vacant(ctx, s.engines)
}

// vacant removes by force what Swarm would take its ten seconds to stop, and returns
// when no container is left.
func vacant(ctx context.Context, engines []*site) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return lab.Poll(ctx, func() error {
		left := 0
		for _, e := range engines {
			list, err := e.ContainerList(ctx, container.ListOptions{All: true})
			if err != nil {
				return err
			}
			for _, one := range list {
				left++
				e.ContainerRemove(ctx, one.ID, noGrace) // Swarm may be faster
			}
		}
		if left > 0 {
			return fmt.Errorf("%d containers are left", left)
		}
		return nil
	})
}
