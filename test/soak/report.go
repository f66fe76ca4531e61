package main

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// report writes what happened, its picture, and the samples.
func (s *soak) report(long time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.MkdirAll(s.out, 0o755); err != nil {
		return err
	}
	for name, text := range map[string]string{"report.md": s.text(long), "report.svg": s.picture(), "samples.csv": s.csv()} {
		if err := os.WriteFile(filepath.Join(s.out, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	fmt.Fprintf(os.Stderr, "soak: the report is %s\n", filepath.Join(s.out, "report.md"))
	return nil
}

func (s *soak) text(long time.Duration) string {
	var b strings.Builder
	verdict := "nothing was wrong"
	if n := len(s.violations); n > 0 {
		verdict = fmt.Sprintf("violations: %d", n)
	}
	fmt.Fprintf(&b, "# Soak of %v: %s\n\nBegun %s, seed %d, three hosts with an engine each, %d clients.\n\n",
		long, verdict, s.began.UTC().Format(time.DateTime), s.seed, clients)
	fmt.Fprintf(&b, "Clients: %d commands were done, %d refused with a reason, %d failed.\n\n", s.counts.done.Load(), s.counts.refused.Load(), s.counts.failed.Load())
	if len(s.agreed) > 0 {
		fmt.Fprintf(&b, "Quiet times: %d. After all was mended the nodes agreed after %v at most (bound: %v).\n\n", len(s.agreed), slices.Max(s.agreed).Round(time.Millisecond), agreement)
	}
	fmt.Fprintf(&b, "![what the agents took](report.svg)\n\n## What the agent of %s took, which was never killed\n\n", measured)
	b.WriteString("| | quiet times | first | largest | grew by | bound | |\n|---|---|---|---|---|---|---|\n")
	for _, g := range s.growths() {
		bound, word := fmt.Sprintf("grows by %.0f %s at most", g.may, g.unit), "flat"
		if g.may == 0 {
			bound, word = fmt.Sprintf("%.0f %s at most", g.most, g.unit), "bounded"
		}
		if !g.fine() {
			word = "**not** " + word
		}
		fmt.Fprintf(&b, "| %s | %d | %.1f %s | %.1f %s | %.1f %s | %s | %s |\n", g.name, g.samples, g.first, g.unit, g.largest, g.unit, g.grew, g.unit, bound, word)
	}
	fmt.Fprintf(&b, "\nGrowth is the median slope between all quiet times but the first, over the time between them.\n")
	s.listed(&b, "Violations", s.violations)
	if len(s.failures) > 0 {
		b.WriteString("\n## What failed, and was no refusal\n\n")
		most := slices.SortedFunc(maps.Keys(s.failures), func(x, y string) int {
			return cmp.Or(cmp.Compare(s.failures[y], s.failures[x]), cmp.Compare(x, y))
		})
		for _, what := range most[:min(len(most), 20)] {
			fmt.Fprintf(&b, "- %d times: %s\n", s.failures[what], what)
		}
	}
	s.listed(&b, "What happened", s.events)
	return b.String()
}

func (s *soak) listed(b *strings.Builder, title string, events []event) {
	if len(events) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## %s\n\n", title)
	for _, e := range events {
		fmt.Fprintf(b, "- %6.1f s  %s\n", e.at.Sub(s.began).Seconds(), e.what)
	}
}

// The picture, in pixels: one panel for each quantity.
const (
	width, height = 900, 150 // of a panel
	left, right   = 70, 20
	above, below  = 28, 22
)

// colours of the hosts.
var colours = map[string]string{"h1": "#1b6ca8", "h2": "#c05621", "h3": "#2f855a"}

// picture draws every quantity of every host over time. Grey lines are faults, red ones
// violations; dots are quiet times.
func (s *soak) picture() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">`+"\n", width, height*len(quantities))
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/>`+"\n")
	for q := range quantities {
		s.panel(&b, q)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (s *soak) panel(b *strings.Builder, q int) {
	long, high := time.Second, 1.0
	for _, one := range s.samples {
		long, high = max(long, one.at.Sub(s.began)), max(high, one.of[q]*1.1)
	}
	top := height * q
	x := func(at time.Time) float64 {
		return left + float64(width-left-right)*at.Sub(s.began).Seconds()/long.Seconds()
	}
	y := func(v float64) float64 {
		return float64(top+height-below) - float64(height-above-below)*v/high
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" font-weight="bold">%s %s</text>`+"\n", left, top+18, quantities[q].name, quantities[q].unit)
	for _, e := range s.events {
		if strings.HasPrefix(e.what, "lab ") {
			fmt.Fprintf(b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#dddddd"/>`+"\n", x(e.at), x(e.at), top+above, top+height-below)
		}
	}
	for _, e := range s.violations {
		fmt.Fprintf(b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="red"/>`+"\n", x(e.at), x(e.at), top+above, top+height-below)
	}
	for _, v := range []float64{0, high / 2, high} {
		fmt.Fprintf(b, `<text x="%d" y="%.1f" text-anchor="end">%.0f</text><line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#eeeeee"/>`+"\n", left-6, y(v)+4, v, left, width-right, y(v), y(v))
	}
	for minute := time.Duration(0); minute <= long; minute += max(time.Minute, (long / 10).Truncate(time.Minute)) {
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%.0f min</text>`+"\n", x(s.began.Add(minute)), top+height-6, minute.Minutes())
	}
	for i, host := range slices.Sorted(maps.Keys(colours)) {
		fmt.Fprintf(b, `<text x="%d" y="%d" fill="%s">%s</text>`+"\n", width-right-90+30*i, top+18, colours[host], host)
		s.line(b, host, q, x, y)
	}
}

// line is one host's, broken where its agent was another process.
func (s *soak) line(b *strings.Builder, host string, q int, x func(time.Time) float64, y func(float64) float64) {
	var points []string
	flush := func() {
		if len(points) > 1 {
			fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s"/>`+"\n", strings.Join(points, " "), colours[host])
		}
		points = nil
	}
	var last sample
	for _, one := range s.samples {
		if one.host != host || one.of[q] < 0 {
			continue
		}
		if one.life != last.life {
			flush()
		}
		last = one
		points = append(points, fmt.Sprintf("%.1f,%.1f", x(one.at), y(one.of[q])))
		if one.quiet {
			fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x(one.at), y(one.of[q]), colours[host])
		}
	}
	flush()
}
