package main

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ddocker/test/lab"
)

// every is how often resources are read while there is load.
const every = 10 * time.Second

// measured is the host whose agent lives from the begin to the end.
const measured = "h1"

// sample is what one agent takes at one moment. What could not be read is negative.
type sample struct {
	at    time.Time
	host  string
	life  lab.Process
	quiet bool
	of    [len(quantities)]float64
}

// quantity is one thing that is measured.
type quantity struct {
	name, unit string
	// may is how much it may grow from the second quiet time to the last; 0: it may not be
	// more than most at any time.
	may, most float64
}

// quantities that an agent takes. The log is cut every 8192 entries, and the audit log ends
// at 64 MiB: both grow until then.
var quantities = [...]quantity{
	{name: "memory", unit: "MiB", may: 24},
	{name: "descriptors", may: 32},
	{name: "goroutines", may: 48},
	{name: "threads", may: 16},
	{name: "log on disk", unit: "MiB", most: 64},
	{name: "audit log", unit: "MiB", most: 66},
}

// watchResources measures under load.
func (s *soak) watchResources(ctx context.Context) {
	for ctx.Err() == nil {
		s.measure(ctx, false)
		pause(ctx, every)
	}
}

// measure reads what every agent that runs takes.
func (s *soak) measure(ctx context.Context, quiet bool) {
	for i, h := range s.lab.Hosts() {
		p, err := h.AgentProcess()
		if err != nil {
			continue // it is down
		}
		one := sample{at: time.Now(), host: h.Name(), life: p, quiet: quiet}
		one.of = [...]float64{
			number(p.Resident()) / (1 << 20), number(int64of(p.Descriptors())), s.goroutines(ctx, i+1), number(p.Threads()),
			s.size(h, "raft") / (1 << 20), s.size(h, "audit") / (1 << 20),
		}
		s.mu.Lock()
		s.samples = append(s.samples, one)
		s.mu.Unlock()
	}
}

func number(n int64, err error) float64 {
	if err != nil {
		return -1 << 20
	}
	return float64(n)
}

func int64of(n int, err error) (int64, error) { return int64(n), err }

// goroutines asks the agent. While things are broken it may have no answer.
func (s *soak) goroutines(ctx context.Context, i int) float64 {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	var info struct{ NGoroutines int64 }
	err := s.judge.Agent(i).Ask(ctx, http.MethodGet, "/info", nil, &info)
	return number(info.NGoroutines, err)
}

// size is how many bytes the files of a directory of the agent's data have.
func (s *soak) size(h *lab.Host, dir string) (size float64) {
	filepath.WalkDir(filepath.Join(s.lab.Dir, h.Name(), "state", dir), func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			if info, err := e.Info(); err == nil {
				size += float64(info.Size())
			}
		}
		return nil // a file may be gone meanwhile
	})
	return size
}

// growth is how much a quantity grew over a run, by the median of the slopes between all
// its quiet times but the first, until which an agent warms up.
type growth struct {
	quantity
	from, to time.Duration // since the begin
	first    float64
	grew     float64
	largest  float64
	samples  int
}

func (g growth) fine() bool {
	if g.may > 0 {
		return g.grew <= g.may
	}
	return g.largest <= g.most
}

func (g growth) String() string {
	return fmt.Sprintf("%s of the agent of %s grew by %.1f %s from %.1f", g.name, measured, g.grew, g.unit, g.first)
}

// growths are those of the agent that lived all the time.
func (s *soak) growths() (all []growth) {
	for q := range quantities {
		g := growth{quantity: quantities[q]}
		var at []time.Duration
		var values []float64
		for _, one := range s.samples {
			if one.host == measured && one.of[q] >= 0 {
				g.largest = max(g.largest, one.of[q])
				if one.quiet {
					at, values = append(at, one.at.Sub(s.began)), append(values, one.of[q])
				}
			}
		}
		if len(values) > 2 {
			at, values = at[1:], values[1:]
		}
		if g.samples = len(values); g.samples > 0 {
			g.from, g.to, g.first = at[0], at[len(at)-1], values[0]
			g.grew = slope(at, values) * (g.to - g.from).Seconds()
		}
		all = append(all, g)
	}
	return all
}

// slope is the median of those between all pairs, a second.
func slope(at []time.Duration, values []float64) float64 {
	var all []float64
	for i := range at {
		for j := range i {
			all = append(all, (values[i]-values[j])/(at[i]-at[j]).Seconds())
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// judgeGrowth says what is not flat, and whether the agent that is measured was one.
func (s *soak) judgeGrowth() {
	for _, g := range s.growths() {
		switch {
		case !g.fine():
			s.violated("%v", g)
		case g.samples == 0:
			s.violated("the %s of the agent of %s was never read in a quiet time", g.name, measured)
		}
	}
	lives := map[lab.Process]bool{}
	for _, one := range s.samples {
		if one.host == measured {
			lives[one.life] = true
		}
	}
	if len(lives) > 1 {
		s.violated("the agent of %s, which nobody killed, had %d lives", measured, len(lives))
	}
}

// csv is all samples, for whoever wants to look closer.
func (s *soak) csv() string {
	var b strings.Builder
	b.WriteString("seconds,host,quiet")
	for _, q := range quantities {
		b.WriteString("," + q.name)
	}
	for _, one := range s.samples {
		fmt.Fprintf(&b, "\n%.0f,%s,%v", one.at.Sub(s.began).Seconds(), one.host, one.quiet)
		for _, v := range one.of {
			fmt.Fprintf(&b, ",%.2f", v)
		}
	}
	return b.String() + "\n"
}
