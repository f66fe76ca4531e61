package gpu

import (
	"errors"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

const (
	outer = "5c2fb1e5a0d7c61b07c5ac2b1b0a1d5a3e0a4f3c7d9e8b6a5f4e3d2c1b0a9f8e"
	inner = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
)

func TestTheContainerIsFoundInTheCgroups(t *testing.T) {
	for _, c := range []struct{ name, cgroups, want string }{
		{"v2, systemd", "0::/system.slice/docker-" + outer + ".scope\n", outer},
		{"v2, cgroupfs", "0::/docker/" + outer + "\n", outer},
		{"v2, a parent of its own", "0::/lab-h1/" + outer + "\n", outer},
		{"v2, below the container", "0::/docker/" + outer + "/init\n", outer},
		{"v2, rootless", "0::/user.slice/user-1000.slice/user@1000.service/user.slice/docker-" + outer + ".scope\n", outer},
		{"v1, cgroupfs", "12:devices:/docker/" + outer + "\n11:cpu,cpuacct:/docker/" + outer + "\n1:name=systemd:/docker/" + outer + "\n0::/\n", outer},
		{"v1, systemd", "3:memory:/system.slice/docker-" + outer + ".scope\n", outer},
		{"v1, only in some hierarchies", "9:rdma:/\n8:pids:/docker/" + outer + "\n0::/system.slice/containerd.service\n", outer},
		{"an engine in a container", "0::/docker/" + outer + "/docker/" + inner + "\n", outer},
		{"an engine in a container, in some hierarchies", "2:cpu:/docker/" + inner + "\n1:pids:/docker/" + outer + "/docker/" + inner + "\n", outer},
		{"kubernetes, cgroupfs", "0::/kubepods/besteffort/pod3b2f0d6e-1f0a-4f5e-9d5c-0a1b2c3d4e5f/" + outer + "\n", outer},
		{"kubernetes, systemd", "0::/kubepods.slice/kubepods-pod3b2f0d6e.slice/cri-containerd-" + outer + ".scope\n", outer},
		{"kubernetes, containerd's own", "11:cpuset:/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:" + outer + "\n", outer},
		{"podman", "0::/machine.slice/libpod-" + outer + ".scope/container\n", outer},
		{"none", "0::/user.slice/user-1000.slice/session-3.scope\n", ""},
		{"something of another length", "0::/docker/" + outer + "00\n", ""},
		{"something with other letters", "0::/docker/" + strings.ToUpper(outer) + "\n", ""},
		{"garbage", "what\n::\n", ""},
		{"nothing", "", ""},
	} {
		first := ""
		if ids := containers(c.cgroups); len(ids) > 0 {
			first = ids[0]
		}
		if first != c.want {
			t.Errorf("%s: found %q, want %q", c.name, first, c.want)
		}
	}
}

func TestProcessesAreThoseThatStillRun(t *testing.T) {
	proc := files(t, map[string]string{
		"self/cgroup": "0::/docker/" + outer + "\n", // of the agent, as on a machine that is a container
		"12/status":   "Name:\tpython3\nUmask:\t0022\nUid:\t4000000000\t0\t0\t0\n", "12/cgroup": "0::/docker/" + outer + "/docker/" + inner + "\n",
		"7/status": "Name:\tXorg\nUid:\t0\t0\t0\t0\n", "7/cgroup": "0::/docker/" + outer + "\n",
		"9/status": "Name:\tending\nUid:\t0\t0\t0\t0\n", // and gone before its cgroups were read
	})
	card := titan("GPU-a", 1, nvml.SUCCESS)
	running(card, nvml.ProcessInfo{Pid: 12, UsedGpuMemory: 3 << 20}, nvml.ProcessInfo{Pid: 9}, nvml.ProcessInfo{Pid: 10})
	card.GetGraphicsRunningProcessesFunc = func() ([]nvml.ProcessInfo, nvml.Return) {
		return []nvml.ProcessInfo{{Pid: 12, UsedGpuMemory: 5 << 20}, {Pid: 7, UsedGpuMemory: 1<<64 - 1}}, nvml.SUCCESS
	}
	want := []Process{
		{PID: 7, User: "root", Command: "Xorg", Memory: Unread},
		{PID: 12, Container: inner, User: "4000000000", Command: "python3", Memory: 5 << 20},
	}
	if got := look(t, host(card), proc, "").Cards[0].Processes; !reflect.DeepEqual(got, want) {
		t.Errorf("found %+v, want %+v", got, want)
	}
}

func TestANameIsNotWaitedForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32 // of lookups that go on at once
		n := newNames(func(uid string) (string, error) {
			asked.Add(1)
			time.Sleep(time.Minute)
			if uid == "7" {
				return "", errors.New("nobody")
			}
			return "alice", nil
		})
		start := time.Now()
		for _, uid := range []string{"1000", "1000", "7"} {
			if name := n.of(uid); name != uid || time.Since(start) > time.Second {
				t.Errorf("after %v %s is called %s", time.Since(start), uid, name)
			}
		}
		time.Sleep(time.Hour)
		if n.of("1000") != "alice" || n.of("7") != "7" || asked.Load() != 2 {
			t.Errorf("after an hour: %s, %s, asked %d times", n.of("1000"), n.of("7"), asked.Load())
		}
	})
}
