package options

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/docker/cli/opts"
	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
	mobynet "github.com/moby/moby/api/types/network"
)

// one is the single item whose JSON is v's.
func one(v any) ([]item, error) { return keyed("", v) }

// keyed is the single item of a dict.
func keyed(name string, v any) ([]item, error) {
	raw, err := encode(v)
	if err != nil {
		return nil, err
	}
	return []item{{name: name, raw: raw}}, nil
}

func text(s string) ([]item, error) { return one(s) }

// checked reads text that a check may refuse or put into normal form.
func checked(check func(string) (string, error)) func(string) ([]item, error) {
	return func(s string) ([]item, error) {
		s, err := check(s)
		if err != nil {
			return nil, err
		}
		return one(s)
	}
}

func boolean(s string) ([]item, error) {
	b, err := strconv.ParseBool(s)
	if err != nil {
		return nil, errors.New("must be true or false")
	}
	return one(b)
}

func number(low, high int64) func(string) ([]item, error) {
	return func(s string) ([]item, error) {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < low || n > high {
			return nil, fmt.Errorf("must be a whole number from %d to %d", low, high)
		}
		return one(n)
	}
}

func size(s string) ([]item, error) {
	n, err := units.RAMInBytes(s)
	if err != nil {
		return nil, err
	}
	return one(n)
}

// swap is a size or -1, which is without limit.
func swap(s string) ([]item, error) {
	if s == "-1" {
		return one(-1)
	}
	return size(s)
}

// pair reads key=value; docker takes a key alone for an empty value.
func pair(s string) ([]item, error) {
	k, v, _ := strings.Cut(s, "=")
	if k == "" {
		return nil, errors.New("must be key=value")
	}
	return keyed(k, v)
}

func label(s string) ([]item, error) {
	s, err := opts.ValidateLabel(s)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(s, "ddocker.") {
		return nil, errors.New("labels that start with ddocker. are the cluster's own")
	}
	return pair(s)
}

func sysctl(s string) ([]item, error) {
	s, err := opts.ValidateSysctl(s)
	if err != nil {
		return nil, err
	}
	return pair(s)
}

func validateEnv(s string) (string, error) {
	switch name, _, valued := strings.Cut(s, "="); {
	case name == "":
		return "", errors.New("has no name")
	case !valued:
		return "", errors.New("has no value, and there is nobody's environment to take it from")
	case name == "NVIDIA_VISIBLE_DEVICES":
		return "", errors.New("which GPUs are seen is decided by the cluster: use types")
	}
	return s, nil
}

// validateSecurity takes what means the same on every host: a seccomp profile
// in a file does not.
func validateSecurity(s string) (string, error) {
	if s == "no-new-privileges" {
		return s, nil
	}
	key, v, ok := strings.Cut(s, "=")
	if !ok {
		key, v, _ = strings.Cut(s, ":")
	}
	switch {
	case v == "":
		return "", errors.New("must be key=value")
	case key == "seccomp" && v != "builtin" && v != "unconfined":
		return "", errors.New("seccomp must be builtin or unconfined, as no file is on every host")
	case key == "systempaths":
		return "", errors.New("systempaths belongs to one container, not to all of them")
	}
	return s, nil
}

// mode reads a namespace. Another container's makes no sense for all.
func mode[M interface {
	~string
	Valid() bool
}](s string) ([]item, error) {
	if !M(s).Valid() || strings.HasPrefix(s, "container:") {
		return nil, errors.New("no such mode for all containers")
	}
	return one(s)
}

func network(s string) ([]item, error) {
	if s == "" || strings.HasPrefix(s, "container:") || strings.ContainsAny(s, "=,") {
		return nil, errors.New("must be the name of a network")
	}
	return one(s)
}

func restart(s string) ([]item, error) {
	policy, err := opts.ParseRestartPolicy(s)
	if err != nil {
		return nil, err
	}
	if err := container.ValidateRestartPolicy(policy); err != nil {
		return nil, err
	}
	return one(policy)
}

func ulimit(s string) ([]item, error) {
	limit, err := units.ParseUlimit(s)
	if err != nil {
		return nil, err
	}
	return one(limit)
}

// entrypoint is one word, as docker has it; an empty one resets the image's.
func entrypoint(s string) ([]item, error) { return one([]string{s}) }

func expose(s string) ([]item, error) {
	ports, err := mobynet.ParsePortRange(s)
	if err != nil {
		return nil, err
	}
	var items []item
	for p := range ports.All() {
		items = append(items, item{name: p.String(), raw: json.RawMessage("{}")})
	}
	return items, nil
}

func directory(s string) ([]item, error) {
	if !path.IsAbs(s) {
		return nil, errors.New("must be an absolute path")
	}
	return one(s)
}
