package gpu

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock"
)

// pipe takes some lines, then breaks as a pipe does whose reader is gone.
type pipe struct {
	bytes.Buffer
	lines int
}

func (p *pipe) Write(line []byte) (int, error) {
	if p.lines--; p.lines < 0 {
		return 0, errors.New("broken pipe")
	}
	return p.Buffer.Write(line)
}

// host is an NVML with the given cards. A method that no test expects panics.
func host(cards ...nvml.Device) *mock.Interface {
	return &mock.Interface{
		InitFunc:           func() nvml.Return { return nvml.SUCCESS },
		DeviceGetCountFunc: func() (int, nvml.Return) { return len(cards), nvml.SUCCESS },
		DeviceGetHandleByIndexFunc: func(i int) (nvml.Device, nvml.Return) {
			if cards[i] == nil {
				return nil, nvml.ERROR_GPU_IS_LOST
			}
			return cards[i], nvml.SUCCESS
		},
	}
}

func device(uuid string, readings nvml.Return) *mock.Device {
	return &mock.Device{
		GetUUIDFunc: func() (string, nvml.Return) { return uuid, nvml.SUCCESS },
		GetNameFunc: func() (string, nvml.Return) { return "NVIDIA TITAN Xp", nvml.SUCCESS },
		GetMemoryInfoFunc: func() (nvml.Memory, nvml.Return) {
			return nvml.Memory{Total: 12 << 30, Used: 3 << 30}, readings
		},
		GetUtilizationRatesFunc: func() (nvml.Utilization, nvml.Return) { return nvml.Utilization{Gpu: 42}, readings },
		GetTemperatureFunc:      func(nvml.TemperatureSensors) (uint32, nvml.Return) { return 70, readings },
		GetPowerUsageFunc:       func() (uint32, nvml.Return) { return 250_000, readings },
	}
}

func TestTheChildWritesEveryCardOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &pipe{lines: 3}
		start := time.Now()
		err := watch(host(device("GPU-a", nvml.SUCCESS), device("GPU-b", nvml.ERROR_NOT_SUPPORTED)), out)
		if err == nil || !strings.Contains(err.Error(), "broken pipe") {
			t.Errorf("the child ended with %v, want the broken pipe", err)
		}
		if took := time.Since(start); took != 3*interval {
			t.Errorf("three lines took %v", took)
		}
		var said report
		if err := json.NewDecoder(out).Decode(&said); err != nil {
			t.Fatal(err)
		}
		want := []Card{
			{UUID: "GPU-a", Index: "0", NUMA: Unread, Model: "NVIDIA TITAN Xp", Memory: 12 << 30, Used: 3 << 30, Utilization: 42, Temperature: 70, Power: 250_000},
			{UUID: "GPU-b", Index: "1", NUMA: Unread, Model: "NVIDIA TITAN Xp"},
		}
		if !reflect.DeepEqual(said.Cards, want) || said.Error != "" {
			t.Errorf("the child said %+v, want %+v", said, want)
		}
	})
}

func TestTheChildLeavesOutALostCard(t *testing.T) {
	said, err := read(host(nil, device("GPU-b", nvml.SUCCESS)))
	if err != nil || len(said.Cards) != 1 || said.Cards[0].Index != "1" || !strings.HasPrefix(said.Error, "card 0: open: ") {
		t.Errorf("the child said %+v, %v", said, err)
	}
}

func TestWithoutTheLibraryTheChildCallsNothingFurther(t *testing.T) {
	var out bytes.Buffer
	lib := &mock.Interface{InitFunc: func() nvml.Return { return nvml.ERROR_LIBRARY_NOT_FOUND }}
	if err := watch(lib, &out); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), `{"cards":[],"absent":true}`+"\n"; got != want {
		t.Errorf("the child said %s, want %s", got, want)
	}
}

func TestTheChildSaysWhyItGivesUp(t *testing.T) {
	broken := host()
	broken.DeviceGetCountFunc = func() (int, nvml.Return) { return 0, nvml.ERROR_UNKNOWN }
	for want, lib := range map[string]*mock.Interface{
		"start NVML: ":  {InitFunc: func() nvml.Return { return nvml.ERROR_DRIVER_NOT_LOADED }},
		"count cards: ": broken,
	} {
		var out bytes.Buffer
		err := watch(lib, &out)
		var said report
		if decode := json.Unmarshal(out.Bytes(), &said); decode != nil {
			t.Fatal(decode)
		}
		if err == nil || said.Error != err.Error() || !strings.HasPrefix(said.Error, want) || said.Cards != nil {
			t.Errorf("the child said %+v and ended with %v, want %q", said, err, want)
		}
	}
}

// The real library, which the host may have or not, must not hurt the reader.
func TestTheRealChildIsHeard(t *testing.T) {
	begin := child(t, "real")
	var cmd *exec.Cmd
	r := New(Config{Command: func() *exec.Cmd { cmd = begin(); return cmd }})
	heard := false
	r.changed = func() {
		if r.State().Known && !heard {
			heard = true
			_ = cmd.Process.Kill()
		}
	}
	r.session(t.Context())
	if !heard {
		t.Errorf("nothing heard of the real library: %s", r.State().Reason)
	}
}
