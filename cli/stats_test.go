package cli

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/docker/docker/api/types/container"
)

const statsList = `[
 {"Id":"0123456789abcdef","Names":["/web"],"State":"running","Ddocker":{"Node":"h1","GPUs":[{"UUID":"GPU-1","Index":"0","Utilization":87},{"UUID":"GPU-2","Index":"1"}]}},
 {"Id":"1123456789abcdef","Names":["/db"],"State":"running","Ddocker":{"Node":"h2"}},
 {"Id":"2123456789abcdef","Names":["/far"],"State":"unreachable","Ddocker":{"Node":"h3","Unreachable":true,"GPUs":[{"UUID":"GPU-4","Index":"0"}]}},
 {"Id":"3123456789abcdef","Names":["/gone"],"State":"running","Ddocker":{"Node":"h2"}},
 {"Id":"4123456789abcdef","Names":["/old"],"State":"exited","Ddocker":{"Node":"h1"}}]`

// used is a sample of a container that has used so much CPU in a system of two cores.
func used(cpu, system int64) string {
	return fmt.Sprintf(`{"cpu_stats":{"cpu_usage":{"total_usage":%d},"system_cpu_usage":%d,"online_cpus":2},
	 "memory_stats":{"usage":209715200,"limit":1073741824,"stats":{"inactive_file":104857600}},"pids_stats":{"current":3},
	 "networks":{"eth0":{"rx_bytes":1000,"tx_bytes":20},"eth1":{"rx_bytes":500,"tx_bytes":0}},
	 "blkio_stats":{"io_service_bytes_recursive":[{"op":"Read","value":4096},{"op":"write","value":10},{"op":"","value":7}]}}`, cpu, system)
}

// busyCluster answers stats from the second sample on with a quarter of two cores used.
func busyCluster(t *testing.T) *agent {
	g := newAgent(t)
	g.answers("GET /containers/json", http.StatusOK, statsList)
	var asked atomic.Int64
	g.HandleFunc("GET /containers/0123456789abcdef/stats", func(w http.ResponseWriter, _ *http.Request) {
		n := asked.Add(1)
		fmt.Fprint(w, used(1e9+n*5e8, 10e9+n*2e9))
	})
	g.answers("GET /containers/1123456789abcdef/stats", http.StatusServiceUnavailable, `{"message":"host h2 does not answer"}`)
	g.answers("GET /containers/3123456789abcdef/stats", http.StatusNotFound, `{"message":"No such container"}`)
	g.answers("GET /ddocker/gpus", http.StatusOK, `[
	 {"UUID":"GPU-1","Used":5,"Container":{"ID":"0123456789abcdef"},"Processes":[{"PID":1,"Memory":1073741824,"Container":"0123456789abcdef"},{"PID":2,"Memory":7}]},
	 {"UUID":"GPU-2","Used":5,"Container":{"ID":"0123456789abcdef"},"Processes":[{"PID":1,"Memory":536870912,"Container":"0123456789abcdef"}]}]`)
	return g
}

func TestStatsShowsWhatEveryContainerUses(t *testing.T) {
	t.Parallel()
	g := busyCluster(t)
	r := g.runs(t, "", "stats", "--no-stream")
	want := "" +
		"CONTAINER ID   NAME   CPU %    MEM USAGE / LIMIT   MEM %   NET I/O        BLOCK I/O      PIDS   HOST   GPU   GPU UTIL   GPU MEM\n" +
		"0123456789ab   web    50.00%   100MiB / 1GiB       9.77%   1.5kB / 20B    4.1kB / 10B    3      h1     0,1   87%,-      1.5GiB\n" +
		"1123456789ab   db     --       -- / --             --      --             --             --     h2     -     --         --\n" +
		"2123456789ab   far    --       -- / --             --      --             --             --     h3     0     --         --\n" +
		"4123456789ab   old    0.00%    0B / 0B             0.00%   0B / 0B        0B / 0B        0      h1     -     -          -\n"
	squeezed := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	if r.code != 0 || r.stderr != "" || strings.Count(r.stdout, "\n") != 5 || squeezed(r.stdout) != squeezed(want) {
		t.Errorf("exit code %d, got\n%s%s\nwant\n%s", r.code, r.stdout, r.stderr, want)
	}
	if g.was("GET /containers/4123456789abcdef/stats?one-shot=1&stream=0") || g.was("GET /containers/2123456789abcdef/stats?one-shot=1&stream=0") {
		t.Errorf("it asked for what cannot be told: %q", g.asked)
	}
}

func TestStatsOfSomeContainers(t *testing.T) {
	t.Parallel()
	g := busyCluster(t)
	g.runs(t, "", "stats", "--no-stream", "--format", "{{.Name}} {{.Host}} {{.GPU}} {{.GPUUtil}} {{.GPUMem}} {{.Container}}", "far", "h1/web").wants(t, 0,
		"far h3 0 -- -- 2123456789ab\nweb h1 0,1 87%,- 1.5GiB 0123456789ab\n")
	g.runs(t, "", "container", "stats", "--no-stream", "--no-trunc", "--format", "json", "412").wants(t, 0,
		`{"BlockIO":"0B / 0B","CPUPerc":"0.00%","Container":"4123456789abcdef","GPU":"-","GPUMem":"-","GPUUtil":"-","Host":"h1","ID":"4123456789abcdef",`+
			`"MemPerc":"0.00%","MemUsage":"0B / 0B","Name":"old","NetIO":"0B / 0B","PIDs":"0"}`+"\n")
}

