package enginetest

import (
	"net/http"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/system"
)

func (t *Twin) ping(call) reply { return reply{http.StatusOK, "OK"} }

func (t *Twin) version(call) reply {
	return reply{http.StatusOK, types.Version{
		Components: []types.ComponentVersion{{
			Name: "Engine", Version: t.cfg.EngineVersion,
			Details: map[string]string{"ApiVersion": t.cfg.API, "MinAPIVersion": t.cfg.MinAPI, "Os": "linux", "Arch": "amd64"},
		}},
		Version: t.cfg.EngineVersion, APIVersion: t.cfg.API, MinAPIVersion: t.cfg.MinAPI,
		Os: "linux", Arch: "amd64",
	}}
}

func (t *Twin) info(call) reply {
	info := system.Info{
		ID: t.id, Name: t.cfg.Name, ServerVersion: t.cfg.EngineVersion,
		NCPU: t.cfg.NCPU, MemTotal: t.cfg.Memory,
		OSType: "linux", Architecture: "x86_64", Driver: "twin", DockerRootDir: "/var/lib/twin",
		Containers: len(t.containers), Images: len(t.images),
		Runtimes:       map[string]system.RuntimeWithStatus{"runc": {}},
		DefaultRuntime: "runc", LiveRestoreEnabled: true,
		Swarm: swarm.Info{LocalNodeState: swarm.LocalNodeStateInactive},
	}
	if t.toolkit == Runtime {
		info.Runtimes[nvidia] = system.RuntimeWithStatus{}
	}
	for _, b := range t.containers {
		switch {
		case b.running:
			info.ContainersRunning++
		default:
			info.ContainersStopped++
		}
	}
	return reply{http.StatusOK, info}
}
