package api

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	newer "github.com/moby/moby/api/types/container"
	newnetwork "github.com/moby/moby/api/types/network"
	newvolume "github.com/moby/moby/api/types/volume"
)

// shape is what a body of Docker's may be: an object of one of these types, which
// are those of the newest API and of the last one that still had older fields.
type shape []reflect.Type

func shapeOf[A, B any]() shape { return shape{reflect.TypeFor[A](), reflect.TypeFor[B]()} }

// The shapes of bodies about containers.
func createShape() shape {
	return append(shapeOf[container.CreateRequest, newer.CreateRequest](), reflect.TypeFor[besideHost]())
}
func updateShape() shape    { return shapeOf[container.UpdateConfig, newer.UpdateConfig]() }
func commitShape() shape    { return shapeOf[container.Config, newer.Config]() }
func execShape() shape      { return shapeOf[container.ExecOptions, newer.ExecCreateRequest]() }
func startExecShape() shape { return shapeOf[container.ExecStartOptions, newer.ExecStartRequest]() }

// The shapes of bodies about volumes and networks.
func volumeShape() shape  { return shapeOf[volume.CreateOptions, newvolume.CreateRequest]() }
func networkShape() shape { return shapeOf[network.CreateRequest, newnetwork.CreateRequest]() }
func connectShape() shape { return shapeOf[network.ConnectOptions, newnetwork.ConnectRequest]() }

// receive reads a body that creates or changes something, strictly: what is in it
// twice, or is no JSON, is refused; what Docker's newest API does not know is left
// out; keys are as Docker documents them, all the way down. Engines are given these
// fields written anew, never the client's own bytes: whoever looks at them sees what
// the engine will see. An empty body, or null, has no fields. The error is a *ledger.Refusal.
func receive(w http.ResponseWriter, r *http.Request, as shape) (map[string]json.RawMessage, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, invalid("read the request: %s", err)
	}
	if text := bytes.TrimSpace(body); len(text) == 0 || string(text) == "null" {
		return nil, nil
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != typeJSON {
		return nil, invalid("Content-Type specified (%s) must be '%s'", r.Header.Get("Content-Type"), typeJSON)
	}
	return as.read(body)
}

const typeJSON = "application/json"

// read is receive, of a body that is here.
func (s shape) read(body []byte) (map[string]json.RawMessage, error) {
	if !json.Valid(body) {
		return nil, invalid("read the request: it is no JSON object")
	}
	tidied, err := tidy(body, s)
	var fields map[string]json.RawMessage
	if err != nil {
		return nil, invalid("read the request: %s", err)
	}
	if json.Unmarshal(tidied, &fields) != nil || fields == nil {
		return nil, invalid("read the request: it is no JSON object")
	}
	return fields, nil
}

// tidy writes a JSON value anew as one of the kinds.
func tidy(value json.RawMessage, kinds shape) (json.RawMessage, error) {
	kinds = kinds.plain()
	value = bytes.TrimSpace(value)
	if len(kinds) == 0 || len(value) == 0 {
		return value, nil
	}
	switch {
	case value[0] == '{' && kinds.have(reflect.Struct):
		return tidyObject(value, kinds.fields())
	case value[0] == '{' && kinds.have(reflect.Map):
		return tidyMap(value, kinds.elements(reflect.Map))
	case value[0] == '[' && kinds.have(reflect.Slice):
		return tidyList(value, kinds.elements(reflect.Slice))
	}
	return value, nil // of a wrong kind, perhaps: engines have their own words for that
}

func tidyObject(value json.RawMessage, known map[string]field) (json.RawMessage, error) {
	members, err := membersOf(value, fold)
	if err != nil {
		return nil, err
	}
	object := map[string]json.RawMessage{}
	for _, m := range members {
		f, ok := known[fold(m.key)]
		if !ok {
			continue
		}
		if object[f.name], err = tidy(m.value, f.kinds); err != nil {
			return nil, fmt.Errorf("in %s: %w", f.name, err)
		}
	}
	return raw(object), nil
}

