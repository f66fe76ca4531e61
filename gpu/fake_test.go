package gpu

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxa100"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/server"
)

// host is an NVML with the given cards; nil is one that is lost. A method that no
// test expects panics. The library has every function but those that it lacks.
func host(cards ...nvml.Device) *mock.Interface {
	return &mock.Interface{
		InitFunc:                       func() nvml.Return { return nvml.SUCCESS },
		ExtensionsFunc:                 func() nvml.ExtendedInterface { return symbols(func(string) bool { return true }) },
		SystemGetDriverVersionFunc:     func() (string, nvml.Return) { return "550.54.15", nvml.SUCCESS },
		SystemGetCudaDriverVersionFunc: func() (int, nvml.Return) { return 12040, nvml.SUCCESS },
		DeviceGetCountFunc:             func() (int, nvml.Return) { return len(cards), nvml.SUCCESS },
		DeviceGetHandleByIndexFunc: func(i int) (nvml.Device, nvml.Return) {
			if cards[i] == nil {
				return nil, nvml.ERROR_GPU_IS_LOST
			}
			return cards[i], nvml.SUCCESS
		},
	}
}

// symbols says which functions a library has.
func symbols(has func(name string) bool) nvml.ExtendedInterface {
	return &mock.ExtendedInterface{LookupSymbolFunc: func(name string) error {
		if !has(name) {
			return errors.New("undefined symbol: " + name)
		}
		return nil
	}}
}

// onlyFunctions makes a library as short as old ones are.
func onlyFunctions(lib *mock.Interface, names ...string) *mock.Interface {
	lib.ExtensionsFunc = func() nvml.ExtendedInterface {
		return symbols(func(name string) bool { return slices.Contains(names, name) })
	}
	return lib
}

// titan is a whole card at bus n; readings is what each of its readings returns.
func titan(uuid string, n int, readings nvml.Return) *mock.Device {
	v := &mock.Device{
		GetUUIDFunc: func() (string, nvml.Return) { return uuid, nvml.SUCCESS },
		GetNameFunc: func() (string, nvml.Return) { return "NVIDIA TITAN Xp", nvml.SUCCESS },
	}
	complete(v, n, readings)
	v.GetMemoryInfoFunc = func() (nvml.Memory, nvml.Return) { return nvml.Memory{}, readings }
	v.GetMemoryInfo_v2Func = func() (nvml.Memory_v2, nvml.Return) {
		return nvml.Memory_v2{Total: 12 << 30, Used: 3 << 30, Reserved: 1 << 28}, readings
	}
	return v
}

// complete gives a device what it lacks, with no links, MIG or processes, and each
// other card behind the same host bridge.
func complete(v *mock.Device, n int, readings nvml.Return) {
	v.GetMigModeFunc = func() (int, int, nvml.Return) { return 0, 0, nvml.ERROR_NOT_SUPPORTED }
	v.GetPciInfoFunc = func() (nvml.PciInfo, nvml.Return) { return pci(n), nvml.SUCCESS }
	v.GetUtilizationRatesFunc = func() (nvml.Utilization, nvml.Return) { return nvml.Utilization{Gpu: 42}, readings }
	v.GetTemperatureFunc = func(nvml.TemperatureSensors) (uint32, nvml.Return) { return 70, readings }
	v.GetPowerUsageFunc = func() (uint32, nvml.Return) { return 250_000, readings }
	v.GetNvLinkStateFunc = func(int) (nvml.EnableState, nvml.Return) { return 0, nvml.ERROR_NOT_SUPPORTED }
	v.GetTopologyCommonAncestorFunc = func(nvml.Device) (nvml.GpuTopologyLevel, nvml.Return) {
		return nvml.TOPOLOGY_HOSTBRIDGE, nvml.SUCCESS
	}
	v.GetMemoryAffinityFunc = func(int, nvml.AffinityScope) ([]uint, nvml.Return) { return nil, nvml.ERROR_NOT_SUPPORTED }
	v.GetMemoryInfo_v2Func = func() (nvml.Memory_v2, nvml.Return) { return nvml.Memory_v2{}, nvml.ERROR_NOT_SUPPORTED }
	running(v)
}

// running puts processes on a card.
func running(v *mock.Device, compute ...nvml.ProcessInfo) {
	v.GetComputeRunningProcessesFunc = func() ([]nvml.ProcessInfo, nvml.Return) { return compute, nvml.SUCCESS }
	v.GetGraphicsRunningProcessesFunc = func() ([]nvml.ProcessInfo, nvml.Return) { return nil, nvml.SUCCESS }
}

// linkTo joins a card by NVLinks to what is at the given addresses.
func linkTo(v *mock.Device, ends ...int) {
	v.GetNvLinkStateFunc = func(link int) (nvml.EnableState, nvml.Return) {
		if link > len(ends) {
			return 0, nvml.ERROR_INVALID_ARGUMENT
		}
		if link == 0 {
			return nvml.FEATURE_DISABLED, nvml.SUCCESS
		}
		return nvml.FEATURE_ENABLED, nvml.SUCCESS
	}
	v.GetNvLinkRemotePciInfoFunc = func(link int) (nvml.PciInfo, nvml.Return) { return pci(ends[link-1]), nvml.SUCCESS }
}

func pci(n int) (p nvml.PciInfo) {
	for i, char := range busAt(n) {
		p.BusId[i] = int8(char)
	}
	return p
}

func busAt(n int) string { return fmt.Sprintf("00000000:%02X:00.0", n) }

// dgx is eight A100 on six NVSwitches, and what go-nvml's own twin of it lacks.
func dgx() *server.Server {
	s := dgxa100.New()
	for i, v := range s.Devices {
		v := v.(*server.Device)
		complete(&v.Device, 0x40+i, nvml.SUCCESS)
		linkTo(&v.Device, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9)
	}
	return s
}

// files writes a tree of files, as /proc and /sys are, and returns where.
func files(t testing.TB, contents map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for path, text := range contents {
		at := filepath.Join(root, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o700), os.WriteFile(at, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// look reads a host once. proc and sys may be empty.
func look(t *testing.T, lib nvml.Interface, proc, sys string) report {
	t.Helper()
	r, err := newDriver(lib, proc, sys).read()
	if err != nil {
		t.Fatal(err)
	}
	return r
}
