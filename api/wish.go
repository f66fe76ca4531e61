package api

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"ddocker/api/options"
	"ddocker/consensus/ledger"
	"ddocker/sched"
	"ddocker/settings"
)

// wish is what of a create body decides where a container can go. Other fields
// pass by as bytes.
type wish struct {
	Image        string
	Labels       map[string]string
	ExposedPorts map[string]struct{}
	HostConfig   struct {
		NanoCpus, CPUQuota, CPUPeriod, Memory int64
		CpusetCpus                            string
		DeviceRequests                        []deviceWish
		PortBindings                          map[string][]portWish
		PublishAllPorts                       bool
		Binds, VolumesFrom, Links             []string
		Mounts                                []struct{ Type, Source, Target string }
		NetworkMode, IpcMode, PidMode         string
	}
	NetworkingConfig struct{ EndpointsConfig map[string]json.RawMessage }
}

type portWish struct{ HostIP, HostPort string }

type deviceWish struct {
	Driver       string
	Count        int
	DeviceIDs    []string
	Capabilities [][]string
	Options      map[string]string
}

func readWish(body []byte) (*wish, error) {
	var w wish
	if err := json.Unmarshal(body, &w); err != nil {
		return nil, fmt.Errorf("read the request: %w", err)
	}
	if w.Image == "" {
		return nil, fmt.Errorf("no image is named")
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
		r.MilliCPU = (h.NanoCpus + 1e6 - 1) / 1e6
	} else if h.CPUQuota > 0 {
		period := h.CPUPeriod
		if period <= 0 {
			period = 100_000 // microseconds, the kernel's default
		}
		r.MilliCPU = (h.CPUQuota*sched.Core + period - 1) / period
	}
	if r.Cores, err = sched.ParseCPUSet(h.CpusetCpus); err != nil {
		return "", r, err
	}
	if h.Memory > 0 {
		r.Memory = h.Memory
	}
	r.Host, r.HostReason = w.Labels[labelNode], ""
	if r.Host != "" {
		r.HostReason = "its label " + labelNode + " says so"
	}
	if err := w.gpus(&r); err != nil {
		return "", r, err
	}
	r.Ports, err = w.ports()
	return typeName, r, err
}

// optionModel is the option of a device request that names a GPU's model.
const optionModel = "model"

func (w *wish) gpus(r *sched.Request) error {
	for _, d := range w.HostConfig.DeviceRequests {
		if d.Driver != "nvidia" && !slices.ContainsFunc(d.Capabilities, func(c []string) bool { return slices.Contains(c, "gpu") }) {
			return fmt.Errorf("device requests other than for GPUs cannot be placed")
		}
		switch {
		case len(d.DeviceIDs) > 0:
			for _, id := range d.DeviceIDs {
				if _, err := strconv.Atoi(id); err == nil {
					return fmt.Errorf("GPU %s is an index, which says nothing in a cluster: name the card by its UUID, see \"ddocker nodes --format json\"", id)
				}
				r.GPUs = append(r.GPUs, sched.GPUWish{UUID: id})
			}
		case d.Count < 0:
			r.AllGPUs = true
		default:
			for range d.Count {
				r.GPUs = append(r.GPUs, sched.GPUWish{Model: d.Options[optionModel]})
			}
		}
	}
	return nil
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

// pin restricts a container to the one host that has what it is tied to: other
// containers, or files of the host that the cluster does not know to be shared.
func (a *API) pin(ctx context.Context, w *wish, overlay *options.Overlay, r *sched.Request) error {
	if other := w.companion(); other != "" {
		t, refusal := a.resolve(ctx, other)
		if refusal != nil {
			return refusal
		}
		return narrow(r, a.hosts.name(t.Node), "container "+other+" is there")
	}
	shared, err := sharedPaths(overlay)
	if err != nil {
		return err
	}
	if local := w.local(shared); local != "" && r.Host == "" {
		return narrow(r, a.cfg.Name, local+" is its own and not known to be on every host (see additional_options in \"ddocker config show\")")
	}
	return nil
}

func narrow(r *sched.Request, host, why string) error {
	if r.Host != "" && r.Host != host {
		return &ledger.Refusal{Code: ledger.Invalid, Message: fmt.Sprintf("host %s is asked for, but only %s will do: %s", r.Host, host, why)}
	}
	r.Host, r.HostReason = host, why
	return nil
}

// companion names a container whose host this one must share.
func (w *wish) companion() string {
	h := &w.HostConfig
	for _, mode := range []string{h.NetworkMode, h.IpcMode, h.PidMode} {
		if name, ok := strings.CutPrefix(mode, "container:"); ok {
			return name
		}
	}
	for _, from := range slices.Concat(h.VolumesFrom, h.Links) {
		name, _, _ := strings.Cut(from, ":")
		return name
	}
	return ""
}

// local names the first thing that the container wants of its host's own.
func (w *wish) local(shared []string) string {
	h := &w.HostConfig
	for _, b := range h.Binds {
		if source, _, ok := strings.Cut(b, ":"); ok && !within(source, shared) {
			return "volume " + source
		}
	}
	for _, m := range h.Mounts {
		if m.Type == "bind" && !within(m.Source, shared) || m.Type == "volume" && m.Source != "" {
			return "volume " + m.Source
		}
	}
	networks := []string{h.NetworkMode}
	for name := range w.NetworkingConfig.EndpointsConfig {
		networks = append(networks, name)
	}
	slices.Sort(networks)
	for _, n := range networks {
		if !slices.Contains([]string{"", "default", "bridge", "host", "none"}, n) {
			return "network " + n
		}
	}
	return ""
}

// sharedPaths are the host's paths that additional_options mount everywhere.
func sharedPaths(overlay *options.Overlay) ([]string, error) {
	body := map[string]json.RawMessage{}
	if err := overlay.Apply(body); err != nil {
		return nil, err
	}
	var w wish
	if err := json.Unmarshal(raw(body), &w); err != nil {
		return nil, fmt.Errorf("read additional_options: %w", err)
	}
	var paths []string
	for _, b := range w.HostConfig.Binds {
		source, _, _ := strings.Cut(b, ":")
		paths = append(paths, source)
	}
	for _, m := range w.HostConfig.Mounts {
		paths = append(paths, m.Source)
	}
	return paths, nil
}

func within(source string, shared []string) bool {
	source = path.Clean(source)
	return slices.ContainsFunc(shared, func(s string) bool {
		s = path.Clean(s)
		return source == s || strings.HasPrefix(source, strings.TrimSuffix(s, "/")+"/")
	})
}
