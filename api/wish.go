package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"ddocker/sched"
	"ddocker/settings"
)

// wish is what of a create body decides where a container can go. Other fields
// pass by as bytes.
type wish struct {
	Image string
	besideHost
	Labels       map[string]string
	ExposedPorts map[string]struct{}
	HostConfig   struct {
		NanoCpus, CPUQuota, CPUPeriod, Memory int64
		CpusetCpus                            string
		DeviceRequests                        []deviceWish
		PortBindings                          map[string][]portWish
		PublishAllPorts                       bool
		Binds, VolumesFrom, Links             []string
		Mounts                                []mountWish
		NetworkMode, IpcMode, PidMode         string
		devicesBeside
	}
	NetworkingConfig struct{ EndpointsConfig map[string]json.RawMessage }
}

// besideHost are limits that older engines also took from beside HostConfig. Whoever
// gives them there is told so: without them the container would have none.
type besideHost struct {
	Memory, MemorySwap int64
	CpusetCpus, Cpuset string
}

type mountWish struct{ Type, Source, Target string }

type portWish struct{ HostIP, HostPort string }

func readWish(body []byte) (*wish, error) {
	var w wish
	if err := json.Unmarshal(body, &w); err != nil {
		return nil, fmt.Errorf("read the request: %w", err)
	}
	if w.Image == "" {
		return nil, fmt.Errorf("no image is named")
	}
	if w.Memory != 0 || w.MemorySwap != 0 || w.CpusetCpus+w.Cpuset != "" {
		return nil, fmt.Errorf("limits of memory and cores stand in HostConfig, not beside it")
	}
	return &w, nil
}

// request turns the wish into what a host must have. A type comes first; what
// the body says itself takes its place.
func (w *wish) request(s settings.Settings) (typeName string, r sched.Request, err error) {
	if name, ok := w.Labels[labelType]; ok {
		t, err := s.Type(name)
		if err != nil {
			return "", r, err
		}
		typeName, r.MilliCPU, r.Memory = t.Name, int64(t.Cores)*sched.Core, t.Memory
		for _, model := range t.GPUs {
			r.GPUs = append(r.GPUs, sched.GPUWish{Model: model})
		}
	}
	h := &w.HostConfig
	if h.NanoCpus > 0 {
		r.MilliCPU = sched.Thousandths(h.NanoCpus)
	} else if h.CPUQuota > 0 {
		r.MilliCPU = sched.QuotaThousandths(h.CPUQuota, h.CPUPeriod)
	}
	if r.Cores, err = sched.ParseCPUSet(h.CpusetCpus); err != nil {
		return "", r, invalid("Invalid value %s for cpuset cpus: invalid format: %s", h.CpusetCpus, h.CpusetCpus) // as engines say it
	}
	if h.Memory > 0 {
		r.Memory = h.Memory
	}
	if err := w.gpus(&r); err != nil {
		return "", r, err
	}
	if err := w.rawCards(); err != nil {
		return "", r, err
	}
	r.Ports, err = w.ports()
	return typeName, r, err
}

// expose adds ports to those that the container exposes.
func (w *wish) expose(ports map[string]struct{}) {
	if w.ExposedPorts == nil {
		w.ExposedPorts = map[string]struct{}{}
	}
	maps.Copy(w.ExposedPorts, ports)
}

// ports lists the ports of the host that the container wants: those that the
// body binds, and as many as its label asks for.
func (w *wish) ports() ([]sched.PortWish, error) {
	var wishes []sched.PortWish
	bound := w.HostConfig.PortBindings
	for key, bindings := range bound {
		number, proto, err := splitPort(key)
		if err != nil {
			return nil, err
		}
		if len(bindings) == 0 {
			bindings = []portWish{{}}
		}
		for _, b := range bindings {
			host, err := strconv.ParseUint("0"+b.HostPort, 10, 16)
			if err != nil {
				return nil, fmt.Errorf("host port %q is no port: name one, or none to have one chosen", b.HostPort)
			}
			wishes = append(wishes, sched.PortWish{IP: b.HostIP, Host: uint16(host), Container: number, Proto: proto})
		}
	}
	if w.HostConfig.PublishAllPorts {
		for key := range w.ExposedPorts {
			if _, ok := bound[key]; ok {
				continue
			}
			number, proto, err := splitPort(key)
			if err != nil {
				return nil, err
			}
			wishes = append(wishes, sched.PortWish{Container: number, Proto: proto})
		}
	}
	slices.SortFunc(wishes, func(a, b sched.PortWish) int { // maps have no order, requests should
		return strings.Compare(fmt.Sprintf("%05d/%s %s %d", a.Container, a.Proto, a.IP, a.Host), fmt.Sprintf("%05d/%s %s %d", b.Container, b.Proto, b.IP, b.Host))
	})
	more, err := strconv.ParseUint("0"+w.Labels[labelPorts], 10, 16)
	if err != nil || more > maxPorts {
		return nil, fmt.Errorf("%q is no number of ports from 0 to %d", w.Labels[labelPorts], maxPorts)
	}
	for range more {
		wishes = append(wishes, sched.PortWish{Proto: "tcp"})
	}
	return wishes, nil
}

// maxPorts bounds the ports that one container may have chosen for it.
const maxPorts = 1000

func splitPort(key string) (number uint16, proto string, err error) {
	text, proto, ok := strings.Cut(key, "/")
	if !ok || proto == "" {
		proto = "tcp"
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, "", fmt.Errorf("invalid port specification: %q", key)
	}
	return uint16(n), strings.ToLower(proto), nil
}