func TestStatsRefusesWhatIsNotThere(t *testing.T) {
	g := busyCluster(t)
	g.runs(t, "", "stats", "--no-stream", "web", "nope").wants(t, 1, "", "Error: No such container: nope\n")
	g.runs(t, "", "stats", "--format", "{{.Nope}}").wants(t, 1, "", "Error: apply --format")
	g.answers("GET /containers/{name}/json", http.StatusNotFound, "{}")
	twins := []containerSummary{{Summary: container.Summary{ID: "012a", Names: []string{"/a"}}}, {Summary: container.Summary{ID: "012b", Names: []string{"/b"}}}}
	if _, err := choose(twins, "012"); err == nil || err.Error() != "multiple IDs found with provided prefix: 012" {
		t.Errorf("got %v", err)
	}
	twins[1].Names[0] = "/012"
	if c, err := choose(twins, "012"); err != nil || c.ID != "012b" {
		t.Errorf("a name is found as %v, %v", c, err)
	}
}

func TestStatsGoesOnWithContainersThatComeAndGo(t *testing.T) {
	t.Parallel()
	g := newAgent(t)
	lists := []string{`[]`, `[{"Id":"aa","Names":["/one"],"State":"running"}]`, `[{"Id":"aa","Names":["/one"],"State":"running"},{"Id":"bb","Names":["/two"],"State":"running"}]`, `[{"Id":"bb","Names":["/two"],"State":"running"}]`}
	var asked atomic.Int64
	g.HandleFunc("GET /containers/json", func(w http.ResponseWriter, _ *http.Request) {
		if n := int(asked.Add(1)); n <= len(lists) {
			fmt.Fprint(w, lists[n-1])
			return
		}
		http.Error(w, "enough", http.StatusTeapot)
	})
	g.answers("GET /containers/{id}/stats", http.StatusOK, used(1, 2))
	g.runs(t, "", "stats", "--format", "{{.Name}} {{.CPUPerc}}").wants(t, 1, "one 0.00%\none 0.00%\ntwo 0.00%\ntwo 0.00%\n", "Error: enough\n")
}

func TestShareOfTheCPUIsDockers(t *testing.T) {
	sample := func(cpu, system uint64, online uint32, each int) (s container.CPUStats) {
		s.CPUUsage.TotalUsage, s.SystemUsage, s.OnlineCPUs = cpu, system, online
		s.CPUUsage.PercpuUsage = make([]uint64, each)
		return s
	}
	for _, c := range []struct {
		name              string
		last, engine, now container.CPUStats
		want              float64
	}{
		{"half of four cores", sample(100, 1000, 4, 0), container.CPUStats{}, sample(200, 1200, 4, 0), 200},
		{"an old engine tells of each core alone", sample(100, 1000, 0, 2), container.CPUStats{}, sample(200, 1200, 0, 2), 100},
		{"the engine's own sample, without one of ours", container.CPUStats{}, sample(100, 1000, 1, 0), sample(150, 1200, 1, 0), 25},
		{"the first", container.CPUStats{}, container.CPUStats{}, sample(150, 1200, 1, 0), 0},
		{"it was started again", sample(500, 1000, 1, 0), container.CPUStats{}, sample(10, 1200, 1, 0), 0},
		{"no time has passed", sample(100, 1000, 1, 0), container.CPUStats{}, sample(150, 1000, 1, 0), 0},
	} {
		if got := cpuPercent(c.last, &container.StatsResponse{CPUStats: c.now, PreCPUStats: c.engine}); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestUsedMemoryLeavesOutWhatTheKernelCanDrop(t *testing.T) {
	for _, c := range []struct {
		stats map[string]uint64
		want  float64
	}{
		{nil, 100},
		{map[string]uint64{"total_inactive_file": 30, "inactive_file": 99}, 70}, // cgroup v1
		{map[string]uint64{"inactive_file": 40}, 60},                            // v2
		{map[string]uint64{"inactive_file": 400}, 100},
	} {
		if got := memoryUsed(&container.MemoryStats{Usage: 100, Stats: c.stats}); got != c.want {
			t.Errorf("%v: got %v, want %v", c.stats, got, c.want)
		}
	}
}

func TestGPUMemoryIsUnknownWhereAProcessDoesNotTell(t *testing.T) {
	one, none := int64(1<<30), (*int64)(nil)
	for _, c := range []struct {
		cards []*int64 // of one process each
		want  string
	}{
		{nil, "--"},
		{[]*int64{&one}, "1GiB"},
		{[]*int64{&one, &one}, "2GiB"},
		{[]*int64{&one, none}, "--"},
	} {
		m := gpuMemory{"a": &cardMemory{}}
		for _, memory := range c.cards {
			read := card{Used: &one, Processes: []cardProcess{{Container: "a", Memory: memory}, {PID: 1}}}
			read.Container = &struct{ ID, Name, Owner string }{ID: "a"}
			m.add(&read)
		}
		if got := m.of(&containerSummary{Summary: container.Summary{ID: "a"}}); got != c.want {
			t.Errorf("%d cards: got %s, want %s", len(c.cards), got, c.want)
		}
	}
}
