package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/system"
)

// Capacity is what an engine has to give to containers.
type Capacity struct {
	EngineID      string // the engine's own; cloned machines share it
	EngineVersion string // such as 28.5.2
	Cores         []int  // CPU ids that its containers may use, ascending
	Memory        int64  // bytes
	NVIDIA        bool   // it has a runtime of NVIDIA's, which a container may ask for or get by default
}

// Capacity asks the engine what it has. The cores of an engine on this machine
// are those of its process, as containers inherit them; another engine, or one
// whose process cannot be seen, is believed to have the first of the NCPU it
// tells.
func (e *Engine) Capacity(ctx context.Context) (Capacity, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, err := e.docker(ctx)
	if err != nil {
		return Capacity{}, err
	}
	info, err := c.Info(ctx)
	if err != nil {
		return Capacity{}, fmt.Errorf("ask engine for its capacity: %w", err)
	}
	cores := e.process(ctx).cores()
	if len(cores) == 0 {
		for id := range info.NCPU {
			cores = append(cores, id)
		}
	}
	return Capacity{
		EngineID:      info.ID,
		EngineVersion: info.ServerVersion,
		Cores:         cores,
		Memory:        info.MemTotal,
		NVIDIA:        hasNVIDIA(info.Runtimes),
	}, nil
}

// hasNVIDIA knows NVIDIA's runtimes by name or program: there are several.
func hasNVIDIA(runtimes map[string]system.RuntimeWithStatus) bool {
	for name, r := range runtimes {
		if strings.Contains(name, RuntimeNVIDIA) || strings.Contains(r.Path, RuntimeNVIDIA) {
			return true
		}
	}
	return false
}

// Root is where the engine keeps its images.
type Root struct {
	Dir        string // on the engine's machine, such as /var/lib/docker
	Driver     string // the storage driver, such as overlay2
	Containerd bool   // images are in containerd's store, and Driver is its snapshotter
	Local      bool   // the engine is spoken to on a unix socket, so Dir is likely on this machine
}

// Root asks the engine where it keeps its images.
func (e *Engine) Root(ctx context.Context) (Root, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, err := e.docker(ctx)
	if err != nil {
		return Root{}, err
	}
	info, err := c.Info(ctx)
	if err != nil {
		return Root{}, fmt.Errorf("ask engine for its root: %w", err)
	}
	return Root{
		Dir:    info.DockerRootDir,
		Driver: info.Driver,
		Containerd: slices.ContainsFunc(info.DriverStatus, func(s [2]string) bool {
			return s == [2]string{"driver-type", "io.containerd.snapshotter.v1"}
		}),
		Local: e.local,
	}, nil
}
