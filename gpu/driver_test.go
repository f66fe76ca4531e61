package gpu

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/server"
)

func TestADGXIsFoundWhole(t *testing.T) {
	sys := map[string]string{}
	for i := range 8 {
		sys[fmt.Sprintf("bus/pci/devices/0000:%02x:00.0/numa_node", 0x40+i)] = fmt.Sprintf("%d\n", i/4)
	}
	lib := dgx()
	r := look(t, lib, "", files(t, sys))
	if len(r.Cards) != 8 || r.Driver != "550.54.15" || r.CUDA != "12.4" || r.Error != "" {
		t.Fatalf("found %+v", r)
	}
	for i, c := range r.Cards {
		far := []int{NVLink, NVLink, NVLink, NVLink, NVLink, NVLink, NVLink, NVLink}
		far[i] = Self
		want := Card{
			UUID: lib.Devices[i].(*server.Device).UUID, Index: fmt.Sprint(i), Model: "Mock NVIDIA A100-SXM4-40GB",
			Bus: busAt(0x40 + i), NUMA: i / 4, Far: far, Memory: 40 << 30, Utilization: 42, Temperature: 70, Power: 250_000,
		}
		if !reflect.DeepEqual(c, want) {
			t.Errorf("card %d is\n%+v, want\n%+v", i, c, want)
		}
	}
}

// An unset function of the twin panics, as a symbol that is not there ends the process.
func TestAnOldDriverYieldsThePlainReadings(t *testing.T) {
	plain := func(uuid string) *mock.Device {
		return &mock.Device{
			GetUUIDFunc:        func() (string, nvml.Return) { return uuid, nvml.SUCCESS },
			GetNameFunc:        func() (string, nvml.Return) { return "TITAN Xp", nvml.SUCCESS },
			GetMemoryInfoFunc:  func() (nvml.Memory, nvml.Return) { return nvml.Memory{Total: 12 << 30, Used: 1}, nvml.SUCCESS },
			GetTemperatureFunc: func(nvml.TemperatureSensors) (uint32, nvml.Return) { return 70, nvml.SUCCESS },
		}
	}
	lib := onlyFunctions(host(plain("GPU-a"), plain("GPU-b")), "nvmlDeviceGetCount_v2", "nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetUUID",
		"nvmlDeviceGetName", "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetTemperature")
	want := Card{
		UUID: "GPU-a", Index: "0", Model: "TITAN Xp", NUMA: Unread, Memory: 12 << 30, Used: 1,
		Utilization: Unread, Temperature: 70, Power: Unread,
	}
	if r := look(t, lib, "", ""); len(r.Cards) != 2 || !reflect.DeepEqual(r.Cards[0], want) || r.Error != "" || r.Driver+r.CUDA != "" {
		t.Errorf("found %+v, want %+v", r, want)
	}
}

func TestCardsAreInTheOrderOfTheirIndex(t *testing.T) {
	var cards []nvml.Device
	for i := range 12 {
		cards = append(cards, titan(fmt.Sprintf("GPU-%d", 99-i), i, nvml.SUCCESS))
	}
	for i, c := range look(t, host(cards...), "", "").Cards {
		if c.Index != fmt.Sprint(i) {
			t.Errorf("card %d has index %s", i, c.Index)
		}
	}
}

// cut makes a GPU one in MIG mode, with parts at some of its seven places.
func cut(whole *mock.Device, parts map[int]nvml.Device) {
	whole.GetMigModeFunc = func() (int, int, nvml.Return) { return nvml.DEVICE_MIG_ENABLE, 0, nvml.SUCCESS }
	whole.GetMaxMigDeviceCountFunc = func() (int, nvml.Return) { return 7, nvml.SUCCESS }
	whole.GetMigDeviceHandleByIndexFunc = func(i int) (nvml.Device, nvml.Return) {
		if parts[i] == nil {
			return nil, nvml.ERROR_NOT_FOUND
		}
		return parts[i], nvml.SUCCESS
	}
}

// part is a MIG device: it answers only what real ones do.
func part(uuid, name string, used uint64) *mock.Device {
	v := &mock.Device{
		GetUUIDFunc: func() (string, nvml.Return) { return uuid, nvml.SUCCESS },
		GetNameFunc: func() (string, nvml.Return) { return name, nvml.SUCCESS },
		GetAttributesFunc: func() (nvml.DeviceAttributes, nvml.Return) {
			return nvml.DeviceAttributes{GpuInstanceSliceCount: 1, ComputeInstanceSliceCount: 1, MemorySizeMB: 1500}, nvml.SUCCESS
		},
		GetMemoryInfo_v2Func: func() (nvml.Memory_v2, nvml.Return) {
			return nvml.Memory_v2{Total: 1500 << 20, Used: used}, nvml.SUCCESS
		},
	}
	running(v)
	return v
}

