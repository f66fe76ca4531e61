package api

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
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
	nvidiaMajor = 195 // of the kernel's numbers, for cards
	// nvidiaMounts is a directory whose files NVIDIA's toolkit can take for names of
	// cards, and nvidiaNotes begins annotations that it can.
	nvidiaMounts = "/var/run/nvidia-container-devices"
	nvidiaNotes  = "cdi.k8s.io/"
)

// rawCards refuses what would give the container cards past the ledger. A privileged
// container is not refused: it has every device of its host, as docker's users expect,
// and while it uses a card without a grant, its host tells that the card is busy.
func (w *wish) rawCards() error {
	for _, d := range w.HostConfig.Devices {
		if !harmless(d.PathOnHost) {
			return pastLedger("device " + d.PathOnHost)
		}
	}
	for _, rule := range w.HostConfig.DeviceCgroupRules {
		if err := checkRule(rule); err != nil {
			return err
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

// harmless says whether a device of the host is surely no card: it is below /dev, and
// nobody but root makes links where it is.
func harmless(device string) bool {
	file, below := strings.CutPrefix(path.Clean(device), "/dev/")
	if !below || strings.HasPrefix(file, "nvidia") || slices.Contains(strings.Split(device, "/"), "..") {
		return false
	}
	dir, name, _ := strings.Cut(file, "/")
	switch dir {
	case "fd", "shm", "mqueue": // where processes and users make links
		return false
	case "char": // links by numbers
		return !strings.HasPrefix(name, strconv.Itoa(nvidiaMajor)+":")
	}
	return true
}

// deviceRule is what engines take for one.
var deviceRule = regexp.MustCompile(`^([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})$`)

// checkRule refuses a rule for devices that has any card in it. To the kernel one for
// "a" is for all devices, whatever numbers it has.
func checkRule(rule string) error {
	words := deviceRule.FindStringSubmatch(rule)
	if words == nil {
		return fmt.Errorf("invalid device cgroup rule format: '%s'", rule) // as engines say it
	}
	if words[1] == "b" {
		return nil
	}
	major, err := strconv.ParseUint(words[2], 10, 32) // not of "*"
	if words[1] == "a" || err != nil || major == nvidiaMajor {
		return pastLedger("rule " + rule + " for devices")
	}
	return nil
}

func pastLedger(what string) error {
	return fmt.Errorf("%s would give the container an NVIDIA card that the cluster does not know to be in use: ask for cards with --gpus", what)
}