func tidyMap(value json.RawMessage, kinds shape) (json.RawMessage, error) {
	members, err := membersOf(value, strings.Clone)
	if err != nil {
		return nil, err
	}
	object := map[string]json.RawMessage{}
	for _, m := range members {
		if object[m.key], err = tidy(m.value, kinds); err != nil {
			return nil, fmt.Errorf("in %s: %w", m.key, err)
		}
	}
	return raw(object), nil
}

func tidyList(value json.RawMessage, kinds shape) (json.RawMessage, error) {
	var list []json.RawMessage
	err := json.Unmarshal(value, &list)
	for i := range list {
		if err == nil {
			list[i], err = tidy(list[i], kinds)
		}
	}
	return raw(list), err
}

// withBody returns the call with these fields for its body; nil: with none.
func (c *call) withBody(fields map[string]json.RawMessage) *call {
	out := *c
	out.Request = c.Request.Clone(c.Context())
	out.Header.Del("Content-Type")
	out.Body, out.ContentLength, out.TransferEncoding = http.NoBody, 0, nil
	if fields != nil {
		body := raw(fields)
		out.Header.Set("Content-Type", typeJSON)
		out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	return &out
}

// member is one key of an object with its value.
type member struct {
	key   string
	value json.RawMessage
}

// membersOf returns the members of a valid JSON object. Two keys that are the same
// by the measure are refused: of such, Docker takes only the last.
func membersOf(object json.RawMessage, measure func(string) string) (members []member, err error) {
	in := json.NewDecoder(bytes.NewReader(object))
	if _, err := in.Token(); err != nil {
		return nil, err
	}
	seen := map[string]string{}
	for in.More() {
		token, err := in.Token()
		if err != nil {
			return nil, err
		}
		var m member
		m.key, _ = token.(string) // as keys of an object are
		if err := in.Decode(&m.value); err != nil {
			return nil, err
		}
		if other, twice := seen[measure(m.key)]; twice {
			return nil, fmt.Errorf("the keys %q and %q are the same to Docker: give one", min(other, m.key), max(other, m.key))
		}
		seen[measure(m.key)] = m.key
		members = append(members, m)
	}
	return members, nil
}

// field is a key as Docker documents it, and what its value may be.
type field struct {
	name  string
	kinds shape
}

// plain leaves out what pointers there are, and types that read their JSON in their
// own way.
func (s shape) plain() (plain shape) {
	for _, t := range s {
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		own := reflect.PointerTo(t)
		if own.Implements(reflect.TypeFor[json.Unmarshaler]()) || own.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
			continue
		}
		plain = append(plain, t)
	}
	return plain
}

func (s shape) have(k reflect.Kind) bool {
	return slices.ContainsFunc(s, func(t reflect.Type) bool { return t.Kind() == k })
}

func (s shape) elements(k reflect.Kind) (elements shape) {
	for _, t := range s {
		if t.Kind() == k {
			elements = append(elements, t.Elem())
		}
	}
	return elements
}

// fields returns the fields of all structs among the kinds, by their folded keys, and
// those of structs that they embed.
func (s shape) fields() map[string]field {
	known := map[string]field{}
	for _, t := range s {
		if t.Kind() != reflect.Struct {
			continue
		}
		for i := range t.NumField() {
			f := t.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case f.Anonymous && name == "":
				for key, inner := range (shape{f.Type}).plain().fields() {
					known[key] = field{inner.name, append(known[key].kinds, inner.kinds...)}
				}
				continue
			case !f.IsExported() || name == "-":
				continue
			case name == "":
				name = f.Name
			}
			known[fold(name)] = field{name, append(known[fold(name)].kinds, f.Type)}
		}
	}
	return known
}

// fold maps keys that encoding/json holds to be the same field onto one text.
func fold(key string) string {
	return strings.Map(func(r rune) rune {
		for next := unicode.SimpleFold(r); ; r, next = next, unicode.SimpleFold(next) {
			if next <= r {
				return next // the least of its circle
			}
		}
	}, key)
}
