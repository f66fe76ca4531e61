package api

import (
	"fmt"
	"path"
	"strings"
)

// devicesBeside are the fields of a HostConfig by which a container comes to a card that
// the ledger did not give it.
type devicesBeside struct {
	Devices           []struct{ PathOnHost string }
	DeviceCgroupRules []string
	Annotations       map[string]string
}

const (
	nvidiaMajor = "195" // of the kernel's numbers, for cards
	// nvidiaMounts is a directory whose files NVIDIA's toolkit can take for names of
	// cards, and nvidiaNotes begins annotations that it can.
	nvidiaMounts = "/var/run/nvidia-container-devices"
	nvidiaNotes  = "cdi.k8s.io/"
)

// rawCards refuses what would give the container cards past the ledger. A privileged
// container is not refused: it has every device of its host, as docker's users expect,
// and what it uses without a grant is seen by its host.
func (w *wish) rawCards() error {
	for _, d := range w.HostConfig.Devices {
		if file := path.Clean(d.PathOnHost); file == "/dev" || strings.HasPrefix(file, "/dev/nvidia") || strings.HasPrefix(file, "/dev/char/"+nvidiaMajor+":") {
			return pastLedger("device " + d.PathOnHost)
		}
	}
	for _, rule := range w.HostConfig.DeviceCgroupRules {
		if words := strings.Fields(rule); len(words) > 1 && strings.HasPrefix(words[1], nvidiaMajor+":") {
			return pastLedger("rule " + rule + " for devices")
		}
	}
	for key := range w.HostConfig.Annotations {
		if strings.HasPrefix(key, nvidiaNotes) {
			return pastLedger("annotation " + key)
		}
	}
	targets := []string{}
	for _, m := range w.HostConfig.Mounts {
		targets = append(targets, m.Target)
	}
	for _, b := range w.HostConfig.Binds {
		if parts := strings.Split(b, ":"); len(parts) > 1 {
			targets = append(targets, parts[1])
		}
	}
	for _, target := range targets {
		if strings.HasPrefix(path.Clean(target), nvidiaMounts) {
			return pastLedger("mount on " + target)
		}
	}
	return nil
}

func pastLedger(what string) error {
	return fmt.Errorf("%s would give the container an NVIDIA card that the cluster does not know to be in use: ask for cards with --gpus", what)
}
