package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// row is one line of the table.
type row struct {
	what     string
	measured string
	demanded string // empty: for information
	missed   bool
	detail   string
}

// table is what was measured so far.
type table struct{ rows []row }

// ratio adds a row for a ratio of medians, one side over the other.
func (t *table) ratio(what string, a, b sample, most float64) {
	t.limited(what, a.median()/b.median(), "%.2f×", most, fmt.Sprintf("%s ÷ %s", a, b))
}

// limited adds a row for a number that should be no more than most; 0: whatever it is.
func (t *table) limited(what string, is float64, format string, most float64, detail string) {
	r := row{what: what, measured: fmt.Sprintf(format, is), detail: detail}
	if most > 0 {
		r.demanded, r.missed = "≤ "+fmt.Sprintf(format, most), !(is <= most)
	}
	t.rows = append(t.rows, r)
}

// atLeast adds a row for a number that should be no less than least; 0: whatever it is.
func (t *table) atLeast(what string, is float64, format string, least float64, detail string) {
	r := row{what: what, measured: fmt.Sprintf(format, is), detail: detail}
	if least > 0 {
		r.demanded, r.missed = "≥ "+fmt.Sprintf(format, least), !(is >= least)
	}
	t.rows = append(t.rows, r)
}

// absent adds a row for what could not be measured: it counts as missed.
func (t *table) absent(what, why string) {
	t.rows = append(t.rows, row{what: what, measured: "not measured: " + why, demanded: "measured", missed: true})
}

func (t *table) missed() int {
	n := 0
	for _, r := range t.rows {
		if r.missed {
			n++
		}
	}
	return n
}

func (r row) verdict() string {
	switch {
	case r.demanded == "":
		return ""
	case r.missed:
		return "MISSED"
	}
	return "ok"
}

// print writes the table, and once more loudly what was missed.
func (t *table) print(out io.Writer) {
	if len(t.rows) == 0 {
		return
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHAT\tMEASURED\tDEMANDED\t\tMEDIAN (MIN–MAX)")
	for _, r := range t.rows {
		fmt.Fprintln(w, strings.Join([]string{r.what, r.measured, r.demanded, r.verdict(), r.detail}, "\t"))
	}
	w.Flush()
	for _, r := range t.rows {
		if r.missed {
			fmt.Fprintf(out, "MISSED: %s is %s, demanded is %s\n", r.what, r.measured, r.demanded)
		}
	}
}
