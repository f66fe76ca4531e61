package options

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// find returns the key of o that the engine would read as name: it, like
// encoding/json, does not care for case. It is name itself when o has none.
// Two such keys are an error, for the engine would mix them.
func find(o object, name string) (string, error) {
	found := ""
	for key := range o {
		if !strings.EqualFold(key, name) {
			continue
		}
		if found != "" {
			return "", fmt.Errorf("%s stands in the body twice", name)
		}
		found = key
	}
	if found == "" {
		return name, nil
	}
	return found, nil
}

// lookup returns the value at a dotted path, nil when there is none.
func lookup(o object, path string) (json.RawMessage, error) {
	name, rest, deeper := strings.Cut(path, ".")
	key, err := find(o, name)
	if err != nil || !deeper {
		return o[key], err
	}
	var inner object
	if err := decode(o[key], &inner); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return lookup(inner, rest)
}

// edit replaces the value at a path and makes the objects that lead to it. A
// value that the change returns as it came is not written.
func edit(o object, path []string, change func(json.RawMessage) (json.RawMessage, error)) error {
	key, err := find(o, path[0])
	if err != nil {
		return err
	}
	own := o[key]
	if len(path) > 1 {
		inner := object{}
		if err := decode(own, &inner); err != nil {
			return fmt.Errorf("read %s: %w", path[0], err)
		}
		if err := edit(inner, path[1:], change); err != nil {
			return err
		}
		o[key] = joinObject(inner)
		return nil
	}
	changed, err := change(own)
	if err != nil {
		return err
	}
	if changed != nil {
		o[key] = changed
	}
	return nil
}

// decode reads raw into v, to which absence and null mean nothing.
func decode(raw json.RawMessage, v any) error {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	return json.Unmarshal(raw, v)
}

// joinObject writes an object with sorted keys; unlike json.Marshal it keeps
// the bytes of the values.
func joinObject(o object) json.RawMessage {
	rows := make([]json.RawMessage, 0, len(o))
	for _, key := range slices.Sorted(maps.Keys(o)) {
		name, err := encode(key)
		if err != nil {
			panic(err) // a string always encodes
		}
		rows = append(rows, slices.Concat(name, json.RawMessage(":"), o[key]))
	}
	return slices.Concat(json.RawMessage("{"), bytes.Join(raws(rows), []byte(",")), json.RawMessage("}"))
}

func joinList(elements []json.RawMessage) json.RawMessage {
	return slices.Concat(json.RawMessage("["), bytes.Join(raws(elements), []byte(",")), json.RawMessage("]"))
}

func raws(list []json.RawMessage) [][]byte {
	out := make([][]byte, len(list))
	for i, raw := range list {
		out[i] = raw
	}
	return out
}

// encode writes v and leaves <, > and & as they are.
func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode %v: %w", v, err)
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// open holds when the body leaves a field to us: it is absent, zero, or what
// docker's own client sends when nobody asked.
func open(path string, own json.RawMessage) bool {
	unasked := map[string]string{
		networkMode:                   `"default"`,
		"HostConfig.MemorySwappiness": `-1`,
	}
	if u, ok := unasked[path]; ok && string(own) == u {
		return true
	}
	if path == "HostConfig.RestartPolicy" && member(own, "Name") == "no" {
		return true
	}
	var v any
	return decode(own, &v) == nil && zero(v)
}

// zero holds for null, false, 0, "" and what is made of nothing else.
func zero(v any) bool {
	switch v := v.(type) {
	case []any:
		return !slices.ContainsFunc(v, func(e any) bool { return !zero(e) })
	case map[string]any:
		for _, e := range v {
			if !zero(e) {
				return false
			}
		}
		return true
	}
	return v == nil || v == false || v == 0.0 || v == ""
}