func TestMIGDevicesAreCardsAndTheirGPUIsNone(t *testing.T) {
	whole := titan("GPU-b", 2, nvml.SUCCESS)
	busy := part("MIG-1", "NVIDIA TITAN Xp MIG 3g.6gb", 7<<20)
	running(busy, nvml.ProcessInfo{Pid: 9, UsedGpuMemory: 1 << 20})
	cut(whole, map[int]nvml.Device{0: busy, 2: part("MIG-2", "NVIDIA TITAN Xp", 0)})
	empty := titan("GPU-c", 3, nvml.SUCCESS)
	cut(empty, nil)
	proc := files(t, map[string]string{"9/status": "Name:\tpython\nUid:\t0\t0\t0\t0\n", "9/cgroup": "0::/user.slice\n"})
	r := look(t, host(titan("GPU-a", 1, nvml.SUCCESS), whole, empty), proc, "")
	if len(r.Cards) != 3 || r.Error != "" {
		t.Fatalf("found %+v", r)
	}
	want := []Card{
		{
			UUID: "MIG-1", Index: "1:0", Model: "NVIDIA TITAN Xp MIG 3g.6gb", Profile: "3g.6gb", Of: "GPU-b", Bus: busAt(2), NUMA: Unread, Far: []int{Bridge, Self, Self},
			Memory: 1500 << 20, Used: 7 << 20, Utilization: Unread, Temperature: 70, Power: Unread,
			Processes: []Process{{PID: 9, User: "root", Command: "python", Memory: 1 << 20}},
		},
		{
			UUID: "MIG-2", Index: "1:2", Model: "NVIDIA TITAN Xp MIG 1g.2gb", Profile: "1g.2gb", Of: "GPU-b", Bus: busAt(2), NUMA: Unread, Far: []int{Bridge, Self, Self},
			Memory: 1500 << 20, Utilization: Unread, Temperature: 70, Power: Unread,
		},
	}
	if !reflect.DeepEqual(r.Cards[1:], want) {
		t.Errorf("found\n%+v, want\n%+v", r.Cards[1:], want)
	}
}

// A GPU of which nobody can say whether it is cut is not shown as one card.
func TestAGPUWhoseMIGModeCannotBeReadIsLeftOut(t *testing.T) {
	for _, fails := range []nvml.Return{nvml.ERROR_TIMEOUT, nvml.ERROR_UNKNOWN, nvml.ERROR_NO_PERMISSION, nvml.ERROR_GPU_IS_LOST} {
		whole := titan("GPU-b", 2, nvml.SUCCESS)
		cut(whole, map[int]nvml.Device{0: part("MIG-1", "TITAN MIG 1g.5gb", 0)})
		whole.GetMigModeFunc = func() (int, int, nvml.Return) { return 0, 0, fails }
		r := look(t, host(titan("GPU-a", 1, nvml.SUCCESS), whole), "", "")
		if len(r.Cards) != 1 || r.Cards[0].UUID != "GPU-a" || !strings.HasPrefix(r.Error, "card 1: read MIG mode: ") {
			t.Errorf("%v: found %+v", fails, r)
		}
	}
}

func TestAProfileIsNamedByItsSlicesAndMemory(t *testing.T) {
	const a100, a100b = 40537 << 20, 81251 << 20
	for want, c := range map[string]struct {
		of, with uint32
		mb       uint64
		total    uint64
	}{
		"1g.5gb":     {1, 1, 4864, a100},
		"1g.10gb":    {1, 1, 9856, a100b},
		"2g.10gb":    {2, 2, 9856, a100},
		"3g.20gb":    {3, 3, 19968, a100},
		"3g.40gb":    {3, 3, 40192, a100b},
		"1c.3g.20gb": {3, 1, 19968, a100},
		"7g.80gb":    {7, 7, 80896, a100b},
	} {
		got := profileOf(nvml.DeviceAttributes{GpuInstanceSliceCount: c.of, ComputeInstanceSliceCount: c.with, MemorySizeMB: c.mb}, c.total)
		if got != want {
			t.Errorf("profile is %s, want %s", got, want)
		}
	}
}

func TestALostCardIsLeftOutAndTheOthersStay(t *testing.T) {
	a, b, c := titan("GPU-a", 1, nvml.SUCCESS), titan("GPU-b", 2, nvml.SUCCESS), titan("GPU-c", 3, nvml.SUCCESS)
	linkTo(a, 3)
	cards := []nvml.Device{a, b, c}
	d := newDriver(host(cards...), "", "")
	expect := func(when, uuids, fault string, far ...int) {
		t.Helper()
		r, err := d.read()
		var found []string
		for _, c := range r.Cards {
			found = append(found, c.UUID)
		}
		if strings.Join(found, " ") != uuids || r.Error != fault || err != nil || !reflect.DeepEqual(r.Cards[0].Far, far) {
			t.Errorf("%s: found %v far %v, %q, %v", when, found, r.Cards[0].Far, r.Error, err)
		}
	}
	expect("all there", "GPU-a GPU-b GPU-c", "", Self, Bridge, NVLink)
	b.GetUtilizationRatesFunc = func() (nvml.Utilization, nvml.Return) { return nvml.Utilization{}, nvml.ERROR_GPU_IS_LOST }
	expect("lost while it is read", "GPU-a GPU-c", "card 1: ERROR_GPU_IS_LOST", Self, NVLink)
	cards[1] = nil
	expect("lost before", "GPU-a GPU-c", "card 1: open: ERROR_GPU_IS_LOST", Self, NVLink)
	cards[0], cards[1] = b, nil
	b.GetUtilizationRatesFunc = c.GetUtilizationRatesFunc
	b.GetNameFunc = func() (string, nvml.Return) { return "", nvml.ERROR_UNKNOWN }
	expect("two of three", "GPU-c", "card 1: open: ERROR_GPU_IS_LOST; card 0: its model cannot be read")
	b.GetNameFunc = c.GetNameFunc
	expect("named at last", "GPU-b GPU-c", "card 1: open: ERROR_GPU_IS_LOST", Self, Bridge)
}

