package gpu

import (
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// processes returns who uses the card, by PID. Those that have ended meanwhile are
// left out.
func (d *driver) processes(v device) []Process {
	used := map[int]int64{}
	for _, list := range []func() ([]nvml.ProcessInfo, nvml.Return){
		func() ([]nvml.ProcessInfo, nvml.Return) {
			return ask(d, "nvmlDeviceGetComputeRunningProcesses", v.index, v.GetComputeRunningProcesses)
		},
		func() ([]nvml.ProcessInfo, nvml.Return) {
			return ask(d, "nvmlDeviceGetGraphicsRunningProcesses", v.index, v.GetGraphicsRunningProcesses)
		},
	} {
		some, ret := list()
		if ret != nvml.SUCCESS {
			continue
		}
		for _, p := range some {
			memory, pid := int64(p.UsedGpuMemory), int(p.Pid) // not told is the highest number: Unread
			if before, twice := used[pid]; twice {
				memory = max(memory, before)
			}
			used[pid] = memory
		}
	}
	var found []Process
	for _, pid := range slices.Sorted(maps.Keys(used)) {
		if p, ok := d.procs.process(pid); ok {
			p.Memory = used[pid]
			found = append(found, p)
		}
	}
	return found
}

// procs knows the processes of the host as its /proc does.
type procs struct {
	root  string
	names *names
	// around are the containers that the agent itself runs in: this host's engine is
	// inside of them and does not know them.
	around []string
}

func newProcs(root string) procs {
	p := procs{root: root, names: newNames(func(uid string) (string, error) {
		u, err := user.LookupId(uid)
		if err != nil {
			return "", err
		}
		return u.Username, nil
	})}
	own, err := os.ReadFile(filepath.Join(root, "self", "cgroup"))
	if err == nil {
		p.around = containers(string(own))
	}
	return p
}

// process looks a process up, and says whether it is still there.
func (p *procs) process(pid int) (Process, bool) {
	dir := filepath.Join(p.root, strconv.Itoa(pid))
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return Process{}, false
	}
	found := Process{PID: pid}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		switch key {
		case "Name":
			found.Command = strings.TrimSpace(value)
		case "Uid": // real, effective, saved, of files
			if ids := strings.Fields(value); len(ids) > 0 {
				found.User = p.names.of(ids[0])
			}
		}
	}
	cgroups, err := os.ReadFile(filepath.Join(dir, "cgroup"))
	if err != nil {
		return Process{}, false
	}
	for _, id := range containers(string(cgroups)) {
		if !slices.Contains(p.around, id) {
			found.Container = id
			break
		}
	}
	return found, true
}

// containers finds the containers that /proc/PID/cgroup names, outermost first: the
// outermost is the one that the host's engine knows. In version 1 each hierarchy
// has a line; some may leave the container out.
func containers(cgroups string) []string {
	var best []string
	for line := range strings.Lines(cgroups) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3) // number, controllers, path
		if len(fields) < 3 {
			continue
		}
		var ids []string
		for part := range strings.SplitSeq(fields[2], "/") {
			if id := containerID(part); id != "" {
				ids = append(ids, id)
			}
		}
		if len(ids) > len(best) {
			best = ids
		}
	}
	return best
}

// containerID is the 64 hexadecimal digits that a part of a cgroup's path ends
// with: "<id>", "docker-<id>.scope", "cri-containerd-<id>.scope", "…:cri-containerd:<id>".
func containerID(part string) string {
	const digits = 64
	part = strings.TrimSuffix(part, ".scope")
	if i := strings.LastIndexAny(part, "-:"); i >= 0 {
		part = part[i+1:]
	}
	if len(part) != digits || strings.Trim(part, "0123456789abcdef") != "" {
		return ""
	}
	return part
}

// names turns user numbers into names. Where names come from the network a lookup
// can take long: it is waited for only briefly, and until it is done the number
// stands in for the name.
type names struct {
	lookup func(uid string) (string, error)

	mu    sync.Mutex
	known map[string]string
}

func newNames(lookup func(uid string) (string, error)) *names {
	return &names{lookup: lookup, known: map[string]string{}}
}

func (n *names) of(uid string) string {
	const patience = 100 * time.Millisecond
	n.mu.Lock()
	name, known := n.known[uid]
	if !known {
		n.known[uid] = uid
	}
	n.mu.Unlock()
	if known {
		return name
	}
	done := make(chan string, 1)
	go func() {
		name, err := n.lookup(uid)
		if err != nil {
			name = uid
		}
		n.mu.Lock()
		n.known[uid] = name
		n.mu.Unlock()
		done <- name
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case name = <-done:
		return name
	case <-timer.C:
		return uid
	}
}
