package options

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/docker/cli/opts"
	"github.com/moby/moby/api/types/container"
	mobymount "github.com/moby/moby/api/types/mount"
)

// volume reads target, source:target or source:target:mode.
func volume(s string) ([]item, error) {
	parts := strings.Split(s, ":")
	switch len(parts) {
	case 1:
		return anonymousVolume(s)
	case 2:
	case 3:
		if err := checkMode(parts[2]); err != nil {
			return nil, err
		}
	default:
		return nil, errors.New("must be source:target or source:target:mode")
	}
	if err := checkSource(parts[0]); err != nil {
		return nil, err
	}
	if err := checkTarget(parts[1]); err != nil {
		return nil, err
	}
	return one(s)
}

func anonymousVolume(target string) ([]item, error) {
	if err := checkTarget(target); err != nil {
		return nil, err
	}
	return []item{{name: target, raw: json.RawMessage("{}"), path: anonymous}}, nil
}

// checkSource wants what means the same from every directory.
func checkSource(source string) error {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	named := source != "" && strings.Contains(letters, source[:1]) && strings.Trim(source, letters+"_.-") == ""
	if !path.IsAbs(source) && !named {
		return fmt.Errorf("source %q is neither an absolute path nor the name of a volume", source)
	}
	return nil
}

func checkTarget(target string) error {
	if !path.IsAbs(target) || path.Clean(target) == "/" {
		return fmt.Errorf("target %q must be an absolute path below /", target)
	}
	return nil
}

// checkMode knows the engine's words, so that a slip shows at once and not at
// each create.
func checkMode(mode string) error {
	known := []string{
		"ro", "rw", "z", "Z", "nocopy", "cached", "consistent", "delegated", "default",
		"private", "rprivate", "shared", "rshared", "slave", "rslave",
	}
	for word := range strings.SplitSeq(mode, ",") {
		if !slices.Contains(known, word) {
			return fmt.Errorf("unknown mode %q", word)
		}
	}
	return nil
}

// mount reads key=value pairs. docker would find a relative source in its own
// directory, so the words are checked before it sees them.
func mount(s string) ([]item, error) {
	for part := range strings.SplitSeq(s, ",") {
		key, v, _ := strings.Cut(part, "=")
		if k := strings.ToLower(key); (k == "source" || k == "src") && strings.HasPrefix(v, ".") {
			return nil, fmt.Errorf("source %q must be an absolute path", v)
		}
	}
	var read opts.MountOpt
	if err := read.Set(s); err != nil {
		return nil, err
	}
	m := read.Value()[0]
	if err := checkTarget(m.Target); err != nil {
		return nil, err
	}
	if m.Type == mobymount.TypeBind && !path.IsAbs(m.Source) {
		return nil, fmt.Errorf("source %q must be an absolute path", m.Source)
	}
	return one(m)
}

func tmpfs(s string) ([]item, error) {
	target, how, _ := strings.Cut(s, ":")
	if err := checkTarget(target); err != nil {
		return nil, err
	}
	return keyed(target, how)
}

// device reads source, source:target, source:permissions or all three.
func device(s string) ([]item, error) {
	parts := strings.Split(s, ":")
	m := container.DeviceMapping{PathOnHost: parts[0], PathInContainer: parts[0], CgroupPermissions: "rwm"}
	switch {
	case len(parts) == 2 && permissions(parts[1]):
		m.CgroupPermissions = parts[1]
	case len(parts) == 2:
		m.PathInContainer = parts[1]
	case len(parts) == 3 && permissions(parts[2]):
		m.PathInContainer, m.CgroupPermissions = parts[1], parts[2]
	case len(parts) != 1:
		return nil, errors.New("must be source, source:target or source:target:permissions")
	}
	if !path.IsAbs(m.PathOnHost) || !path.IsAbs(m.PathInContainer) {
		return nil, errors.New("must be absolute paths")
	}
	return one(m)
}

// permissions holds when s is made of r, w and m, each at most once.
func permissions(s string) bool {
	return s != "" && strings.Trim(s, "rwm") == "" &&
		strings.Count(s, "r") <= 1 && strings.Count(s, "w") <= 1 && strings.Count(s, "m") <= 1
}
