package cli

import (
	"strconv"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/go-units"
)

// statsRow is what one container uses, as templates and --format json see it. The
// fields are docker's, and four of the cluster's.
type statsRow struct {
	BlockIO   string
	CPUPerc   string
	Container string
	GPU       string
	GPUMem    string
	GPUUtil   string
	Host      string
	ID        string
	MemPerc   string
	MemUsage  string
	Name      string
	NetIO     string
	PIDs      string
}

func statsTable() table {
	return table{
		columns: "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}" +
			"\t{{.Host}}\t{{.GPU}}\t{{.GPUUtil}}\t{{.GPUMem}}",
		titles: titles{
			"BlockIO": "BLOCK I/O", "CPUPerc": "CPU %", "Container": "CONTAINER", "GPU": "GPU", "GPUMem": "GPU MEM",
			"GPUUtil": "GPU UTIL", "Host": "HOST", "ID": "CONTAINER ID", "MemPerc": "MEM %", "MemUsage": "MEM USAGE / LIMIT",
			"Name": "NAME", "NetIO": "NET I/O", "PIDs": "PIDS",
		},
	}
}

// fill writes a sample into the row, as docker's own command would. Before is the last
// one's, if there was one.
func (r *statsRow) fill(before container.CPUStats, s *container.StatsResponse) {
	used, limit := memoryUsed(&s.MemoryStats), float64(s.MemoryStats.Limit)
	share := 0.0
	if limit > 0 {
		share = used / limit * 100
	}
	var in, out float64
	for _, n := range s.Networks {
		in, out = in+float64(n.RxBytes), out+float64(n.TxBytes)
	}
	var read, written float64
	for _, e := range s.BlkioStats.IoServiceBytesRecursive {
		switch {
		case e.Op == "":
		case e.Op[0] == 'r' || e.Op[0] == 'R':
			read += float64(e.Value)
		case e.Op[0] == 'w' || e.Op[0] == 'W':
			written += float64(e.Value)
		}
	}
	r.CPUPerc, r.MemPerc = percent(cpuPercent(before, s)), percent(share)
	r.MemUsage = units.BytesSize(used) + " / " + units.BytesSize(limit)
	r.NetIO, r.BlockIO = sizes(in, out), sizes(read, written)
	r.PIDs = strconv.FormatUint(s.PidsStats.Current, 10)
}

func sizes(a, b float64) string {
	return units.HumanSizeWithPrecision(a, 3) + " / " + units.HumanSizeWithPrecision(b, 3)
}

func percent(x float64) string { return strconv.FormatFloat(x, 'f', 2, 64) + "%" }

// cpuPercent is the share of one core that the container used since the sample before;
// an engine that keeps such a sample itself sends it along.
func cpuPercent(before container.CPUStats, s *container.StatsResponse) float64 {
	if before.SystemUsage == 0 {
		before = s.PreCPUStats
	}
	if before.SystemUsage == 0 {
		return 0 // the first of a container that has just come
	}
	now := &s.CPUStats
	used := float64(now.CPUUsage.TotalUsage) - float64(before.CPUUsage.TotalUsage)
	passed := float64(now.SystemUsage) - float64(before.SystemUsage)
	cores := float64(now.OnlineCPUs)
	if cores == 0 {
		cores = float64(len(now.CPUUsage.PercpuUsage))
	}
	if used <= 0 || passed <= 0 {
		return 0
	}
	return used / passed * cores * 100
}

// memoryUsed leaves out what the kernel can drop at any time: what it keeps of files
// that nobody used lately, as cgroups of version 1 and 2 call it.
func memoryUsed(m *container.MemoryStats) float64 {
	for _, name := range []string{"total_inactive_file", "inactive_file"} {
		if idle, ok := m.Stats[name]; ok && idle < m.Usage {
			return float64(m.Usage - idle)
		}
	}
	return float64(m.Usage)
}
