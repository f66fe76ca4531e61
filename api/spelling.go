package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
)

// spell writes the keys of a create's body as Docker documents them, down to
// those of HostConfig and NetworkingConfig. Docker's engine takes a key in any
// case, and of two that differ in case only the last: whoever looks at a body
// must see the one that the engine will see, so two are refused. Keys that are
// not known pass as they are.
func spell(body map[string]json.RawMessage) error {
	if err := respell(body, reflect.TypeFor[container.CreateRequest]()); err != nil {
		return err
	}
	for key, kind := range map[string]reflect.Type{
		"HostConfig":       reflect.TypeFor[container.HostConfig](),
		"NetworkingConfig": reflect.TypeFor[network.NetworkingConfig](),
	} {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(body[key], &fields); body[key] != nil && err != nil {
			return fmt.Errorf("read %s: it is no JSON object", key)
		}
		if fields == nil {
			continue
		}
		if err := respell(fields, kind); err != nil {
			return fmt.Errorf("in %s: %w", key, err)
		}
		body[key] = raw(fields)
	}
	return nil
}

func respell(object map[string]json.RawMessage, as reflect.Type) error {
	right := map[string]string{}
	for _, key := range keys(as) {
		right[fold(key)] = key
	}
	seen := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		folded := fold(key)
		if other, twice := seen[folded]; twice {
			return fmt.Errorf("the keys %q and %q are the same to Docker: give one", other, key)
		}
		seen[folded] = key
		if known := right[folded]; known != "" && known != key {
			object[known] = object[key]
			delete(object, key)
		}
	}
	return nil
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

// keys returns the JSON keys of a struct, of those that it embeds too.
func keys(t reflect.Type) (names []string) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			names = append(names, keys(f.Type)...)
		case name == "":
			names = append(names, f.Name)
		default:
			names = append(names, name)
		}
	}
	return names
}
