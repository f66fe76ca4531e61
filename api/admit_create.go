package api

import (
	"maps"

	"ddocker/settings"
)

// createRules are for the body of a container's creation.
func createRules() map[string]admission {
	rules := configRules()
	rules["HostConfig"] = admission{check: swap, fields: hostRules()}
	rules["NetworkingConfig"] = admission{fields: map[string]admission{
		"EndpointsConfig": {check: endpointNames, each: &admission{fields: endpointRules()}},
	}}
	return rules
}

// configRules are for what is inside a container, which is its user's own affair.
func configRules() map[string]admission {
	return all(
		"Hostname", "Domainname", "User", "AttachStdin", "AttachStdout", "AttachStderr", "ExposedPorts", "Tty", "OpenStdin", "StdinOnce",
		"Env", "Cmd", "Healthcheck", "ArgsEscaped", "Image", "Volumes", "WorkingDir", "Entrypoint", "NetworkDisabled", "MacAddress",
		"OnBuild", "Labels", "StopSignal", "StopTimeout", "Shell",
		"Memory", "MemorySwap", "CpusetCpus", "Cpuset", // which are refused beside HostConfig, to everybody
	)
}

// all returns rules that let the fields say what they like.
func all(fields ...string) map[string]admission {
	rules := map[string]admission{}
	for _, field := range fields {
		rules[field] = free()
	}
	return rules
}

func hostRules() map[string]admission {
	rules := all(
		"ContainerIDFile", "PortBindings", "AutoRemove", "ConsoleSize", "CapDrop", "Dns", "DnsOptions", "DnsSearch", "ExtraHosts",
		"GroupAdd", "PublishAllPorts", "ReadonlyRootfs", "Tmpfs", "ShmSize", "Umask", "Init",
		"VolumesFrom", "Links", // of containers that admitOthers looks for
		"DeviceRequests", // which become the grant
	)
	maps.Copy(rules, resourceRules())
	maps.Copy(rules, map[string]admission{
		"Binds":         list(checkText(bind)),
		"LogConfig":     {check: logging},
		"NetworkMode":   checkText(networkMode),
		"VolumeDriver":  oneOf(settings.AllowVolumeDriver, "local"),
		"Annotations":   with(settings.AllowAnnotations),
		"CapAdd":        list(checkText(capability)),
		"CgroupnsMode":  namespace(settings.AllowHostCgroupns, "private"),
		"IpcMode":       namespace(settings.AllowHostIPC, "none", "private", "shareable", modeContainer),
		"PidMode":       namespace(settings.AllowHostPID, modeContainer),
		"UTSMode":       namespace(settings.AllowHostUTS),
		"UsernsMode":    namespace(settings.AllowHostUserns),
		"OomScoreAdj":   between(0, 1000, settings.AllowPriority),
		"Privileged":    with(settings.AllowPrivileged),
		"SecurityOpt":   list(checkText(securityOpt)),
		"StorageOpt":    keysOf("", "", "size"),
		"Sysctls":       keysOf(settings.AllowSysctls, settings.AllowSysctl),
		"Runtime":       oneOf(settings.AllowRuntime, "runc", "io.containerd.runc.v2", "nvidia"),
		"Isolation":     oneOf("", "default"),
		"Mounts":        list(admission{check: mountSource, fields: mountRules()}),
		"MaskedPaths":   nullWith(settings.AllowSecurityOpts),
		"ReadonlyPaths": nullWith(settings.AllowSecurityOpts),
	})
	return rules
}

