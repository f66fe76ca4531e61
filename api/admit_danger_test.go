package api

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	newer "github.com/moby/moby/api/types/container"
	newmount "github.com/moby/moby/api/types/mount"
)

// dangerous is a body as an engine reads it.
type dangerous interface{ danger() string }

type (
	oldBody struct{ container.CreateRequest }
	newBody struct{ newer.CreateRequest }
)

// danger says what of the body is not for a user whose home is /home/bob; empty: nothing.
func (b *oldBody) danger() string {
	if b.HostConfig == nil {
		return ""
	}
	h := b.HostConfig
	modes := []string{string(h.NetworkMode), string(h.IpcMode), string(h.PidMode), string(h.UTSMode), string(h.UsernsMode), string(h.CgroupnsMode)}
	if b.NetworkingConfig != nil {
		for name := range b.NetworkingConfig.EndpointsConfig {
			modes = append(modes, name)
		}
	}
	what := hostDanger{
		h.Privileged, h.OomKillDisable, h.CapAdd, h.SecurityOpt, h.DeviceCgroupRules, modes, h.Binds, len(h.Devices), h.MaskedPaths != nil || h.ReadonlyPaths != nil,
		string(h.Cgroup) + h.CgroupParent, h.OomScoreAdj, h.CPURealtimeRuntime, h.MemorySwap, h.Memory, len(h.Sysctls) + len(h.Annotations),
	}
	for _, m := range h.Mounts {
		if m.Type == mount.TypeBind || path.IsAbs(m.Source) {
			what.binds = append(what.binds, m.Source+":/x")
		}
		if m.VolumeOptions != nil && m.VolumeOptions.DriverConfig != nil && len(m.VolumeOptions.DriverConfig.Options) > 0 {
			return "options of a volume"
		}
	}
	return what.String()
}

func (b *newBody) danger() string {
	if b.HostConfig == nil {
		return ""
	}
	h := b.HostConfig
	modes := []string{string(h.NetworkMode), string(h.IpcMode), string(h.PidMode), string(h.UTSMode), string(h.UsernsMode), string(h.CgroupnsMode)}
	what := hostDanger{
		h.Privileged, h.OomKillDisable, h.CapAdd, h.SecurityOpt, h.DeviceCgroupRules, modes, h.Binds, len(h.Devices), h.MaskedPaths != nil || h.ReadonlyPaths != nil,
		string(h.Cgroup) + h.CgroupParent, h.OomScoreAdj, h.CPURealtimeRuntime, h.MemorySwap, h.Memory, len(h.Sysctls) + len(h.Annotations),
	}
	for _, m := range h.Mounts {
		if m.Type == newmount.TypeBind || path.IsAbs(m.Source) {
			what.binds = append(what.binds, m.Source+":/x")
		}
	}
	return what.String()
}

// hostDanger is what of a HostConfig reaches beyond the container.
type hostDanger struct {
	privileged           bool
	noOOM                *bool
	caps, security, devs []string
	modes, binds         []string
	devices              int
	unmasked             bool
	cgroup               string
	oomScore             int
	realtime, swap, mem  int64
	others               int
}

// String says what it is; empty: nothing is.
func (d hostDanger) String() string {
	for _, c := range d.caps {
		if !slices.Contains(strings.Fields("AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP SETUID SYS_CHROOT"), strings.TrimPrefix(strings.ToUpper(c), "CAP_")) {
			return "capability " + c
		}
	}
	for _, s := range d.security {
		if !strings.HasPrefix(s, "no-new-privileges") || strings.HasSuffix(s, "false") {
			return "security-opt " + s
		}
	}
	for _, b := range d.binds {
		source, _, named := strings.Cut(b, ":")
		if clean := path.Clean(source); named && path.IsAbs(source) && clean != "/home/bob" && !strings.HasPrefix(clean, "/home/bob/") {
			return "bind " + b
		}
	}
	switch {
	case d.privileged, d.unmasked, d.devices > 0, len(d.devs) > 0, d.others > 0, d.realtime != 0, d.oomScore < 0, d.noOOM != nil && *d.noOOM:
		return fmt.Sprintf("%+v", struct{ hostDanger }{d})
	case slices.Contains(d.modes, "host"):
		return "a namespace of the host's"
	case d.cgroup != "":
		return "cgroup " + d.cgroup
	case d.swap < 0 || d.swap > 0 && d.swap-d.mem > d.mem:
		return "swap"
	}
	return ""
}
