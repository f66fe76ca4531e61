package options

import (
	"encoding/json"
	"path"
	"slices"
	"strings"
)

// nameOf is what makes an element of a list the same as another: two values of
// one environment variable, two mounts on one target. Most lists name their
// elements by the whole of them.
func nameOf(at string, raw json.RawMessage) string {
	var s string
	text := json.Unmarshal(raw, &s) == nil
	switch at {
	case "Env":
		return before(s, "=")
	case "HostConfig.ExtraHosts":
		return before(s, ":")
	case "HostConfig.SecurityOpt":
		return before(s, "=:")
	case "HostConfig.Binds":
		return bindTarget(s)
	case "HostConfig.Mounts":
		return clean(member(raw, "Target"))
	case "HostConfig.Devices":
		return clean(member(raw, "PathInContainer"))
	case "HostConfig.Ulimits":
		return member(raw, "Name")
	}
	if text {
		return s
	}
	return string(raw)
}

// before cuts s at the first of the marks.
func before(s, marks string) string {
	if i := strings.IndexAny(s, marks); i >= 0 {
		return s[:i]
	}
	return s
}

func bindTarget(bind string) string {
	parts := strings.SplitN(bind, ":", 3)
	if len(parts) == 1 {
		return clean(bind)
	}
	return clean(parts[1])
}

// clean makes /data/ the same as /data, and leaves no path no path.
func clean(p string) string {
	if p == "" {
		return ""
	}
	return path.Clean(p)
}

// member is a text within an object, "" when it is none.
func member(raw json.RawMessage, name string) string {
	var o object
	if json.Unmarshal(raw, &o) != nil {
		return ""
	}
	key, err := find(o, name)
	if err != nil {
		return ""
	}
	var s string
	if json.Unmarshal(o[key], &s) != nil {
		return ""
	}
	return s
}

// targetPaths are the fields that put something at a path of the container.
func targetPaths() []string {
	return []string{"HostConfig.Binds", "HostConfig.Mounts", "HostConfig.Tmpfs", anonymous}
}

func isTarget(at string) bool { return slices.Contains(targetPaths(), at) }

// targets is every path of the container where the body puts something itself.
func targets(body object) (map[string]bool, error) {
	taken := make(map[string]bool)
	for _, p := range targetPaths() {
		raw, err := lookup(body, p)
		if err != nil {
			return nil, err
		}
		var elements []json.RawMessage
		if json.Unmarshal(raw, &elements) == nil {
			for _, e := range elements {
				taken[nameOf(p, e)] = true
			}
			continue
		}
		var members object
		if json.Unmarshal(raw, &members) == nil {
			for k := range members {
				taken[clean(k)] = true
			}
		}
	}
	return taken, nil
}
