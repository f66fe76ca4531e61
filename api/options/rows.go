package options

import (
	"encoding/json"

	"github.com/docker/cli/opts"
	"github.com/moby/moby/api/types/container"
)

// shape is how a field of the body is merged.
type shape int

const (
	scalar shape = iota // the body's own value wins
	list                // the body's own elements, then ours of other names
	dict                // the body's own keys, then ours of other names
)

// item is one value said by a flag.
type item struct {
	name string          // of the key, in a dict
	raw  json.RawMessage // as it stands in the body
	path string          // where it goes, when not where the row says
}

// row is one flag: where its values go in the body, and how they are read.
type row struct {
	name, short string
	path        string
	shape       shape
	read        func(text string) ([]item, error)
	bare        bool // may stand without a value, which then is "true"
}

// rows is every flag that makes sense for all containers of a cluster.
func rows() []row {
	return []row{
		{name: "add-host", path: "HostConfig.ExtraHosts", shape: list, read: checked(opts.ValidateExtraHost)},
		{name: "annotation", path: "HostConfig.Annotations", shape: dict, read: pair},
		{name: "cap-add", path: "HostConfig.CapAdd", shape: list, read: text},
		{name: "cap-drop", path: "HostConfig.CapDrop", shape: list, read: text},
		{name: "cgroup-parent", path: "HostConfig.CgroupParent", read: text},
		{name: "cgroupns", path: "HostConfig.CgroupnsMode", read: mode[container.CgroupnsMode]},
		{name: "device", path: "HostConfig.Devices", shape: list, read: device},
		{name: "device-cgroup-rule", path: "HostConfig.DeviceCgroupRules", shape: list, read: text},
		{name: "dns", path: "HostConfig.Dns", shape: list, read: checked(opts.ValidateIPAddress)},
		{name: "dns-opt", path: "HostConfig.DnsOptions", shape: list, read: text},
		{name: "dns-option", path: "HostConfig.DnsOptions", shape: list, read: text},
		{name: "dns-search", path: "HostConfig.DnsSearch", shape: list, read: checked(opts.ValidateDNSSearch)},
		{name: "domainname", path: "Domainname", read: text},
		{name: "entrypoint", path: "Entrypoint", read: entrypoint},
		{name: "env", short: "e", path: "Env", shape: list, read: checked(validateEnv)},
		{name: "expose", path: "ExposedPorts", shape: dict, read: expose},
		{name: "group-add", path: "HostConfig.GroupAdd", shape: list, read: text},
		{name: "init", path: "HostConfig.Init", read: boolean, bare: true},
		{name: "interactive", short: "i", path: "OpenStdin", read: boolean, bare: true},
		{name: "ipc", path: "HostConfig.IpcMode", read: mode[container.IpcMode]},
		{name: "label", short: "l", path: "Labels", shape: dict, read: label},
		{name: "log-driver", path: "HostConfig.LogConfig.Type", read: text},
		{name: "log-opt", path: "HostConfig.LogConfig.Config", shape: dict, read: pair},
		{name: "memory-swap", path: "HostConfig.MemorySwap", read: swap},
		{name: "memory-swappiness", path: "HostConfig.MemorySwappiness", read: number(0, 100)},
		{name: "mount", path: "HostConfig.Mounts", shape: list, read: mount},
		{name: "net", path: networkMode, read: network},
		{name: "network", path: networkMode, read: network},
		{name: "oom-kill-disable", path: "HostConfig.OomKillDisable", read: boolean, bare: true},
		{name: "oom-score-adj", path: "HostConfig.OomScoreAdj", read: number(-1000, 1000)},
		{name: "pid", path: "HostConfig.PidMode", read: mode[container.PidMode]},
		{name: "pids-limit", path: "HostConfig.PidsLimit", read: number(-1, 1<<31)},
		{name: "privileged", path: "HostConfig.Privileged", read: boolean, bare: true},
		{name: "read-only", path: "HostConfig.ReadonlyRootfs", read: boolean, bare: true},
		{name: "restart", path: "HostConfig.RestartPolicy", read: restart},
		{name: "runtime", path: "HostConfig.Runtime", read: text},
		{name: "security-opt", path: "HostConfig.SecurityOpt", shape: list, read: checked(validateSecurity)},
		{name: "shm-size", path: "HostConfig.ShmSize", read: size},
		{name: "stop-signal", path: "StopSignal", read: text},
		{name: "stop-timeout", path: "StopTimeout", read: number(-1, 1<<31)},
		{name: "storage-opt", path: "HostConfig.StorageOpt", shape: dict, read: pair},
		{name: "sysctl", path: "HostConfig.Sysctls", shape: dict, read: sysctl},
		{name: "tmpfs", path: "HostConfig.Tmpfs", shape: dict, read: tmpfs},
		{name: "tty", short: "t", path: "Tty", read: boolean, bare: true},
		{name: "ulimit", path: "HostConfig.Ulimits", shape: list, read: ulimit},
		{name: "user", short: "u", path: "User", read: text},
		{name: "userns", path: "HostConfig.UsernsMode", read: mode[container.UsernsMode]},
		{name: "uts", path: "HostConfig.UTSMode", read: mode[container.UTSMode]},
		{name: "volume", short: "v", path: "HostConfig.Binds", shape: list, read: volume},
		{name: "volume-driver", path: "HostConfig.VolumeDriver", read: text},
		{name: "workdir", short: "w", path: "WorkingDir", read: directory},
	}
}

// anonymous is where "-v /data", which names no source, goes.
const anonymous = "Volumes"

// shapeOf is the row's shape, unless its value went elsewhere.
func shapeOf(r row, path string) shape {
	if path == anonymous {
		return dict
	}
	return r.shape
}
