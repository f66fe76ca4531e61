package api

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Types of mounts that name something of the host's.
const (
	mountBind   = "bind"
	mountVolume = "volume"
)

// bind admits "volume:/target:mode" and what is below the user's roots. Volumes are
// looked for later.
func bind(g *gate, name, text string) error {
	parts := strings.Split(text, ":")
	switch {
	case len(parts) > 3 || parts[0] == "":
		return invalid("invalid volume specification: '%s'", text) // as engines say it
	case len(parts) == 1:
		return nil // a volume without a name
	case strings.HasPrefix(parts[0], "/"):
		if err := g.below(name, parts[0]); err != nil {
			return err
		}
	}
	if len(parts) < 3 {
		return nil
	}
	known := []string{"rw", "ro", "z", "Z", "nocopy", "consistent", "cached", "delegated", "default", "private", "rprivate", "slave", "rslave"}
	for mode := range strings.SplitSeq(parts[2], ",") {
		if !slices.Contains(known, mode) {
			return refused(name, text, "")
		}
	}
	return nil
}

// mountSource admits what a mount takes of the host.
func mountSource(g *gate, name string, value json.RawMessage) error {
	var m mountWish
	if json.Unmarshal(value, &m) != nil {
		return wrongKind(name)
	}
	if m.Type == mountBind || strings.HasPrefix(m.Source, "/") {
		return g.below(under(name, "Source"), m.Source)
	}
	return nil
}

// below admits a path of the host, as it is written, below the user's roots.
func (g *gate) below(name, source string) error {
	if path.IsAbs(source) && !slices.Contains(strings.Split(source, "/"), "..") && within(source, g.s.Roots(g.user)) {
		return nil
	}
	return forbidden("%s %s", name, g.outside(source))
}

// outside says that a path is below none of the user's roots.
func (g *gate) outside(source string) string {
	where := "none is listed"
	if roots := g.s.Roots(g.user); len(roots) > 0 {
		where = strings.Join(roots, ", ") + " and what is below"
	}
	return strings.TrimSpace(fmt.Sprintf(`%s is not for users to mount: of the hosts they may mount what "bind_roots" of the settings lists (see "ddocker config show"): %s`, source, where))
}
