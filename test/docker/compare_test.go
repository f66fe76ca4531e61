package docker

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// difference is one field of one step that is not the same.
type difference struct {
	step, field string
	a, b        string // as JSON; "nothing" where there is none
}

// String is what the patterns of differences.txt are matched with.
func (d difference) String() string {
	return fmt.Sprintf("%s | %s: %s => %s", d.step, d.field, d.a, d.b)
}

const nothing = "nothing"

// compare tells in which fields two runs of a script differ.
func compare(a, b []step) []difference {
	var found []difference
	for i := range max(len(a), len(b)) {
		switch {
		case i >= len(a):
			found = append(found, difference{b[i].name, "", nothing, word(b[i].fields)})
		case i >= len(b):
			found = append(found, difference{a[i].name, "", word(a[i].fields), nothing})
		case a[i].name != b[i].name:
			return append(found, difference{a[i].name, "", "this step", "step " + b[i].name})
		default:
			found = differ(found, a[i].name, "", a[i].fields, b[i].fields)
		}
	}
	return found
}

// differ adds the differences of two trees.
func differ(found []difference, step, path string, a, b any) []difference {
	if reflect.DeepEqual(a, b) {
		return found
	}
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok {
			break
		}
		both := maps.Clone(x)
		maps.Copy(both, y)
		for _, key := range slices.Sorted(maps.Keys(both)) {
			one, hasOne := x[key]
			other, hasOther := y[key]
			at := path + "/" + key
			switch {
			case !hasOne:
				found = append(found, difference{step, at, nothing, word(other)})
			case !hasOther:
				found = append(found, difference{step, at, word(one), nothing})
			default:
				found = differ(found, step, at, one, other)
			}
		}
		return found
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			break
		}
		for i := range x {
			found = differ(found, step, fmt.Sprintf("%s/%d", path, i), x[i], y[i])
		}
		return found
	}
	return append(found, difference{step, path, word(a), word(b)})
}

func word(v any) string {
	var text strings.Builder
	out := json.NewEncoder(&text)
	out.SetEscapeHTML(false)
	if err := out.Encode(v); err != nil {
		return err.Error()
	}
	return strings.TrimSpace(text.String())
}

// allowance is one line of differences.txt that allows differences.
type allowance struct {
	line    int
	pattern *regexp.Regexp
	met     bool
}

// list is what may differ.
type list []*allowance

// readList reads the lines of one client: a paragraph says why, indented lines below
// it say what, as "CLIENT,CLIENT: REGEXP".
func readList(name, client string) (list, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var l list
	reason := ""
	for i, line := range strings.Split(string(text), "\n") {
		if !strings.HasPrefix(line, "\t") {
			reason = strings.TrimSpace(line)
			continue
		}
		clients, pattern, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok || reason == "" {
			return nil, fmt.Errorf("%s:%d: want a paragraph that says why, then CLIENT: REGEXP", name, i+1)
		}
		if !slices.Contains(strings.Split(clients, ","), client) {
			continue
		}
		re, err := regexp.Compile(pattern)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, i+1, err)
		}
		l = append(l, &allowance{line: i + 1, pattern: re})
	}
	return l, nil
}

// allows says whether a difference is on the list, and marks all that it is there by.
func (l list) allows(d difference) bool {
	met := false
	for _, e := range l {
		if e.pattern.MatchString(d.String()) {
			e.met, met = true, true
		}
	}
	return met
}

// idle returns the entries that allowed nothing.
func (l list) idle() list {
	return slices.DeleteFunc(slices.Clone(l), func(e *allowance) bool { return e.met })
}
