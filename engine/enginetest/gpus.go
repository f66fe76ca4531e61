package enginetest

import (
	"archive/tar"
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
)

// Toolkit is what of NVIDIA's container toolkit is on the machine.
type Toolkit string

// The toolkits. Hook fulfils device requests, and Runtime is the runtime "nvidia",
// which obeys NVIDIA_VISIBLE_DEVICES. None is no toolkit.
const (
	Hook    Toolkit = "hook"
	Runtime Toolkit = "runtime"
	None    Toolkit = "none"
)

const nvidia = "nvidia"

// SetGPUs gives the machine these cards and no others, in the order of their index.
// Containers that run keep what they were given.
func (t *Twin) SetGPUs(uuids ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cfg.GPUs = uuids
}

// SetToolkit changes the toolkit, and restarts the engine as a person does then.
func (t *Twin) SetToolkit(kit Toolkit) {
	t.mu.Lock()
	t.toolkit = kit
	t.mu.Unlock()
	t.Restart()
}

// Visible returns the UUIDs of the cards that each running container was given, by
// the container's ID.
func (t *Twin) Visible() map[string][]string {
	t.mu.Lock()
	defer t.mu.Unlock()
	visible := map[string][]string{}
	for id, b := range t.containers {
		if b.running && len(b.gpus) > 0 {
			visible[id] = slices.Clone(b.gpus)
		}
	}
	return visible
}

// Trials returns the names of the containers with the label of package engine's trials.
func (t *Twin) Trials() (names []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range t.containers {
		if b.config.Labels["ddocker.probe"] != "" {
			names = append(names, b.name)
		}
	}
	return names
}

// asked returns what of GPUs b asks for: UUIDs, indices, or "all".
func (t *Twin) asked(b *box) (ids []string) {
	for _, r := range b.host.DeviceRequests {
		switch {
		case !asksGPU(r):
		case len(r.DeviceIDs) > 0:
			ids = append(ids, r.DeviceIDs...)
		case r.Count < 0:
			ids = append(ids, "all")
		default:
			for i := range r.Count {
				ids = append(ids, strconv.Itoa(i))
			}
		}
	}
	if b.host.Runtime == nvidia {
		for _, v := range b.config.Env {
			if list, ok := strings.CutPrefix(v, "NVIDIA_VISIBLE_DEVICES="); ok && list != "" && list != "void" && list != "none" {
				ids = append(ids, strings.Split(list, ",")...)
			}
		}
	}
	return ids
}

func asksGPU(r container.DeviceRequest) bool {
	return slices.ContainsFunc(r.Capabilities, func(all []string) bool { return slices.Contains(all, "gpu") })
}

// giveGPUs gives b the cards that it asks for, or refuses a start as an engine does
// without the toolkit, or as the toolkit does when there is no such GPU.
func (t *Twin) giveGPUs(b *box) *reply {
	b.gpus = nil
	for _, req := range b.host.DeviceRequests {
		if !t.hooked() || !asksGPU(req) {
			r := refuse(http.StatusInternalServerError, "could not select device driver %q with capabilities: %v", req.Driver, req.Capabilities)
			return &r
		}
	}
	for _, id := range t.asked(b) {
		i, err := strconv.Atoi(id)
		switch {
		case id == "all":
			b.gpus = append(b.gpus, t.cfg.GPUs...)
		case err == nil && i < len(t.cfg.GPUs):
			b.gpus = append(b.gpus, t.cfg.GPUs[i])
		case slices.Contains(t.cfg.GPUs, id):
			b.gpus = append(b.gpus, id)
		default:
			r := refuse(http.StatusInternalServerError, "nvidia-container-cli: device error: %s: unknown device: unknown", id)
			return &r
		}
	}
	return nil
}

// hooked says whether device requests are fulfilled. A machine without cards needs no
// toolkit, unless it is told of one.
func (t *Twin) hooked() bool {
	return t.toolkit == Hook || t.toolkit == "" && len(t.cfg.GPUs) > 0
}

// knowsRuntime refuses a runtime that the engine does not have.
func (t *Twin) knowsRuntime(name string) *reply {
	if name == "" || name == "runc" || name == nvidia && t.toolkit == Runtime {
		return nil
	}
	r := refuse(http.StatusBadRequest, "Unknown runtime specified %s", name)
	return &r
}

// programless refuses to start a container of an image without any file: its program
// cannot be there.
func programless(b *box) *reply {
	for _, l := range b.image.layers {
		if _, err := tar.NewReader(bytes.NewReader(l.tar)).Next(); err == nil {
			return nil
		}
	}
	program := b.command()[0]
	r := refuse(http.StatusBadRequest, "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: %q: stat %s: no such file or directory: unknown", program, program)
	return &r
}
