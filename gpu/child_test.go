package gpu

import (
	"bytes"
	"context"
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

// reports are the lines that were written.
func reports(t *testing.T, text string) (all []report) {
	t.Helper()
	for line := range strings.Lines(text) {
		var r report
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

func TestTheChildWritesEveryCardAtEachInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &pipe{lines: 3}
		start := time.Now()
		err := watch(t.Context(), newDriver(host(titan("GPU-a", 1, nvml.SUCCESS), titan("GPU-b", 2, nvml.ERROR_NOT_SUPPORTED)), "", ""), out)
		if err == nil || !strings.Contains(err.Error(), "broken pipe") {
			t.Errorf("the child ended with %v, want the broken pipe", err)
		}
		if took := time.Since(start); took != 3*interval {
			t.Errorf("three lines took %v", took)
		}
		said := reports(t, out.String())[0]
		want := report{Driver: "550.54.15", CUDA: "12.4", Cards: []Card{
			{UUID: "GPU-a", Index: "0", Bus: busAt(1), NUMA: Unread, Far: []int{Self, Bridge}, Model: "NVIDIA TITAN Xp", Memory: 12 << 30, Used: 3 << 30, Utilization: 42, Temperature: 70, Power: 250_000},
			{UUID: "GPU-b", Index: "1", Bus: busAt(2), NUMA: Unread, Far: []int{Bridge, Self}, Model: "NVIDIA TITAN Xp", Utilization: Unread, Temperature: Unread, Power: Unread},
		}}
		if !reflect.DeepEqual(said, want) {
			t.Errorf("the child said %+v, want %+v", said, want)
		}
	})
}

func TestTheChildNamesTheCallThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		card, released := titan("GPU-a", 1, nvml.SUCCESS), make(chan struct{})
		defer close(released)
		card.GetPowerUsageFunc = func() (uint32, nvml.Return) { <-released; return 0, nvml.ERROR_UNKNOWN }
		out, start := &pipe{lines: 9}, time.Now()
		err := watch(t.Context(), newDriver(host(card), "", ""), out)
		want := []report{
			{Busy: "nvmlDeviceGetPowerUsage of card 0"}, {Busy: "nvmlDeviceGetPowerUsage of card 0"},
			{Error: "nvmlDeviceGetPowerUsage of card 0 hangs"},
		}
		if said := reports(t, out.String()); !reflect.DeepEqual(said, want) || err == nil || err.Error() != want[2].Error {
			t.Errorf("the child said %+v and ended with %v", said, err)
		}
		if took := time.Since(start); took != hung*slow {
			t.Errorf("it took %v to notice", took)
		}
	})
}

func TestTheChildEndsWhenItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		released := make(chan struct{})
		defer close(released)
		hanging := titan("GPU-a", 1, nvml.SUCCESS)
		hanging.GetNameFunc = func() (string, nvml.Return) { <-released; return "", nvml.ERROR_UNKNOWN }
		for name, card := range map[string]*mock.Device{"at rest": titan("GPU-a", 1, nvml.SUCCESS), "in a call": hanging} {
			ctx, cancel := context.WithTimeout(t.Context(), interval/2)
			start := time.Now()
			if err := watch(ctx, newDriver(host(card), "", ""), &pipe{lines: 9}); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != interval/2 {
				t.Errorf("%s: the child ended after %v with %v", name, time.Since(start), err)
			}
			cancel()
		}
	})
}

func TestTheChildNamesAStartThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		released := make(chan struct{})
		defer close(released)
		lib := &mock.Interface{InitFunc: func() nvml.Return { <-released; return nvml.SUCCESS }}
		if err := watch(t.Context(), newDriver(lib, "", ""), &pipe{lines: 9}); err == nil || err.Error() != "nvmlInit hangs" {
			t.Errorf("the child ended with %v", err)
		}
	})
}

// Cards that no other program keeps awake take seconds each to open.
func TestASlowStartIsNoHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cards []nvml.Device
		for i, uuid := range []string{"GPU-a", "GPU-b", "GPU-c", "GPU-d"} {
			cards = append(cards, titan(uuid, i, nvml.SUCCESS))
		}
		lib := host(cards...)
		open := lib.DeviceGetHandleByIndexFunc
		lib.DeviceGetHandleByIndexFunc = func(i int) (nvml.Device, nvml.Return) {
			if len(lib.DeviceGetHandleByIndexCalls()) <= len(cards) {
				time.Sleep(13 * time.Second / 2)
			}
			return open(i)
		}
		out := &pipe{lines: 7}
		_ = watch(t.Context(), newDriver(lib, "", ""), out)
		for i, r := range reports(t, out.String()) {
			if cards := r.Cards != nil; r.Error != "" || cards != (i == 6) || cards && len(r.Cards) != 4 {
				t.Errorf("line %d is %+v", i, r)
			}
		}
	})
}

func TestWithoutTheLibraryTheChildCallsNothingFurther(t *testing.T) {
	var out bytes.Buffer
	lib := &mock.Interface{InitFunc: func() nvml.Return { return nvml.ERROR_LIBRARY_NOT_FOUND }}
	if err := watch(t.Context(), newDriver(lib, "", ""), &out); err != nil {
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
		err := watch(t.Context(), newDriver(lib, "", ""), &out)
		said := reports(t, out.String())[0]
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
