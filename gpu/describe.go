package gpu

import (
	"fmt"
	"math"
	"math/bits"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// describe reads what does not change of the devices, which n GPUs have.
func (d *driver) describe(devices []device, n int) {
	d.version, _ = ask(d, "nvmlSystemGetDriverVersion", "", d.lib.SystemGetDriverVersion)
	d.cuda = ""
	if v, ret := ask(d, "nvmlSystemGetCudaDriverVersion", "", d.lib.SystemGetCudaDriverVersion); ret == nvml.SUCCESS {
		d.cuda = fmt.Sprintf("%d.%d", v/1000, v%1000/10)
	}
	d.facts = map[string]Card{}
	gpus := make([]peer, n)
	for _, v := range devices {
		model, ret := ask(d, "nvmlDeviceGetName", v.index, v.GetName)
		if ret != nvml.SUCCESS {
			continue
		}
		card := Card{UUID: v.uuid, Index: v.index, Model: model, Of: v.of, NUMA: Unread}
		whole := v.Device
		if v.whole != nil {
			whole = v.whole
			d.describePart(v, &card)
		}
		if gpus[v.gpu].device == nil {
			gpus[v.gpu] = peer{device: whole, bus: d.bus(whole, v.index), links: d.links(whole, v.index)}
		}
		card.Bus = gpus[v.gpu].bus
		card.NUMA = d.numa(whole, card.Bus, v.index)
		d.facts[v.uuid] = card
	}
	d.far = d.measure(gpus)
}

// describePart gives a MIG device its profile, and a model that tells it. New
// drivers name it "NVIDIA A100-SXM4-40GB MIG 3g.20gb".
func (d *driver) describePart(v device, card *Card) {
	const mark = " MIG "
	if _, profile, found := strings.Cut(card.Model, mark); found {
		card.Profile = profile
		return
	}
	attributes, ret := ask(d, "nvmlDeviceGetAttributes", v.index, v.GetAttributes)
	memory, of := d.memory(device{Device: v.whole, index: v.index})
	if ret != nvml.SUCCESS || of != nvml.SUCCESS || memory.Total == 0 {
		return
	}
	card.Profile = profileOf(attributes, memory.Total)
	card.Model += mark + card.Profile
}

// profileOf is the profile's name: the slices of the GPU, before them those that
// it computes with where they are fewer, and its memory, which is cut in eighths.
func profileOf(a nvml.DeviceAttributes, total uint64) string {
	const gb = 1 << 30
	eighths := math.Ceil(float64(a.MemorySizeMB<<20) / float64(total) * 8)
	memory := int(math.Round(eighths / 8 * math.Ceil(float64(total)/gb)))
	name := fmt.Sprintf("%dg.%dgb", a.GpuInstanceSliceCount, memory)
	if a.ComputeInstanceSliceCount != a.GpuInstanceSliceCount {
		name = fmt.Sprintf("%dc.%s", a.ComputeInstanceSliceCount, name)
	}
	return name
}

// bus is the GPU's PCI address; "": it is not told.
func (d *driver) bus(gpu nvml.Device, index string) string {
	pci, ret := ask(d, "nvmlDeviceGetPciInfo", index, gpu.GetPciInfo)
	if ret != nvml.SUCCESS {
		return ""
	}
	return address(pci)
}

// address is what a PCI address reads in NVML; old drivers have the short form only.
func address(pci nvml.PciInfo) string {
	if long := text(pci.BusId[:]); long != "" {
		return long
	}
	return text(pci.BusIdLegacy[:])
}

func text(c []int8) string {
	var b strings.Builder
	for _, char := range c {
		if char == 0 {
			break
		}
		b.WriteByte(byte(char))
	}
	return b.String()
}

// numa is the NUMA node that a PCI address hangs on, as the kernel has it, or else
// the driver; Unread where neither can tell.
func (d *driver) numa(gpu nvml.Device, bus, index string) int {
	if domain, rest, found := strings.Cut(strings.ToLower(bus), ":"); found {
		number, _ := strconv.ParseUint(domain, 16, 32)
		path := filepath.Join(d.sys, "bus/pci/devices", fmt.Sprintf("%04x:%s", number, rest), "numa_node")
		content, err := os.ReadFile(path)
		if n, bad := strconv.Atoi(strings.TrimSpace(string(content))); err == nil && bad == nil && n >= 0 {
			return n
		}
	}
	const mostNodes = 1024 // of Linux
	words, ret := ask(d, "nvmlDeviceGetMemoryAffinity", index, func() ([]uint, nvml.Return) {
		return gpu.GetMemoryAffinity(mostNodes, nvml.AFFINITY_SCOPE_NODE)
	})
	only := Unread
	for i, word := range words {
		if word == 0 {
			continue
		}
		if only != Unread || bits.OnesCount(word) > 1 {
			return Unread // several are as near
		}
		only = i*bits.UintSize + bits.TrailingZeros(word)
	}
	if ret != nvml.SUCCESS {
		return Unread
	}
	return only
}
