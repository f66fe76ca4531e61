package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ddocker/sched"
)

// tree writes files, given by path.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for _, path := range slices.Sorted(maps.Keys(files)) {
		at := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(files[path]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func lists(sets []sched.CPUSet) string {
	var all []string
	for _, s := range sets {
		all = append(all, s.String())
	}
	return strings.Join(all, " ")
}

func TestTheTopologyIsReadFromTheKernelsTree(t *testing.T) {
	threads := func(list string) string { return list + "\n" }
	for _, c := range []struct {
		name            string
		files           map[string]string
		nodes, physical string
		count           int // of nodes
	}{
		{
			"two sockets with two threads a core", map[string]string{
				"node/node0/cpulist": "0-1,4-5\n", "node/node1/cpulist": "2-3,6-7\n", "node/possible": "0-1\n",
				"cpu/cpu0/topology/core_cpus_list": threads("0,4"), "cpu/cpu4/topology/core_cpus_list": threads("0,4"),
				"cpu/cpu1/topology/core_cpus_list": threads("1,5"), "cpu/cpu5/topology/core_cpus_list": threads("1,5"),
				"cpu/cpu2/topology/core_cpus_list": threads("2,6"), "cpu/cpu6/topology/core_cpus_list": threads("2,6"),
				"cpu/cpu3/topology/core_cpus_list": threads("3,7"), "cpu/cpu7/topology/core_cpus_list": threads("3,7"),
				"cpu/cpufreq/boost": "1\n", "cpu/online": "0-7\n",
			}, "0-1,4-5 2-3,6-7", "0,4 1,5 2,6 3,7", 2,
		},
		{
			"more than ten, in the order of their numbers", map[string]string{
				"cpu/cpu10/topology/core_cpus_list": "10\n", "cpu/cpu2/topology/core_cpus_list": "2\n", "cpu/cpu9/topology/core_cpus_list": "9\n",
			}, "", "2 9 10", 0,
		},
		{
			"offline cores", map[string]string{
				"node/node0/cpulist":               "0-1\n",
				"cpu/cpu0/topology/core_cpus_list": "0\n", "cpu/cpu1/topology/core_cpus_list": "1\n",
				"cpu/cpu2/online": "0\n", "cpu/cpu3/online": "0\n",
			}, "0-1", "0 1", 1,
		},
		{
			"an old kernel, without a tree of nodes", map[string]string{
				"cpu/cpu0/topology/thread_siblings_list": "0-1\n", "cpu/cpu1/topology/thread_siblings_list": "0-1\n",
			}, "", "0-1", 0,
		},
		{
			"nodes with only memory, and numbers that are left out", map[string]string{
				"node/node0/cpulist": "0-3\n", "node/node1/cpulist": "\n", "node/node8/cpulist": "4-7\n", "node/node255/cpulist": "\n",
			}, "0-3        4-7", "", 9,
		},
		{"a machine that tells nothing", nil, "", "", 0},
		{
			"garbage", map[string]string{
				"node/node0/cpulist": "lots\n", "node/node1000000/cpulist": "0\n", "cpu/cpu0/topology/core_cpus_list": "0-99999999\n",
			}, "", "", 0,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := readTopology(tree(t, c.files))
			if lists(got.Nodes) != c.nodes || len(got.Nodes) != c.count {
				t.Errorf("nodes are %q (%d), want %q (%d)", lists(got.Nodes), len(got.Nodes), c.nodes, c.count)
			}
			if lists(got.Physical) != c.physical {
				t.Errorf("physical cores are %q, want %q", lists(got.Physical), c.physical)
			}
		})
	}
}

func TestEveryPhysicalCoreOfThisMachineIsInOneGroup(t *testing.T) {
	got := readTopology("/sys/devices/system")
	for _, groups := range [][]sched.CPUSet{got.Nodes, got.Physical} {
		var seen sched.CPUSet
		for _, g := range groups {
			if seen.Intersects(g) {
				t.Errorf("a core is in two groups of %s", lists(groups))
			}
			seen = seen.Union(g)
		}
	}
}
