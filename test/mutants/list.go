package main

import (
	"bufio"
	"bytes"
	"embed"
	"fmt"
	"slices"
	"strings"
)

//go:embed list/*.txt
var lists embed.FS

// mutant is one defect.
type mutant struct {
	name   string
	is     string // in words
	breaks string
	caught catcher
	edits  []edit
	at     string // where it is in the lists
}

// catcher is who has to see a defect: tests of a package, or the simulator.
type catcher struct {
	where string   // a package, or simulator
	args  []string // a pattern and flags; or how many schedules, and what one of them is to show
}

const simulator = "sim"

// edit replaces lines of a file.
type edit struct{ file, old, new string }

// mutants returns all of the lists.
func mutants() ([]mutant, error) {
	files, err := lists.ReadDir("list")
	if err != nil {
		return nil, err
	}
	var all []mutant
	for _, f := range files {
		text, err := lists.ReadFile("list/" + f.Name())
		if err != nil {
			return nil, err
		}
		some, err := parse(f.Name(), text)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	for i, m := range all {
		if slices.ContainsFunc(all[:i], func(o mutant) bool { return o.name == m.name }) {
			return nil, fmt.Errorf("%s: a mutant is named %s already", m.at, m.name)
		}
		if m.is == "" || m.breaks == "" || m.caught.where == "" || len(m.caught.args) == 0 || len(m.edits) == 0 {
			return nil, fmt.Errorf("%s: mutant %s lacks what it is, breaks or changes, or who catches it", m.at, m.name)
		}
	}
	return all, nil
}

// reader goes through one list.
type reader struct {
	at    string // the file
	lines *bufio.Scanner
	line  int
	file  string // of the next edit
	all   []mutant
}

func parse(at string, text []byte) ([]mutant, error) {
	r := &reader{at: at, lines: bufio.NewScanner(bytes.NewReader(text))}
	for r.next() {
		if err := r.read(r.lines.Text()); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", r.at, r.line, err)
		}
	}
	return r.all, r.lines.Err()
}

func (r *reader) next() bool {
	r.line++
	return r.lines.Scan()
}

// read takes one line that is no part of an edit, or an edit as a whole.
func (r *reader) read(line string) error {
	word, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	if line == "" || strings.HasPrefix(line, "#") {
		return nil
	}
	if word == "mutant" {
		r.file = ""
		r.all = append(r.all, mutant{name: rest, at: fmt.Sprintf("%s:%d", r.at, r.line)})
		return nil
	}
	if len(r.all) == 0 {
		return fmt.Errorf("%q is part of no mutant", line)
	}
	m := &r.all[len(r.all)-1]
	switch word {
	case "is":
		m.is = rest
	case "breaks":
		m.breaks = rest
	case "caught":
		fields := append(strings.Fields(rest), "")
		m.caught = catcher{fields[0], fields[1 : len(fields)-1]}
	case "file":
		r.file = rest
	case "<<<<":
		old, err := r.until("====")
		if err != nil {
			return err
		}
		fresh, err := r.until(">>>>")
		if err != nil {
			return err
		}
		m.edits = append(m.edits, edit{r.file, old, fresh})
	default:
		return fmt.Errorf("%q says nothing of a mutant", line)
	}
	return nil
}

// until returns the lines before the mark.
func (r *reader) until(mark string) (string, error) {
	var text strings.Builder
	for r.next() {
		if r.lines.Text() == mark {
			return text.String(), nil
		}
		text.WriteString(r.lines.Text() + "\n")
	}
	return "", fmt.Errorf("there is no line %s after it", mark)
}
