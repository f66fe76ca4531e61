package engine

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/go-connections/nat"
)

// demand is what a container was asked to be given, running or not.
type demand struct {
	cores    []int
	nanoCPUs int64
	quota    int64
	period   int64
	memory   int64
	gpus     []string
	ports    []Port // with a fixed host port; the engine chooses the others at start
}

func demandOf(in container.InspectResponse) (demand, error) {
	h := in.HostConfig
	cores, err := parseCPUs(h.CpusetCpus)
	if err != nil {
		return demand{}, err
	}
	return demand{
		cores:    cores,
		nanoCPUs: cpuLimit(h.Resources),
		quota:    h.CPUQuota,
		period:   h.CPUPeriod,
		memory:   h.Memory,
		gpus:     gpusOf(in),
		ports:    portsAsked(h.PortBindings),
	}, nil
}

// cpuLimit returns the limit in 10⁻⁹ CPUs, whichever of its two forms was used.
func cpuLimit(r container.Resources) int64 {
	if r.NanoCPUs != 0 || r.CPUQuota <= 0 {
		return r.NanoCPUs
	}
	period := cmp.Or(r.CPUPeriod, 100_000) // the kernel's default, in µs
	return r.CPUQuota * 1_000_000_000 / period
}

// gpusOf reads both ways to GPUs: device requests and, under the nvidia
// runtime alone, the variable that it obeys. Images set the variable, too, and
// without that runtime it gives nothing.
func gpusOf(in container.InspectResponse) []string {
	var gpus []string
	for _, r := range in.HostConfig.DeviceRequests {
		gpus = append(gpus, requestedGPUs(r)...)
	}
	if strings.HasPrefix(in.HostConfig.Runtime, RuntimeNVIDIA) && in.Config != nil {
		for _, v := range in.Config.Env {
			if list, ok := strings.CutPrefix(v, VisibleDevices+"="); ok {
				gpus = append(gpus, visibleDevices(list)...)
			}
		}
	}
	slices.Sort(gpus)
	return slices.Compact(gpus)
}

func requestedGPUs(r container.DeviceRequest) []string {
	wants := slices.ContainsFunc(r.Capabilities, func(all []string) bool { return slices.Contains(all, "gpu") })
	switch {
	case !wants && r.Driver != "nvidia" && r.Driver != "cdi":
		return nil
	case len(r.DeviceIDs) > 0:
		var ids []string
		for _, id := range r.DeviceIDs {
			kind, name, cdi := strings.Cut(id, "=")
			if !cdi {
				name = id
			} else if kind != "nvidia.com/gpu" {
				continue
			}
			ids = append(ids, name)
		}
		return ids
	case r.Count < 0:
		return []string{"all"}
	}
	var ids []string
	for i := range r.Count { // Docker gives the first ones
		ids = append(ids, strconv.Itoa(i))
	}
	return ids
}

func visibleDevices(list string) []string {
	switch list {
	case "", "none", "void":
		return nil
	}
	return strings.Split(list, ",")
}

func portsAsked(bindings nat.PortMap) []Port {
	var ports []Port
	for inside, outside := range bindings {
		for _, b := range outside {
			host, err := strconv.ParseUint(b.HostPort, 10, 16)
			if err != nil || host == 0 {
				continue
			}
			ports = append(ports, Port{uint16(host), uint16(inside.Int()), inside.Proto(), cmp.Or(b.HostIP, "0.0.0.0")})
		}
	}
	return sortPorts(ports)
}

func portsBound(list []container.Port) []Port {
	var ports []Port
	for _, p := range list {
		if p.PublicPort != 0 {
			ports = append(ports, Port{p.PublicPort, p.PrivatePort, p.Type, p.IP})
		}
	}
	return sortPorts(ports)
}

func sortPorts(ports []Port) []Port {
	slices.SortFunc(ports, func(a, b Port) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Proto, b.Proto),
			cmp.Compare(a.IP, b.IP), cmp.Compare(a.Container, b.Container))
	})
	return slices.Compact(ports)
}

// describe joins what the list knows, which is fresh, with what inspect knew,
// which others share.
func describe(s container.Summary, d demand) Container {
	c := Container{
		ID: s.ID, Image: s.Image, ImageID: s.ImageID, Created: time.Unix(s.Created, 0),
		Placement: s.Labels[LabelPlacement], Labels: s.Labels,
		Cores: slices.Clone(d.cores), NanoCPUs: d.nanoCPUs, CPUQuota: d.quota, CPUPeriod: d.period, Memory: d.memory,
		GPUs: slices.Clone(d.gpus), Ports: slices.Clone(d.ports),
	}
	if s.NetworkSettings != nil {
		c.Networks = slices.Sorted(maps.Keys(s.NetworkSettings.Networks))
	}
	for _, name := range s.Names { // links add names with a second slash
		if name = strings.TrimPrefix(name, "/"); !strings.Contains(name, "/") {
			c.Name = name
		}
	}
	switch s.State {
	case container.StateCreated:
		c.Fresh = true
	case container.StateRunning, container.StatePaused:
		c.Running, c.Ports = true, portsBound(s.Ports)
	case container.StateRestarting: // between two runs its ports are free and soon its own again
		c.Running = true
	}
	return c
}
