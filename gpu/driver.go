package gpu

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// driver is NVML as the child uses it. What does not change is read when a card
// or a MIG device comes or goes, everything else each time.
type driver struct {
	lib   nvml.Interface
	sys   string // where the kernel tells of devices: "/sys"
	procs procs
	has   map[string]bool // functions of the library, as far as asked for
	// current is the call that is under way, or was last.
	current atomic.Pointer[call]

	layout []string        // UUID and index of each card, at the last reading
	facts  map[string]Card // by UUID: what does not change, and the memory as last read
	far    [][]int         // between GPUs by their number; nil: it is not told
	// version and cuda are the driver's.
	version, cuda string
}

// device is a card and how to ask for it.
type device struct {
	nvml.Device
	// whole is the GPU that a MIG device is a part of; nil: it is one itself.
	whole nvml.Device
	of    string // and its UUID
	gpu   int    // the GPU's number
	uuid  string
	index string
}

func newDriver(lib nvml.Interface, proc, sys string) *driver {
	d := &driver{lib: lib, sys: sys, procs: newProcs(proc), has: map[string]bool{}}
	d.current.Store(&call{"nvmlInit", ""})
	return d
}

func (d *driver) start() nvml.Return { return d.lib.Init() }

// call is a call into the driver's library.
type call struct{ function, card string }

// String says what is called, for people.
func (c *call) String() string {
	if c.card == "" {
		return c.function
	}
	return c.function + " of card " + c.card
}

// ask calls a function of the library for a card. One that the library lacks must
// not be called, as that ends the process: it counts as not found.
func ask[T any](d *driver, function, card string, f func() (T, nvml.Return)) (T, nvml.Return) {
	if !d.can(function) {
		var none T
		return none, nvml.ERROR_FUNCTION_NOT_FOUND
	}
	d.current.Store(&call{function, card})
	return f()
}

// can says whether the library has the function, in one of its versions: go-nvml
// takes the newest.
func (d *driver) can(function string) bool {
	has, known := d.has[function]
	if !known {
		has = slices.ContainsFunc([]string{"", "_v2", "_v3"}, func(version string) bool {
			return d.lib.Extensions().LookupSymbol(function+version) == nil
		})
		d.has[function] = has
	}
	return has
}

// read takes one sample of every card. A card that fails is left out.
func (d *driver) read() (report, error) {
	n, ret := ask(d, "nvmlDeviceGetCount", "", d.lib.DeviceGetCount)
	if ret != nvml.SUCCESS {
		return report{}, fmt.Errorf("count cards: %w", ret)
	}
	devices, faults := d.find(n)
	if layout := layoutOf(devices); !slices.Equal(layout, d.layout) {
		d.describe(devices, n)
		d.layout = layout
	}
	r := report{Cards: []Card{}, Driver: d.version, CUDA: d.cuda}
	var kept []int // the GPU's number of each card in r
	for _, v := range devices {
		card, ok := d.facts[v.uuid]
		if !ok {
			faults = append(faults, fmt.Sprintf("card %s: its model cannot be read", v.index))
			d.layout = nil // next time it may
			continue
		}
		if ret := d.sample(v, &card); ret != nvml.SUCCESS {
			faults = append(faults, fmt.Sprintf("card %s: %v", v.index, ret))
			continue
		}
		r.Cards, kept = append(r.Cards, card), append(kept, v.gpu)
	}
	for i := range r.Cards {
		r.Cards[i].Far = d.distances(kept[i], kept)
	}
	r.Error = strings.Join(faults, "; ")
	return r, nil
}

func layoutOf(devices []device) []string {
	layout := make([]string, len(devices))
	for i, v := range devices {
		layout[i] = v.index + " " + v.uuid
	}
	return layout
}

// find opens the n GPUs and their MIG devices, in the order of their index.
func (d *driver) find(n int) (devices []device, faults []string) {
	for i := range n {
		some, err := d.open(i)
		if err != nil {
			faults = append(faults, fmt.Sprintf("card %d: %v", i, err))
		}
		devices = append(devices, some...)
	}
	return devices, faults
}

