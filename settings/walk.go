package settings

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tailscale/hujson"
)

// field is a member that an object may have, and who reads it.
type field struct {
	name string
	read func(cursor)
}

// fields reads an object whose members are all known.
func (c cursor) fields(known ...field) {
	names := make([]string, len(known))
	for i, f := range known {
		names[i] = f.name
	}
	c.named(func(name string, at place, v cursor) {
		i := slices.Index(names, name)
		if i < 0 {
			c.reader.fail(at, "unknown field (%s)", suggest(name, names))
			return
		}
		known[i].read(v)
	})
}

// members reads an object whose names are free.
func (c cursor) members(read func(name string, c cursor)) {
	c.named(func(name string, _ place, v cursor) { read(name, v) })
}

// named visits the members of an object in the order of the file, each name
// once; at is where the name stands.
func (c cursor) named(visit func(name string, at place, v cursor)) {
	object, ok := c.value.Value.(*hujson.Object)
	if !ok {
		c.mismatch("an object")
		return
	}
	seen := make(map[string]bool, len(object.Members))
	for _, m := range object.Members {
		name := m.Name.Value.(hujson.Literal).String()
		path := c.path + "/" + escape(name)
		at := c.reader.placeOf(m.Name.StartOffset, path)
		if seen[name] {
			c.reader.fail(at, "written twice")
			continue
		}
		seen[name] = true
		visit(name, at, c.reader.cursor(m.Value, path))
	}
}

// elements visits a list in order.
func (c cursor) elements(visit func(i int, c cursor)) {
	list, ok := c.value.Value.(*hujson.Array)
	if !ok {
		c.mismatch("a list")
		return
	}
	for i, v := range list.Elements {
		visit(i, c.reader.cursor(v, fmt.Sprintf("%s/%d", c.path, i)))
	}
}

// tuple returns the n elements of a list of just that many, or nil. The shape
// tells a person what was wanted.
func (c cursor) tuple(shape string, n int) []cursor {
	list, ok := c.value.Value.(*hujson.Array)
	if !ok || len(list.Elements) != n {
		c.fail("must be %s", shape)
		return nil
	}
	parts := make([]cursor, 0, n)
	c.elements(func(_ int, e cursor) { parts = append(parts, e) })
	return parts
}

// escape writes a name as RFC 6901 has it in a JSON pointer.
func escape(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

// suggest names the field that was probably meant, or all there are.
func suggest(name string, known []string) string {
	for _, k := range known {
		related := name != "" && (strings.HasPrefix(k, name) || strings.HasPrefix(name, k))
		if related || distance(strings.ToLower(name), k) <= 2 {
			return "did you mean " + k + "?"
		}
	}
	return "known are " + strings.Join(known, ", ")
}

// distance is Levenshtein's: how many letters to add, drop or change. Names
// whose lengths alone are further apart than a slip count as far.
func distance(a, b string) int {
	const far = 3
	if max(len(a)-len(b), len(b)-len(a)) >= far {
		return far
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
