package options

import (
	"encoding/json"
	"fmt"
	"strings"
)

// object is a JSON object whose values nobody has touched.
type object = map[string]json.RawMessage

const networkMode = "HostConfig.NetworkMode"

// Apply merges the overlay into body, a decoded create request:
//
//   - a list gets our elements after its own, except those that its own
//     already name (an environment variable, the target of a mount);
//   - a map gets our keys, except those it has;
//   - anything else is set where the body has nothing, or what docker sends
//     when nobody asked.
//
// Values that the overlay does not name keep their bytes. What the overlay adds
// is the administrator's word: whether the body's user may ask for something is
// to be judged before. The error is about the body, which then is to be thrown
// away.
func (o *Overlay) Apply(body map[string]json.RawMessage) error {
	skip, err := overruled(body)
	if err != nil {
		return err
	}
	taken, err := targets(body)
	if err != nil {
		return err
	}
	before, err := lookup(body, networkMode)
	if err != nil {
		return err
	}
	for _, f := range o.fields {
		if skip(f.path) {
			continue
		}
		if err := f.apply(body, taken); err != nil {
			return fmt.Errorf("apply additional_options to %s: %w", f.path, err)
		}
	}
	after, err := lookup(body, networkMode)
	if err != nil || string(after) == string(before) {
		return err
	}
	return moveEndpoint(body, after)
}

// overruled tells which fields the body rules out without naming them: a log
// driver of one's own comes with its own options, and the engine refuses a
// container that is to restart and to be removed.
func overruled(body object) (func(path string) bool, error) {
	driver, err := lookup(body, "HostConfig.LogConfig.Type")
	if err != nil {
		return nil, err
	}
	remove, err := lookup(body, "HostConfig.AutoRemove")
	if err != nil {
		return nil, err
	}
	return func(path string) bool {
		logs := strings.HasPrefix(path, "HostConfig.LogConfig.")
		return logs && !open(path, driver) || path == "HostConfig.RestartPolicy" && !open(path, remove)
	}, nil
}

func (f field) apply(body object, taken map[string]bool) error {
	return edit(body, strings.Split(f.path, "."), func(own json.RawMessage) (json.RawMessage, error) {
		switch f.shape {
		case list:
			return f.extend(own, taken)
		case dict:
			return f.union(own, taken)
		}
		if !open(f.path, own) {
			return own, nil
		}
		return f.items[0].raw, nil
	})
}

// extend appends to a list what it does not name yet.
func (f field) extend(own json.RawMessage, taken map[string]bool) (json.RawMessage, error) {
	var elements []json.RawMessage
	if err := decode(own, &elements); err != nil {
		return nil, err
	}
	named := make(map[string]bool, len(elements))
	for _, e := range elements {
		named[nameOf(f.path, e)] = true
	}
	for _, it := range f.items {
		name := nameOf(f.path, it.raw)
		if named[name] || isTarget(f.path) && taken[name] {
			continue
		}
		elements = append(elements, it.raw)
	}
	return joinList(elements), nil
}

// union adds to an object the keys it lacks.
func (f field) union(own json.RawMessage, taken map[string]bool) (json.RawMessage, error) {
	members := object{}
	if err := decode(own, &members); err != nil {
		return nil, err
	}
	named := make(map[string]bool, len(members))
	for k := range members {
		named[k] = true
	}
	for _, it := range f.items {
		if named[it.name] || isTarget(f.path) && taken[clean(it.name)] {
			continue
		}
		members[it.name] = it.raw
	}
	return joinObject(members), nil
}

// moveEndpoint gives the endpoint that docker sends for "default" to the network
// that was set instead; the engine refuses one of a network not asked for.
func moveEndpoint(body object, network json.RawMessage) error {
	const path = "NetworkingConfig.EndpointsConfig"
	endpoints, err := lookup(body, path)
	if err != nil || endpoints == nil {
		return err
	}
	var name string
	if err := decode(network, &name); err != nil {
		return err
	}
	return edit(body, strings.Split(path, "."), func(own json.RawMessage) (json.RawMessage, error) {
		members := object{}
		if err := decode(own, &members); err != nil {
			return nil, err
		}
		endpoint, ok := members["default"]
		if !ok {
			return own, nil
		}
		delete(members, "default")
		if _, asked := members[name]; !asked && !open(path, endpoint) {
			members[name] = endpoint
		}
		return joinObject(members), nil
	})
}
