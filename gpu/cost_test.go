package gpu

import (
	"bytes"
	"encoding/json"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/server"
)

// BenchmarkReadingOfEightCards is what the child and the agent do at each interval
// for eight cards with two processes each, less the time in the driver itself. The
// bench of the program takes "%core" from it: CPU time in per cent of the interval.
func BenchmarkReadingOfEightCards(b *testing.B) {
	lib, contents := dgx(), map[string]string{}
	for i, v := range lib.Devices {
		first := uint32(1000 + 2*i)
		for pid := first; pid < first+2; pid++ {
			contents[fmt.Sprintf("%d/status", pid)] = "Name:\tpython\nUmask:\t0022\nState:\tR (running)\nUid:\t0\t0\t0\t0\n"
			contents[fmt.Sprintf("%d/cgroup", pid)] = "0::/system.slice/docker-" + outer + ".scope\n"
		}
		running(&v.(*server.Device).Device, nvml.ProcessInfo{Pid: first, UsedGpuMemory: 1 << 30}, nvml.ProcessInfo{Pid: first + 1, UsedGpuMemory: 1 << 30})
	}
	d, r := newDriver(lib, files(b, contents), ""), New(Config{})
	var line bytes.Buffer
	before := cpuTime()
	for b.Loop() {
		said, err := d.read()
		line.Reset()
		if err != nil || json.NewEncoder(&line).Encode(said) != nil {
			b.Fatal("no reading: ", err)
		}
		if _, err := r.take(line.Bytes()); err != nil {
			b.Fatal(err)
		}
	}
	cost := cpuTime() - before
	if s := r.State(); len(s.Cards) != 8 || len(s.Cards[7].Processes) != 2 {
		b.Fatalf("the reader has %+v", s)
	}
	b.ReportMetric(100*float64(cost)/float64(b.N)/float64(interval), "%core")
	b.ReportMetric(float64(line.Len()), "bytes/line")
}

// cpuTime is what this process has used so far.
func cpuTime() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
