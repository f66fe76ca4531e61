// Package options turns additional_options, the docker-run flags that an
// administrator gives to every container, into changes of a Docker create body.
//
//	overlay, err := options.Parse([]string{"-v /home:/home", "--shm-size 8g"})
//	...
//	err = overlay.Apply(body) // body is a decoded POST /containers/create
//
// Flags are read as docker reads them. Each is a row of one table, in rows.go;
// a flag that has no row is refused, and what the cluster decides itself
// (cores, memory, GPUs, ports, names) is refused with the reason.
//
// Apply never overrules whoever creates the container: lists grow, and a
// setting changes only where the body leaves it open.
package options

import (
	"errors"
	"fmt"

	"github.com/google/shlex"
	"github.com/spf13/pflag"
)

// Error is a refusal of one line.
type Error struct {
	// Line is the index of the refused line among those given to Parse.
	Line int
	// Err tells what is wrong with it.
	Err error
}

// Error is the text of Err alone: who knows the file knows the line's place.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Overlay is what the flags add to a create body. It does not change once
// parsed and may be shared; the zero Overlay adds nothing.
type Overlay struct {
	fields []field // in the order of first mention
}

// field is one key of the create body, and what the flags said of it.
type field struct {
	path  string // "Env", "HostConfig.Binds"
	shape shape
	items []item // one for a scalar
}

// Parse reads lines of flags. A line is split as a shell would split it, with
// quotes and backslashes but without variables, and holds whole flags: a value
// does not continue on the next line. The first refused line ends the parse
// with an *[Error].
func Parse(lines []string) (*Overlay, error) {
	o := &Overlay{}
	flags := o.flags()
	for i, line := range lines {
		if err := parseLine(flags, line); err != nil {
			return nil, &Error{Line: i, Err: err}
		}
	}
	return o, nil
}

func parseLine(flags *pflag.FlagSet, line string) error {
	words, err := shlex.Split(line)
	if err != nil {
		return fmt.Errorf("split %q into words: %w", line, err)
	}
	if err := flags.Parse(words); err != nil {
		return explain(err)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q is no flag", flags.Arg(0))
	}
	return nil
}

// explain puts a refused flag's own reason in the place of pflag's words.
func explain(err error) error {
	if errors.Is(err, pflag.ErrHelp) {
		return errors.New("unknown flag: --help")
	}
	var invalid *pflag.InvalidValueError
	var why refusal
	if errors.As(err, &invalid) && errors.As(err, &why) {
		return fmt.Errorf("--%s %w", invalid.GetFlag().Name, why)
	}
	return err
}

// flags declares every row, and every refusal, for this overlay.
func (o *Overlay) flags() *pflag.FlagSet {
	set := pflag.NewFlagSet("additional_options", pflag.ContinueOnError)
	set.Usage = func() {}
	for _, r := range rows() {
		f := set.VarPF(value{overlay: o, row: r}, r.name, r.short, "")
		if r.bare {
			f.NoOptDefVal = "true"
		}
	}
	for _, r := range refusals() {
		f := set.VarPF(r.why, r.name, r.short, "")
		if r.bare {
			f.NoOptDefVal = "true"
		}
	}
	return set
}

// add takes what one flag said. A later scalar replaces an earlier one.
func (o *Overlay) add(r row, items []item) {
	path := r.path
	if len(items) > 0 && items[0].path != "" {
		path = items[0].path
	}
	for i := range o.fields {
		f := &o.fields[i]
		if f.path != path {
			continue
		}
		if f.shape == scalar {
			f.items = nil
		}
		f.items = append(f.items, items...)
		return
	}
	o.fields = append(o.fields, field{path: path, shape: shapeOf(r, path), items: items})
}

// value is a row as pflag wants it.
type value struct {
	overlay *Overlay
	row     row
}

// Set reads one mention of the flag.
func (v value) Set(text string) error {
	items, err := v.row.read(text)
	if err != nil {
		return err
	}
	v.overlay.add(v.row, items)
	return nil
}

// String is empty: no flag has a default.
func (v value) String() string { return "" }

// Type names the flag's kind, for pflag's messages.
func (v value) Type() string { return "value" }
