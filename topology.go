package main

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"ddocker/sched"
)

// readTopology reads how cores are grouped from the kernel's tree of the system's
// devices: node/nodeN/cpulist and cpu/cpuN/topology. What it does not tell, as some
// virtual machines and small kernels do not, is left out. A core that is offline is
// in no group.
func readTopology(root string) sched.Topology {
	return sched.Topology{Nodes: numaNodes(root), Physical: physicalCores(root)}
}

// mostNodes is Linux's own limit.
const mostNodes = 1024

func numaNodes(root string) []sched.CPUSet {
	var nodes []sched.CPUSet
	for _, dir := range numbered(filepath.Join(root, "node"), "node") {
		cores := coreList(filepath.Join(dir.path, "cpulist"))
		if cores.Count() == 0 || dir.number >= mostNodes {
			continue
		}
		for len(nodes) <= dir.number {
			nodes = append(nodes, sched.CPUSet{})
		}
		nodes[dir.number] = cores
	}
	return nodes
}

func physicalCores(root string) []sched.CPUSet {
	var all []sched.CPUSet
	var seen sched.CPUSet
	for _, dir := range numbered(filepath.Join(root, "cpu"), "cpu") {
		threads := coreList(filepath.Join(dir.path, "topology", "core_cpus_list"))
		if threads.Count() == 0 { // before Linux 5.3
			threads = coreList(filepath.Join(dir.path, "topology", "thread_siblings_list"))
		}
		if threads.Count() > 0 && !seen.Intersects(threads) {
			all, seen = append(all, threads), seen.Union(threads)
		}
	}
	return all
}

type numberedDir struct {
	path   string
	number int
}

// numbered lists the entries of a directory that are named so and a number, by it.
func numbered(dir, name string) []numberedDir {
	entries, _ := os.ReadDir(dir) // it may not be there
	var found []numberedDir
	for _, e := range entries {
		digits, is := strings.CutPrefix(e.Name(), name)
		if n, err := strconv.ParseUint(digits, 10, 16); is && err == nil {
			found = append(found, numberedDir{filepath.Join(dir, e.Name()), int(n)})
		}
	}
	slices.SortFunc(found, func(a, b numberedDir) int { return cmp.Compare(a.number, b.number) })
	return found
}

// coreList reads a list of cores; what cannot be read has none.
func coreList(path string) sched.CPUSet {
	text, _ := os.ReadFile(path) // it may not be there
	cores, err := sched.ParseCPUSet(string(text))
	if err != nil {
		return sched.CPUSet{}
	}
	return cores
}
