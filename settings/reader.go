package settings

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/tailscale/hujson"
)

const (
	gib      = 1 << 30
	maxCores = 1 << 20 // beyond any host: catches bytes written for cores
	maxGiB   = 1 << 20 // a pebibyte; below it a float64 counts bytes exactly
	maxDepth = 64      // of brackets; the file needs 3
)

// reader collects the mistakes of one file, in the order of their finding,
// which is the order of the file.
type reader struct {
	name string
	text []byte
	errs []error
}

// place is where something stands: "info.json:8:5: /buffer/mem".
type place string

func (r *reader) placeOf(offset int, path string) place {
	before := r.text[:offset]
	line := 1 + bytes.Count(before, []byte("\n"))
	column := offset - bytes.LastIndexByte(before, '\n')
	if path == "" {
		return place(fmt.Sprintf("%s:%d:%d", r.name, line, column))
	}
	return place(fmt.Sprintf("%s:%d:%d: %s", r.name, line, column, path))
}

func (r *reader) fail(at place, format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf("%s: %s", at, fmt.Sprintf(format, args...)))
}

func (r *reader) failed() error { return errors.Join(r.errs...) }

// shallow guards the recursive parser: the nesting of brackets is bounded
// before it starts. A bracket in a string or a comment counts too, which can
// only refuse what nobody writes.
func (r *reader) shallow() bool {
	depth := 0
	for i, b := range r.text {
		switch b {
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		}
		if depth > maxDepth {
			r.fail(r.placeOf(i, ""), "more than %d brackets deep", maxDepth)
			return false
		}
	}
	return true
}

func (r *reader) cursor(v hujson.Value, path string) cursor {
	return cursor{reader: r, value: v, path: path}
}

// cursor is one value of the file and the JSON pointer that leads to it. Its
// readers report a value of the wrong kind and return the zero value.
type cursor struct {
	reader *reader
	value  hujson.Value
	path   string
}

func (c cursor) place() place {
	return c.reader.placeOf(c.value.StartOffset, c.path)
}

func (c cursor) fail(format string, args ...any) {
	c.reader.fail(c.place(), format, args...)
}

// mismatch reports that the value is not what was wanted.
func (c cursor) mismatch(want string) {
	kinds := map[hujson.Kind]string{
		'n': "null", 'f': "false", 't': "true", '"': "a string",
		'0': "a number", '{': "an object", '[': "a list",
	}
	c.fail("must be %s, not %s", want, kinds[c.value.Value.Kind()])
}

func (c cursor) string() string {
	lit, ok := c.value.Value.(hujson.Literal)
	if !ok || lit.Kind() != '"' {
		c.mismatch("a string")
		return ""
	}
	return lit.String()
}

// number returns the digits as written.
func (c cursor) number() (string, bool) {
	lit, ok := c.value.Value.(hujson.Literal)
	if !ok || lit.Kind() != '0' {
		c.mismatch("a number")
		return "", false
	}
	if strings.HasPrefix(string(lit), "-") {
		c.fail("must not be negative")
		return "", false
	}
	return string(lit), true
}

func (c cursor) whole(low, high int64) int64 {
	digits, ok := c.number()
	if !ok {
		return 0
	}
	if strings.ContainsAny(digits, ".eE") {
		c.fail("must be a whole number")
		return 0
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < low || n > high {
		c.fail("must be from %d to %d", low, high)
		return 0
	}
	return n
}

// gib reads a number of GiB, which may have a fraction, as bytes, of which there
// must be at least low.
func (c cursor) gib(low int64) int64 {
	digits, ok := c.number()
	if !ok {
		return 0
	}
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || n > maxGiB {
		c.fail("must be at most %d GiB", maxGiB)
		return 0
	}
	memory := int64(math.Round(n * gib))
	if memory < low {
		c.fail("must be more than 0")
	}
	return memory
}