// resourceRules are for what a container may use up. How much of cores and memory it
// gets is for the ledger to say.
func resourceRules() map[string]admission {
	rules := all(
		"Memory", "NanoCpus", "CpuPeriod", "CpuQuota", "CpusetCpus", "CpusetMems", "KernelMemory", "KernelMemoryTCP", "MemoryReservation",
		"MemorySwappiness", "PidsLimit", "RestartPolicy",
		"MemorySwap", // which swap looks at
		"BlkioDeviceReadBps", "BlkioDeviceWriteBps", "BlkioDeviceReadIOps", "BlkioDeviceWriteIOps",
	)
	maps.Copy(rules, map[string]admission{
		"CpuShares":          between(0, 1024, settings.AllowPriority),
		"CgroupParent":       with(settings.AllowCgroupParent),
		"BlkioWeight":        between(0, 500, settings.AllowPriority),
		"BlkioWeightDevice":  with(settings.AllowPriority),
		"CpuRealtimePeriod":  with(settings.AllowPriority),
		"CpuRealtimeRuntime": with(settings.AllowPriority),
		"Devices": list(admission{fields: map[string]admission{
			"PathOnHost": checkText(device), "PathInContainer": free(), "CgroupPermissions": free(),
		}}),
		"DeviceCgroupRules": with(settings.AllowDevices),
		"OomKillDisable":    with(settings.AllowPriority),
		"Ulimits": list(admission{fields: map[string]admission{
			"Name": checkText(ulimit), "Soft": free(), "Hard": free(),
		}}),
	})
	return rules
}

func mountRules() map[string]admission {
	rules := all("Target", "ReadOnly", "Consistency", "TmpfsOptions", "ImageOptions", "Source" /* which mountSource looks at */)
	rules["Type"] = oneOf("", mountBind, mountVolume, "tmpfs", "image")
	bindOptions := all("NonRecursive", "CreateMountpoint", "ReadOnlyNonRecursive", "ReadOnlyForceRecursive")
	bindOptions["Propagation"] = oneOf("", "private", "rprivate", "slave", "rslave")
	rules["BindOptions"] = admission{fields: bindOptions}
	volumeOptions := all("NoCopy", "Labels", "Subpath")
	volumeOptions["DriverConfig"] = admission{fields: map[string]admission{
		"Name": oneOf(settings.AllowVolumeDriver, "local"), "Options": with(settings.AllowVolumeOptions),
	}}
	rules["VolumeOptions"] = admission{fields: volumeOptions}
	return rules
}

// endpointRules are for a container's place on a network. What an engine writes there
// itself is let through where it looks at it no more.
func endpointRules() map[string]admission {
	rules := all(
		"IPAMConfig", "Aliases", "GwPriority", "MacAddress",
		"Links", // of containers that admitOthers looks for
		"Gateway", "IPAddress", "IPPrefixLen", "IPv6Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen",
	)
	rules["DriverOpts"] = with(settings.AllowNetworkOptions)
	return rules
}

func execRules() map[string]admission {
	rules := all("User", "Tty", "ConsoleSize", "AttachStdin", "AttachStdout", "AttachStderr", "DetachKeys", "Env", "WorkingDir", "Cmd", "Detach")
	rules["Privileged"] = with(settings.AllowPrivileged)
	return rules
}

func volumeRules() map[string]admission {
	rules := all("Name", "Labels")
	rules["Driver"] = oneOf(settings.AllowVolumeDriver, "local")
	rules["DriverOpts"] = with(settings.AllowVolumeOptions)
	return rules
}

func networkRules() map[string]admission {
	rules := all("Name", "CheckDuplicate", "EnableIPv4", "EnableIPv6", "Internal", "Attachable", "Labels")
	rules["Driver"] = oneOf(settings.AllowNetworkDriver, "bridge")
	rules["Scope"] = oneOf("", "local")
	rules["IPAM"] = admission{fields: map[string]admission{
		"Driver": oneOf("", "default"), "Options": with(settings.AllowNetworkOptions), "Config": with(settings.AllowSubnets),
	}}
	rules["Options"] = keysOf(settings.AllowNetworkOptions, "",
		"com.docker.network.driver.mtu", "com.docker.network.bridge.enable_icc", "com.docker.network.bridge.enable_ip_masquerade",
		"com.docker.network.container_iface_prefix")
	return rules
}

func connectRules() map[string]admission {
	rules := all("Container", "Force")
	rules["EndpointConfig"] = admission{fields: endpointRules()}
	return rules
}
