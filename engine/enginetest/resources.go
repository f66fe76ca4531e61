package enginetest

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/go-connections/nat"
)

// firstEphemeral is where the host ports begin that the engine chooses.
const firstEphemeral = 32768

type hostPort struct {
	proto string
	port  uint16
}

type binding struct {
	ip string
	by *box
}

// checkResources refuses limits that the host cannot keep.
func (t *Twin) checkResources(res container.Resources) *reply {
	var r reply
	cpus, err := cpuset(res.CpusetCpus)
	if err != nil {
		r = refuse(http.StatusBadRequest, "Invalid value %s for cpuset cpus", res.CpusetCpus)
		return &r
	}
	if len(cpus) > 0 && slices.Max(cpus) >= t.cfg.NCPU {
		r = refuse(http.StatusBadRequest, "Requested CPUs are not available - requested %s, available: 0-%d", res.CpusetCpus, t.cfg.NCPU-1)
		return &r
	}
	if res.NanoCPUs < 0 || res.NanoCPUs > int64(t.cfg.NCPU)*1e9 {
		r = refuse(http.StatusBadRequest, "Range of CPUs is from 0.01 to %d.00, as there are only %d CPUs available", t.cfg.NCPU, t.cfg.NCPU)
		return &r
	}
	if res.Memory != 0 && res.Memory < 6<<20 {
		r = refuse(http.StatusBadRequest, "Minimum memory limit allowed is 6MB")
		return &r
	}
	return nil
}

// acquire gives b the GPUs and ports that it asks for, or nothing and a refusal.
func (t *Twin) acquire(b *box) *reply {
	if r := t.giveGPUs(b); r != nil {
		return r
	}
	b.ports = nat.PortMap{}
	for inside := range b.config.ExposedPorts {
		if _, published := b.host.PortBindings[inside]; !published && !b.host.PublishAllPorts {
			b.ports[inside] = nil
			continue
		}
		asked := b.host.PortBindings[inside]
		if len(asked) == 0 {
			asked = []nat.PortBinding{{}}
		}
		for _, want := range asked {
			port, err := t.choose(inside.Proto(), want)
			if err != nil {
				t.release(b)
				r := refuse(http.StatusInternalServerError, "driver failed programming external connectivity on endpoint %s (%s): Bind for %s:%s failed: %v",
					b.name, newID(), cmp.Or(want.HostIP, "0.0.0.0"), cmp.Or(want.HostPort, "0"), err)
				return &r
			}
			t.bind(b, inside, port, want.HostIP)
		}
	}
	return nil
}

// choose returns a free host port for a wish: a number, a range or nothing.
func (t *Twin) choose(proto string, want nat.PortBinding) (uint16, error) {
	ip := cmp.Or(want.HostIP, "0.0.0.0")
	if want.HostPort == "" || want.HostPort == "0" {
		for range 1<<16 - firstEphemeral {
			port := t.nextPort
			if t.nextPort++; t.nextPort == 0 {
				t.nextPort = firstEphemeral
			}
			if t.free(hostPort{proto, port}, ip) {
				return port, nil
			}
		}
		return 0, errors.New("all ports are allocated")
	}
	first, last, err := nat.ParsePortRangeToInt(want.HostPort)
	if err != nil {
		return 0, err
	}
	for port := first; port <= last; port++ {
		if t.free(hostPort{proto, uint16(port)}, ip) {
			return uint16(port), nil
		}
	}
	return 0, errors.New("port is already allocated")
}

func (t *Twin) free(p hostPort, ip string) bool {
	return !slices.ContainsFunc(t.bound[p], func(held binding) bool { return overlap(held.ip, ip) })
}

func overlap(a, b string) bool { return a == b || a == "0.0.0.0" || b == "0.0.0.0" }

func (t *Twin) bind(b *box, inside nat.Port, port uint16, ip string) {
	p := hostPort{inside.Proto(), port}
	t.bound[p] = append(t.bound[p], binding{cmp.Or(ip, "0.0.0.0"), b})
	b.held = append(b.held, p)
	text := strconv.Itoa(int(port))
	b.ports[inside] = append(b.ports[inside], nat.PortBinding{HostIP: cmp.Or(ip, "0.0.0.0"), HostPort: text})
	if ip == "" {
		b.ports[inside] = append(b.ports[inside], nat.PortBinding{HostIP: "::", HostPort: text})
	}
}

// release lets go of b's ports.
func (t *Twin) release(b *box) {
	for _, p := range b.held {
		t.bound[p] = slices.DeleteFunc(t.bound[p], func(held binding) bool { return held.by == b })
		if len(t.bound[p]) == 0 {
			delete(t.bound, p)
		}
	}
	b.ports, b.held = nil, nil
}

// cpuset reads Docker's notation, such as 0-3,8.
func cpuset(list string) ([]int, error) {
	var ids []int
	if list == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(list, ",") {
		first, last, err := nat.ParsePortRangeToInt(part)
		if err != nil {
			return nil, err
		}
		for id := first; id <= last; id++ {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
