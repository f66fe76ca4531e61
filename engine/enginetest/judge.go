package enginetest

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/docker/docker/api/types/container"
)

// judge records what b, which runs, holds together with another that runs.
func (t *Twin) judge(b *box) {
	cores, _ := cpuset(b.host.CpusetCpus) // checked when it was set
	gpus := t.gpus(b)
	for _, other := range t.containers {
		if other == b || !other.running {
			continue
		}
		theirs, _ := cpuset(other.host.CpusetCpus)
		for _, core := range cores {
			if slices.Contains(theirs, core) {
				t.violate("core", core, b, other)
			}
		}
		held := t.gpus(other)
		for _, gpu := range gpus {
			if slices.Contains(held, gpu) {
				t.violate("GPU", gpu, b, other)
			}
		}
	}
	t.judgePorts(b)
}

// judgePorts looks for what choose must have prevented.
func (t *Twin) judgePorts(b *box) {
	for _, p := range b.held {
		for _, mine := range t.bound[p] {
			for _, other := range t.bound[p] {
				if mine.by == b && other.by != b && overlap(mine.ip, other.ip) {
					t.violate("port", fmt.Sprintf("%d/%s", p.port, p.proto), b, other.by)
				}
			}
		}
	}
}

func (t *Twin) violate(kind string, what any, a, b *box) {
	t.violations = append(t.violations, fmt.Sprintf("%s %v is held by %s and %s", kind, what, a.name, b.name))
}

// gpus returns the UUIDs that b asks for.
func (t *Twin) gpus(b *box) []string {
	var ids []string
	for _, r := range b.host.DeviceRequests {
		switch {
		case !asksGPU(r):
		case len(r.DeviceIDs) > 0:
			ids = append(ids, r.DeviceIDs...)
		case r.Count < 0:
			ids = append(ids, t.cfg.GPUs...)
		default:
			ids = append(ids, t.cfg.GPUs[:min(r.Count, len(t.cfg.GPUs))]...)
		}
	}
	return ids
}

func asksGPU(r container.DeviceRequest) bool {
	return slices.ContainsFunc(r.Capabilities, func(all []string) bool { return slices.Contains(all, "gpu") })
}

// checkGPUs refuses a start as an engine does without the toolkit, or as the
// toolkit does when there is no such GPU.
func (t *Twin) checkGPUs(b *box) *reply {
	for _, req := range b.host.DeviceRequests {
		if len(t.cfg.GPUs) == 0 || !asksGPU(req) {
			r := refuse(http.StatusInternalServerError, "could not select device driver %q with capabilities: %v", req.Driver, req.Capabilities)
			return &r
		}
	}
	for _, id := range t.gpus(b) {
		if !slices.Contains(t.cfg.GPUs, id) {
			r := refuse(http.StatusInternalServerError, "nvidia-container-cli: device error: %s: unknown device: unknown", id)
			return &r
		}
	}
	return nil
}