func TestWhatDoesNotChangeIsReadOnce(t *testing.T) {
	whole := titan("GPU-b", 2, nvml.SUCCESS)
	parts := map[int]nvml.Device{0: part("MIG-1", "TITAN MIG 1g.5gb", 0)}
	cut(whole, parts)
	a := titan("GPU-a", 1, nvml.SUCCESS)
	d := newDriver(host(a, whole), "", "")
	expect := func(when string, described, sampled int) {
		t.Helper()
		if _, err := d.read(); err != nil {
			t.Fatal(err)
		}
		if n, m := len(a.GetNameCalls()), len(a.GetPowerUsageCalls()); n != described || m != sampled {
			t.Errorf("%s: described %d times, read %d times; want %d and %d", when, n, m, described, sampled)
		}
	}
	expect("first", 1, 1)
	expect("second", 1, 2)
	parts[3] = part("MIG-2", "TITAN MIG 1g.5gb", 0)
	expect("with another MIG device", 2, 3)
	expect("after that", 2, 4)
}

func TestAReadingOfMemoryThatFailsChangesNothing(t *testing.T) {
	a := titan("GPU-a", 1, nvml.SUCCESS)
	d := newDriver(host(a), "", "")
	before, err := d.read()
	a.GetMemoryInfo_v2Func = func() (nvml.Memory_v2, nvml.Return) { return nvml.Memory_v2{}, nvml.ERROR_UNKNOWN }
	a.GetMemoryInfoFunc = func() (nvml.Memory, nvml.Return) { return nvml.Memory{}, nvml.ERROR_UNKNOWN }
	after, _ := d.read()
	if c := after.Cards[0]; err != nil || before.Cards[0].Memory != 12<<30 || c.Memory != 12<<30 || c.Used != 3<<30 {
		t.Errorf("before %+v, after %+v, %v", before.Cards, after.Cards, err)
	}
}

func TestDistancesAreThoseOfTheTopology(t *testing.T) {
	levels := map[int]nvml.GpuTopologyLevel{2: nvml.TOPOLOGY_SINGLE, 3: nvml.TOPOLOGY_MULTIPLE, 4: nvml.TOPOLOGY_HOSTBRIDGE, 5: nvml.TOPOLOGY_NODE, 6: nvml.TOPOLOGY_SYSTEM, 7: nvml.TOPOLOGY_INTERNAL}
	cards := make([]nvml.Device, 9)
	for i := range cards {
		v := titan(fmt.Sprintf("GPU-%d", i), i, nvml.SUCCESS)
		v.GetTopologyCommonAncestorFunc = func(other nvml.Device) (nvml.GpuTopologyLevel, nvml.Return) {
			if level, told := levels[i]; told && other == cards[0] {
				return level, nvml.SUCCESS
			}
			return 0, nvml.ERROR_UNKNOWN
		}
		cards[i] = v
	}
	linkTo(cards[1].(*mock.Device), 0, 0, 0xc4) // bonded, and to a switch that nobody else has
	linkTo(cards[8].(*mock.Device), 1)          // with a neighbour in common, which is no switch
	far := look(t, host(cards...), "", "").Cards[0].Far
	if want := []int{Self, NVLink, Switch, Switches, Bridge, Node, System, Switch, System}; !reflect.DeepEqual(far, want) {
		t.Errorf("the first card is far %v, want %v", far, want)
	}
}

func TestTheNUMANodeIsTheKernelsOrElseTheDrivers(t *testing.T) {
	for _, c := range []struct {
		name, kernel string
		driver       []uint
		want         int
	}{
		{"the kernel's", "1\n", []uint{1}, 1},
		{"the driver's", "-1\n", []uint{0, 2}, 65},
		{"several", "-1\n", []uint{3}, Unread},
		{"several, far apart", "-1\n", []uint{1, 1}, Unread},
		{"nobody's", "", nil, Unread},
	} {
		card := titan("GPU-a", 0x3b, nvml.SUCCESS)
		if c.driver != nil {
			card.GetMemoryAffinityFunc = func(int, nvml.AffinityScope) ([]uint, nvml.Return) { return c.driver, nvml.SUCCESS }
		}
		sys := files(t, map[string]string{"bus/pci/devices/0000:3b:00.0/numa_node": c.kernel})
		if got := look(t, host(card), "", sys).Cards[0].NUMA; got != c.want {
			t.Errorf("%s: node %d, want %d", c.name, got, c.want)
		}
	}
}
