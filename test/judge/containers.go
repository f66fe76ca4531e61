package judge

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Container is one that an engine has.
type Container struct {
	ID, Name, Host string
	Placement      string // what the cluster calls it; empty: it is not the cluster's
	Running        bool
	Process        int
	Started        string
	Restarts       int
	Cores          string   // of a cpuset; empty: none is its own
	Ports          []string // that it publishes: "25000/tcp"
}

// inspected is what is read of an engine's answer.
type inspected struct {
	ID, Name     string
	RestartCount int
	State        struct {
		Running   bool
		Pid       int
		StartedAt string
	}
	Config     struct{ Labels map[string]string }
	HostConfig struct {
		CpusetCpus   string
		NanoCpus     int64
		PortBindings map[string][]struct{ HostPort string }
	}
}

// Containers returns what all engines have, by ID.
func (j *Judge) Containers(ctx context.Context) (map[string]Container, error) {
	all := map[string]Container{}
	for i, engine := range j.engines {
		var rows []listed
		if err := engine.get(ctx, "/containers/json?all=1", &rows); err != nil {
			return nil, fmt.Errorf("the engine of %s: %w", j.hosts[i].Name(), err)
		}
		for _, r := range rows {
			var in inspected
			if err := engine.get(ctx, "/containers/"+r.ID+"/json", &in); err != nil {
				return nil, fmt.Errorf("the engine of %s: %w", j.hosts[i].Name(), err)
			}
			all[r.ID] = in.container(j.hosts[i].Name())
		}
	}
	return all, nil
}

func (in inspected) container(host string) Container {
	c := Container{
		ID: in.ID, Name: strings.TrimPrefix(in.Name, "/"), Host: host, Placement: in.Config.Labels["ddocker.placement"],
		Running: in.State.Running, Process: in.State.Pid, Started: in.State.StartedAt, Restarts: in.RestartCount,
		Cores: in.HostConfig.CpusetCpus,
	}
	for port, bindings := range in.HostConfig.PortBindings {
		_, proto, _ := strings.Cut(port, "/")
		for _, b := range bindings {
			c.Ports = append(c.Ports, b.HostPort+"/"+proto)
		}
	}
	return c
}

// Touched says which containers that ran before do not run on as the same process. Those
// that somebody stopped or removed in between are not to be among before.
func Touched(before, now map[string]Container) (wrong []string) {
	for _, id := range slices.Sorted(maps.Keys(before)) {
		was, is := before[id], now[id]
		switch {
		case !was.Running:
		case is.ID == "":
			wrong = append(wrong, fmt.Sprintf("%s on %s ran and is gone", was.Name, was.Host))
		case !is.Running:
			wrong = append(wrong, fmt.Sprintf("%s on %s ran and does not any more", was.Name, was.Host))
		case is.Process != was.Process || is.Started != was.Started || is.Restarts != was.Restarts:
			wrong = append(wrong, fmt.Sprintf("%s on %s was process %d since %s, and is %d since %s", was.Name, was.Host, was.Process, was.Started, is.Process, is.Started))
		}
	}
	return wrong
}

// holds remembers who holds what, and says when somebody else does, too.
type holds struct {
	by    map[string]string
	wrong []string
}

func (h *holds) hold(what, who string) {
	if h.by == nil {
		h.by = map[string]string{}
	}
	if other, taken := h.by[what]; taken && other != who {
		h.wrong = append(h.wrong, fmt.Sprintf("%s is held by %s and by %s", what, other, who))
	}
	h.by[what] = who
}
