package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"
)

// outcome is what a schedule showed, as TestSimulation prints it.
type outcome struct {
	Seed, Machines, Asked, Created int
	Faults, Took, Wrong            []string
	Agree, Orphans                 float64
	CreateAfter, Listed, Alone     []float64
}

// sum is what all schedules showed.
type sum struct {
	schedules, failed, asked, created, machines int
	faults, took                                map[string]int
	agree, orphans, createAfter, listed, alone  []float64
	cpu                                         time.Duration
}

func (s *sum) add(o *outcome) {
	if s.faults == nil {
		s.faults, s.took = map[string]int{}, map[string]int{}
	}
	s.schedules++
	s.asked += o.Asked
	s.created += o.Created
	s.machines += o.Machines
	if len(o.Wrong) > 0 {
		s.failed++
	}
	for _, f := range o.Faults {
		s.faults[f]++
	}
	for _, f := range o.Took {
		s.took[f]++
	}
	s.agree = append(s.agree, o.Agree)
	s.orphans = append(s.orphans, o.Orphans)
	s.createAfter = append(s.createAfter, o.CreateAfter...)
	s.listed = append(s.listed, o.Listed...)
	s.alone = append(s.alone, o.Alone...)
}

func (s *sum) spent(p *os.ProcessState) {
	if p != nil {
		s.cpu += p.UserTime() + p.SystemTime()
	}
}

// What figures may be: of enough creates, so that a hundredth of them is some.
const (
	nextCreate = 5 * time.Second // p99, after a leader's death
	lonelyList = time.Second     // the longest, where no machine hears another
	enough     = 100
)

// slow says which figure, of those that write has sorted, is not what was promised.
func (s *sum) slow() error {
	if n := len(s.createAfter); n >= enough && s.createAfter[(n-1)*99/100] >= nextCreate.Seconds() {
		return fmt.Errorf("of %d creates after a leader's death one in a hundred took %.2f s or more, which is to be less than %v", n, s.createAfter[(n-1)*99/100], nextCreate)
	}
	if n := len(s.alone); n > 0 && s.alone[n-1] >= lonelyList.Seconds() {
		return fmt.Errorf("a list took %.2f s where no machine heard another, which is to be less than %v", s.alone[n-1], lonelyList)
	}
	return nil
}

// write writes the figures.
func (s *sum) write(w io.Writer, took time.Duration) {
	if s.schedules == 0 {
		return
	}
	fmt.Fprintf(w, "%d schedules (%d machines, %d requests, %d containers made), %d broke a promise\n", s.schedules, s.machines, s.asked, s.created, s.failed)
	fmt.Fprintf(w, "%.0f a minute, %.2f CPU seconds each\n", float64(s.schedules)/took.Minutes(), s.cpu.Seconds()/float64(s.schedules))
	for _, row := range []struct {
		what   string
		values []float64
	}{
		{"all machines see the same, after the last fault", s.agree},
		{"nothing is half-made, after that", s.orphans},
		{"the next create runs, after a leader's death", s.createAfter},
		{"a list of a live agent", s.listed},
		{"the same, while no machine hears another", s.alone},
	} {
		if n := len(row.values); n > 0 {
			slices.Sort(row.values)
			fmt.Fprintf(w, "%-50s median %6.2f s, p99 %6.2f s, longest %6.2f s (n=%d)\n", row.what, row.values[n/2], row.values[n*99/100], row.values[n-1], n)
		}
	}
	fmt.Fprint(w, "faults, of them in effect:")
	for _, f := range slices.SortedFunc(maps.Keys(s.faults), func(a, b string) int { return cmp.Compare(s.faults[b], s.faults[a]) }) {
		fmt.Fprintf(w, " %s %d/%d,", f, s.faults[f], s.took[f])
	}
	fmt.Fprintln(w)
}