// open opens a GPU, or the MIG devices that it is cut into. With an error it
// returns those that could be opened.
func (d *driver) open(i int) ([]device, error) {
	index := strconv.Itoa(i)
	whole, ret := ask(d, "nvmlDeviceGetHandleByIndex", index, func() (nvml.Device, nvml.Return) { return d.lib.DeviceGetHandleByIndex(i) })
	if ret != nvml.SUCCESS {
		return nil, fmt.Errorf("open: %w", ret)
	}
	mode, ret := ask(d, "nvmlDeviceGetMigMode", index, func() (int, nvml.Return) {
		mode, _, ret := whole.GetMigMode()
		return mode, ret
	})
	switch ret {
	case nvml.SUCCESS, nvml.ERROR_NOT_SUPPORTED, nvml.ERROR_FUNCTION_NOT_FOUND:
	default: // it may be cut, and is no card then
		return nil, fmt.Errorf("read MIG mode: %w", ret)
	}
	uuid, unread := ask(d, "nvmlDeviceGetUUID", index, whole.GetUUID)
	if unread != nvml.SUCCESS {
		return nil, fmt.Errorf("read UUID: %w", unread)
	}
	if ret == nvml.SUCCESS && mode == nvml.DEVICE_MIG_ENABLE {
		return d.openParts(whole, uuid, i)
	}
	return []device{{Device: whole, gpu: i, uuid: uuid, index: index}}, nil
}

func (d *driver) openParts(whole nvml.Device, of string, i int) (parts []device, err error) {
	index := strconv.Itoa(i)
	most, ret := ask(d, "nvmlDeviceGetMaxMigDeviceCount", index, whole.GetMaxMigDeviceCount)
	if ret != nvml.SUCCESS {
		return nil, fmt.Errorf("count MIG devices: %w", ret)
	}
	for j := range most {
		at := index + ":" + strconv.Itoa(j)
		part, ret := ask(d, "nvmlDeviceGetMigDeviceHandleByIndex", at, func() (nvml.Device, nvml.Return) { return whole.GetMigDeviceHandleByIndex(j) })
		if ret == nvml.ERROR_NOT_FOUND {
			continue // a place where none was made
		}
		if ret != nvml.SUCCESS {
			err = cmp.Or(err, fmt.Errorf("open MIG device %d: %w", j, ret))
			continue
		}
		uuid, ret := ask(d, "nvmlDeviceGetUUID", at, part.GetUUID)
		if ret != nvml.SUCCESS {
			err = cmp.Or(err, fmt.Errorf("read UUID of MIG device %d: %w", j, ret))
			continue
		}
		parts = append(parts, device{Device: part, whole: whole, of: of, gpu: i, uuid: uuid, index: at})
	}
	return parts, err
}

// gone says whether the card is there no more, or of no use before a reset.
func gone(ret nvml.Return) bool {
	return ret == nvml.ERROR_GPU_IS_LOST || ret == nvml.ERROR_RESET_REQUIRED || ret == nvml.ERROR_GPU_NOT_FOUND
}

// sample fills in the readings that the card offers; of memory it is the last one that
// succeeded, as whoever places goes by it. It fails only when the card is gone. Of a MIG
// device the driver tells no utilization; its temperature is that of the GPU, whose
// power it shares with others.
func (d *driver) sample(v device, card *Card) nvml.Return {
	lost := nvml.SUCCESS
	ok := func(ret nvml.Return) bool {
		if gone(ret) {
			lost = ret
		}
		return ret == nvml.SUCCESS
	}
	card.Utilization, card.Temperature, card.Power = Unread, Unread, Unread
	if memory, ret := d.memory(v); ok(ret) {
		card.Memory, card.Used = int64(memory.Total), int64(memory.Used)
		last := d.facts[v.uuid]
		last.Memory, last.Used = card.Memory, card.Used
		d.facts[v.uuid] = last
	}
	heat := v.Device
	if v.whole != nil {
		heat = v.whole
	} else {
		if rates, ret := ask(d, "nvmlDeviceGetUtilizationRates", v.index, v.GetUtilizationRates); ok(ret) {
			card.Utilization = int(rates.Gpu)
		}
		if milliwatts, ret := ask(d, "nvmlDeviceGetPowerUsage", v.index, v.GetPowerUsage); ok(ret) {
			card.Power = int(milliwatts)
		}
	}
	degrees, ret := ask(d, "nvmlDeviceGetTemperature", v.index, func() (uint32, nvml.Return) { return heat.GetTemperature(nvml.TEMPERATURE_GPU) })
	if ok(ret) {
		card.Temperature = int(degrees)
	}
	card.Processes = d.processes(v)
	return lost
}

// memory reads what the card has and what is used; the newer way does not count
// what the driver keeps for itself.
func (d *driver) memory(v device) (nvml.Memory, nvml.Return) {
	if m, ret := ask(d, "nvmlDeviceGetMemoryInfo_v2", v.index, v.GetMemoryInfo_v2); ret == nvml.SUCCESS {
		return nvml.Memory{Total: m.Total, Used: m.Used}, ret
	}
	return ask(d, "nvmlDeviceGetMemoryInfo", v.index, v.GetMemoryInfo)
}
