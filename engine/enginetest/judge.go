package enginetest

import (
	"fmt"
	"slices"
)

// judge records what b, which runs, holds together with another that runs.
func (t *Twin) judge(b *box) {
	cores, _ := cpuset(b.host.CpusetCpus) // checked when it was set
	for _, other := range t.containers {
		if other == b || !other.running {
			continue
		}
		theirs, _ := cpuset(other.host.CpusetCpus)
		for _, core := range cores {
			if slices.Contains(theirs, core) {
				t.violate("core", core, b, other)
			}
		}
		for _, gpu := range b.gpus {
			if slices.Contains(other.gpus, gpu) {
				t.violate("GPU", gpu, b, other)
			}
		}
	}
	t.judgePorts(b)
}

// judgePorts looks for what choose must have prevented.
func (t *Twin) judgePorts(b *box) {
	for _, p := range b.held {
		for _, mine := range t.bound[p] {
			for _, other := range t.bound[p] {
				if mine.by == b && other.by != b && overlap(mine.ip, other.ip) {
					t.violate("port", fmt.Sprintf("%d/%s", p.port, p.proto), b, other.by)
				}
			}
		}
	}
}

func (t *Twin) violate(kind string, what any, a, b *box) {
	t.violations = append(t.violations, fmt.Sprintf("%s %v is held by %s and %s", kind, what, a.name, b.name))
}
