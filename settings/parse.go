package settings

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tailscale/hujson"
)

// maxText bounds info.json, in bytes.
const maxText = 1 << 20

// maxReplicas bounds image_replicas.
const maxReplicas = 100

// File is a parsed info.json: the settings, and what only the file knows.
type File struct {
	Settings
	// Hosts are machines to try when joining: the file's master first, then
	// its workers. No host is more than another.
	Hosts []Host

	options []place // where each of Options stands
}

// Host is a machine that the file names.
type Host struct {
	// Host is a name or an address.
	Host string
	// User is who logs in there, "" for the caller.
	User string
}

// Parse reads info.json, which is JSON with comments and trailing commas. The
// name only labels errors. The error holds every mistake found, in the order of
// the file, as in
//
//	info.json:8:5: /buffer/memm: unknown field (did you mean mem?)
//
// except that text which is no JSON ends at the first. Text above 1 MiB is
// refused. Fields that the file leaves out are as in [Default].
func Parse(name string, text []byte) (*File, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("%s: %d bytes is more than the %d of a settings file", name, len(text), maxText)
	}
	r := &reader{name: name, text: text}
	if !r.shallow() {
		return nil, r.failed()
	}
	root, err := hujson.Parse(text)
	if err != nil {
		return nil, syntaxError(name, err)
	}
	f := &File{Settings: Default()}
	r.file(r.cursor(root, ""), f)
	if err := r.failed(); err != nil {
		return nil, err
	}
	return f, nil
}

// OptionError gives err, which tells what is wrong with Options[i], its place in
// the file. The result wraps err; it is err itself when the file has no such
// option.
func (f *File) OptionError(i int, err error) error {
	if i < 0 || i >= len(f.options) {
		return err
	}
	return fmt.Errorf("%s: %w", f.options[i], err)
}

// syntaxError rewrites a position of hujson, which it gives as text only.
func syntaxError(name string, err error) error {
	var line, column int
	if _, scan := fmt.Sscanf(err.Error(), "hujson: line %d, column %d:", &line, &column); scan != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return fmt.Errorf("%s:%d:%d: %w", name, line, column, errors.Unwrap(err))
}

func (r *reader) file(c cursor, f *File) {
	var master, workers []Host
	c.fields(
		field{"master", func(c cursor) { master = []Host{r.host(c)} }},
		field{"workers", func(c cursor) {
			c.elements(func(_ int, c cursor) { workers = append(workers, r.host(c)) })
		}},
		field{"type", func(c cursor) {
			c.members(func(name string, c cursor) { f.Types = append(f.Types, r.typ(name, c)) })
		}},
		field{"buffer", func(c cursor) { f.Buffer = r.buffer(c) }},
		field{"start_port_num", func(c cursor) { f.StartPort = uint16(c.whole(1, 65535)) }},
		field{"additional_options", func(c cursor) {
			c.elements(func(_ int, c cursor) {
				f.Options = append(f.Options, c.string())
				f.options = append(f.options, c.place())
			})
		}},
		field{"image_replicas", func(c cursor) { f.ImageReplicas = int(c.whole(1, maxReplicas)) }},
		field{"image_disk_percent", func(c cursor) { f.ImageDisk = int(c.whole(1, 100)) }},
		field{"visibility", func(c cursor) { f.Visibility = r.visibility(c) }},
		field{"bind_roots", func(c cursor) {
			c.elements(func(_ int, c cursor) { f.BindRoots = append(f.BindRoots, r.root(c)) })
		}},
		field{"allow", func(c cursor) { f.Allow = r.allow(c) }},
	)
	f.Hosts = append(master, workers...)
}

// host reads one host. What another mistake explains already is not reported.
func (r *reader) host(c cursor) Host {
	var h Host
	mistakes, named := len(r.errs), false
	c.fields(
		field{"host", func(c cursor) {
			named = true
			if h.Host = c.string(); h.Host == "" && len(r.errs) == mistakes {
				c.fail("must name a host")
			}
		}},
		field{"user", func(c cursor) { h.User = c.string() }},
	)
	if !named && len(r.errs) == mistakes {
		c.fail("must name a host")
	}
	return h
}

func (r *reader) typ(name string, c cursor) Type {
	t := Type{Name: name}
	if strings.TrimSpace(name) == "" {
		c.fail("a type needs a name")
	}
	parts := c.tuple("[cores, GiB of memory, \"GPU model,GPU model\"]", 3)
	if parts == nil {
		return t
	}
	t.Cores = int(parts[0].whole(1, maxCores))
	t.Memory = parts[1].gib(1)
	t.GPUs = r.gpus(parts[2])
	return t
}

// gpus splits the model of each card from a list with commas; "" has none.
func (r *reader) gpus(c cursor) []string {
	list := c.string()
	if strings.TrimSpace(list) == "" {
		return nil
	}
	models := strings.Split(list, ",")
	for i, m := range models {
		if models[i] = strings.TrimSpace(m); models[i] == "" {
			c.fail("GPU %d of %q has no model", i+1, list)
			return nil
		}
	}
	return models
}

func (r *reader) buffer(c cursor) (b Buffer) {
	c.fields(
		field{"cpu", func(c cursor) { b.Cores = int(c.whole(0, maxCores)) }},
		field{"mem", func(c cursor) { b.Memory = c.gib(0) }},
	)
	return b
}
