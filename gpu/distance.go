package gpu

import (
	"strings"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// peer is a GPU among others. Its device is nil where it could not be read.
type peer struct {
	device nvml.Device
	bus    string
	links  map[string]bool // PCI addresses at the other ends of its NVLinks
}

// links finds what is at the other ends of a GPU's NVLinks: other GPUs, or the
// switches between them.
func (d *driver) links(gpu nvml.Device, index string) map[string]bool {
	ends := map[string]bool{}
	for link := range nvml.NVLINK_MAX_LINKS {
		state, ret := ask(d, "nvmlDeviceGetNvLinkState", index, func() (nvml.EnableState, nvml.Return) { return gpu.GetNvLinkState(link) })
		if ret == nvml.ERROR_FUNCTION_NOT_FOUND {
			break
		}
		if ret != nvml.SUCCESS || state != nvml.FEATURE_ENABLED {
			continue
		}
		end, ret := ask(d, "nvmlDeviceGetNvLinkRemotePciInfo", index, func() (nvml.PciInfo, nvml.Return) { return gpu.GetNvLinkRemotePciInfo(link) })
		if at := address(end); ret == nvml.SUCCESS && at != "" {
			ends[strings.ToLower(at)] = true
		}
	}
	return ends
}

// linked says whether NVLinks join the two, directly or by a switch that both hang on.
func linked(a, b peer, gpus map[string]bool) bool {
	if a.links[strings.ToLower(b.bus)] || b.links[strings.ToLower(a.bus)] {
		return true
	}
	for end := range a.links {
		if b.links[end] && !gpus[end] {
			return true
		}
	}
	return false
}

// measure finds the distances between GPUs. A pair of which nothing can be told
// counts as far; nil: nothing is told of any pair.
func (d *driver) measure(gpus []peer) [][]int {
	addresses := map[string]bool{}
	for _, g := range gpus {
		addresses[strings.ToLower(g.bus)] = true
	}
	told := len(gpus) == 1
	far := make([][]int, len(gpus))
	for i := range gpus {
		far[i] = make([]int, len(gpus))
		for j := range i {
			distance := System
			if gpus[i].device != nil && gpus[j].device != nil {
				if n := d.between(gpus[i], gpus[j], addresses); n != Unread {
					distance, told = n, true
				}
			}
			far[i][j], far[j][i] = distance, distance
		}
	}
	if !told {
		return nil
	}
	return far
}

// between is the distance between two GPUs, or Unread.
func (d *driver) between(a, b peer, gpus map[string]bool) int {
	if linked(a, b, gpus) {
		return NVLink
	}
	level, ret := ask(d, "nvmlDeviceGetTopologyCommonAncestor", a.bus, func() (nvml.GpuTopologyLevel, nvml.Return) {
		return a.device.GetTopologyCommonAncestor(b.device)
	})
	if ret != nvml.SUCCESS {
		return Unread
	}
	switch level {
	case nvml.TOPOLOGY_INTERNAL, nvml.TOPOLOGY_SINGLE: // two GPUs of one board share its switch
		return Switch
	case nvml.TOPOLOGY_MULTIPLE:
		return Switches
	case nvml.TOPOLOGY_HOSTBRIDGE:
		return Bridge
	case nvml.TOPOLOGY_NODE:
		return Node
	case nvml.TOPOLOGY_SYSTEM:
		return System
	}
	return Unread
}

// distances are those from a card of one GPU to cards of the given GPUs.
func (d *driver) distances(from int, to []int) []int {
	if d.far == nil {
		return nil
	}
	far := make([]int, len(to))
	for i, gpu := range to {
		far[i] = d.far[from][gpu]
	}
	return far
}
