package enginetest

import (
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"
	"github.com/docker/go-units"
)

// list is GET /containers/json, with the filters id, name, label and status.
func (t *Twin) list(c call) reply {
	args, err := filters.FromJSON(c.FormValue("filters"))
	if err != nil {
		return refuse(http.StatusBadRequest, "%v", err)
	}
	all := c.flag("all") || args.Contains("status")
	found := []container.Summary{}
	for _, b := range t.containers {
		if (all || b.running) && b.matches(args) {
			found = append(found, t.boxSummary(b))
		}
	}
	slices.SortFunc(found, func(a, b container.Summary) int {
		return t.containers[b.ID].created.Compare(t.containers[a.ID].created)
	})
	return reply{http.StatusOK, found}
}

func (b *box) matches(args filters.Args) bool {
	return args.Match("id", b.id) && args.Match("name", "/"+b.name) &&
		args.MatchKVList("label", b.config.Labels) && args.ExactMatch("status", b.state())
}

// boxSummary tells of a container; its image by ID when its reference means another one by now.
func (t *Twin) boxSummary(b *box) container.Summary {
	name := b.config.Image
	if now := t.image(name); now == nil || now.id != b.image.id {
		name = b.image.id
	}
	s := container.Summary{
		ID: b.id, Names: []string{"/" + b.name}, Image: name, ImageID: b.image.id,
		Command: strings.Join(b.command(), " "), Created: b.created.Unix(),
		Ports: b.published(), Labels: b.config.Labels, State: b.state(), Status: b.status(),
		NetworkSettings: &container.NetworkSettingsSummary{Networks: t.endpoints(b)},
		Mounts:          []container.MountPoint{},
	}
	if s.Labels == nil {
		s.Labels = map[string]string{}
	}
	s.HostConfig.NetworkMode = "default"
	return s
}

func (b *box) published() []container.Port {
	ports := []container.Port{}
	for inside, outside := range b.ports {
		private := uint16(inside.Int())
		if len(outside) == 0 {
			ports = append(ports, container.Port{PrivatePort: private, Type: inside.Proto()})
		}
		for _, o := range outside {
			public, _ := strconv.ParseUint(o.HostPort, 10, 16) // written by bind
			ports = append(ports, container.Port{IP: o.HostIP, PrivatePort: private, PublicPort: uint16(public), Type: inside.Proto()})
		}
	}
	return ports
}

// inspection is container.InspectResponse, less what moby has deprecated.
type inspection struct {
	*container.ContainerJSONBase
	Mounts          []container.MountPoint
	Config          *container.Config
	NetworkSettings struct {
		Ports    nat.PortMap
		Networks map[string]*network.EndpointSettings
	}
}

// inspect is GET /containers/{id}/json. What it returns is encoded after the
// lock is gone, so it shares nothing that changes.
func (t *Twin) inspect(_ call, b *box) reply {
	host, config := *b.host, *b.config
	in := inspection{
		ContainerJSONBase: &container.ContainerJSONBase{
			ID: b.id, Created: b.created.UTC().Format(time.RFC3339Nano), Name: "/" + b.name,
			Image: b.image.id, Driver: "twin", Platform: "linux",
			ExecIDs: slices.Clone(b.execs), HostConfig: &host,
			State: &container.State{
				Status: b.state(), Running: b.running, Pid: b.pid, ExitCode: b.exit, Error: b.failure,
				StartedAt:  b.started.UTC().Format(time.RFC3339Nano),
				FinishedAt: b.finished.UTC().Format(time.RFC3339Nano),
			},
		},
		Mounts: t.mountPoints(b),
		Config: &config,
	}
	if cmd := b.command(); len(cmd) > 0 {
		in.Path, in.Args = cmd[0], cmd[1:]
	}
	in.NetworkSettings.Ports = nat.PortMap{}
	for inside, outside := range b.ports {
		in.NetworkSettings.Ports[inside] = outside
	}
	in.NetworkSettings.Networks = t.endpoints(b)
	return reply{http.StatusOK, in}
}

// mountPoints are what a container has of the host's, of its own or from others.
func (t *Twin) mountPoints(b *box) []container.MountPoint {
	points := []container.MountPoint{}
	for _, bind := range b.host.Binds {
		if parts := strings.Split(bind, ":"); len(parts) > 1 && strings.HasPrefix(bind, "/") {
			rw := len(parts) < 3 || !slices.Contains(strings.Split(parts[2], ","), "ro")
			points = append(points, container.MountPoint{Type: mount.TypeBind, Source: path.Clean(parts[0]), Destination: path.Clean(parts[1]), RW: rw})
		}
	}
	for _, m := range b.host.Mounts {
		if m.Type == mount.TypeBind {
			points = append(points, container.MountPoint{Type: mount.TypeBind, Source: path.Clean(m.Source), Destination: path.Clean(m.Target), RW: !m.ReadOnly})
		}
	}
	for _, from := range b.host.VolumesFrom {
		ref, _, _ := strings.Cut(from, ":")
		if other, _ := t.lookup(ref); other != nil {
			points = append(points, t.mountPoints(other)...)
		}
	}
	return points
}

func ago(since time.Time) string { return units.HumanDuration(time.Since(since)) }
