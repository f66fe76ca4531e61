package api

import (
	"encoding/json"
	"maps"
	"path"
	"slices"
	"strings"

	"ddocker/settings"
)

// with admits what says something where the settings allow the word.
func with(word string) admission {
	return admission{check: func(g *gate, name string, value json.RawMessage) error {
		if empty(value) || g.s.Allows(word) {
			return nil
		}
		return refused(name, "", word)
	}}
}

// nullWith is with for what says something as soon as it is there.
func nullWith(word string) admission {
	return admission{check: func(g *gate, name string, value json.RawMessage) error {
		if string(value) == "null" || g.s.Allows(word) {
			return nil
		}
		return refused(name, "", word)
	}}
}

// checkText is a check of a text.
func checkText(of func(g *gate, name, text string) error) admission {
	return admission{check: func(g *gate, name string, value json.RawMessage) error {
		var text string
		if json.Unmarshal(value, &text) != nil {
			return wrongKind(name)
		}
		return of(g, name, text)
	}}
}

// oneOf admits the texts, and others where the settings allow the word with the name.
func oneOf(word string, texts ...string) admission {
	return checkText(func(g *gate, name, text string) error {
		if text == "" || slices.Contains(texts, text) {
			return nil
		}
		return g.named(name, text, word)
	})
}

// named refuses what the settings do not allow by its name.
func (g *gate) named(name, what, word string) error {
	if word != "" {
		word += "=" + what
	}
	if word != "" && g.s.Allows(word) {
		return nil
	}
	return refused(name, what, word)
}

// checkNumber is a check of a whole number.
func checkNumber(of func(g *gate, name string, n int64) error) admission {
	return admission{check: func(g *gate, name string, value json.RawMessage) error {
		var n int64
		if json.Unmarshal(value, &n) != nil {
			return wrongKind(name)
		}
		return of(g, name, n)
	}}
}

// between admits numbers, and others where the settings allow the word.
func between(low, high int64, word string) admission {
	return checkNumber(func(g *gate, name string, n int64) error {
		if n >= low && n <= high || g.s.Allows(word) {
			return nil
		}
		return refused(name, "", word)
	})
}

// keysOf admits the keys of a map, and others where the settings allow all or them by
// name; an empty word allows none.
func keysOf(all, word string, keys ...string) admission {
	return admission{check: func(g *gate, name string, value json.RawMessage) error {
		var members map[string]json.RawMessage
		if json.Unmarshal(value, &members) != nil {
			return wrongKind(name)
		}
		if all != "" && g.s.Allows(all) {
			return nil
		}
		for _, key := range slices.Sorted(maps.Keys(members)) {
			if slices.Contains(keys, key) {
				continue
			}
			if word == "" {
				return refused(name, key, all)
			}
			if err := g.named(name, key, word); err != nil {
				return err
			}
		}
		return nil
	}}
}

// list admits a list or a map of which every value is admitted.
func list(each admission) admission { return admission{each: &each} }

// capability admits what engines give without being asked.
func capability(g *gate, name, text string) error {
	plain := func(text string) string { return strings.TrimPrefix(strings.ToUpper(text), "CAP_") }
	given := []string{
		"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW", "SETFCAP",
		"SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
	}
	if slices.Contains(given, plain(text)) {
		return nil
	}
	for _, word := range g.s.Allowed() {
		if allowed, ok := strings.CutPrefix(word, settings.AllowCapability+"="); ok && plain(allowed) == plain(text) {
			return nil
		}
	}
	return refused(name, plain(text), settings.AllowCapability+"="+plain(text))
}

// device admits a device of the host by its path.
func device(g *gate, name, text string) error {
	if text == "" || g.s.Allows(settings.AllowDevices) {
		return nil
	}
	return g.named(name, path.Clean(text), settings.AllowDevice)
}

// securityOpt admits what takes rights away.
func securityOpt(g *gate, name, text string) error {
	less := []string{"no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"}
	if slices.Contains(less, text) || g.s.Allows(settings.AllowSecurityOpts) {
		return nil
	}
	what, _, _ := strings.Cut(text, "\n")
	return g.named(name, what[:min(len(what), 100)], settings.AllowSecurityOpt)
}

// ulimit admits limits that do not put a container before others.
func ulimit(g *gate, name, text string) error {
	own := []string{"core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nofile", "nproc", "rss", "sigpending", "stack"}
	if slices.Contains(own, strings.ToLower(text)) || g.s.Allows(settings.AllowPriority) {
		return nil
	}
	return refused(name, text, settings.AllowPriority)
}

// namespace admits modes of a namespace: of one's own, of a container that is looked
// for later, and the host's where the settings allow the word.
func namespace(word string, own ...string) admission {
	return checkText(func(g *gate, name, text string) error {
		_, joins := strings.CutPrefix(text, modeContainer)
		switch {
		case text == "", slices.Contains(own, text):
			return nil
		case joins && slices.Contains(own, modeContainer):
			return nil
		case text == modeHost && g.s.Allows(word):
			return nil
		case text == modeHost:
			return refused(name, text, word)
		}
		return refused(name, text, "")
	})
}

const (
	modeHost      = "host"
	modeContainer = "container:"
)

// swap admits no more swap than engines give without being asked: as much as memory.
func swap(g *gate, name string, value json.RawMessage) error {
	var r struct{ Memory, MemorySwap int64 }
	if json.Unmarshal(value, &r) != nil {
		return wrongKind(name)
	}
	if r.MemorySwap == 0 || r.MemorySwap > 0 && r.MemorySwap-r.Memory <= r.Memory || g.s.Allows(settings.AllowSwap) {
		return nil
	}
	return refused(under(name, "MemorySwap"), "beyond twice the memory", settings.AllowSwap)
}

// logging admits drivers that write on the host, and where.
func logging(g *gate, name string, value json.RawMessage) error {
	var l struct {
		Type   string
		Config map[string]json.RawMessage
	}
	if json.Unmarshal(value, &l) != nil {
		return wrongKind(name)
	}
	known := []string{"", "json-file", "local", "none"}
	if !slices.Contains(known, l.Type) {
		return g.named(under(name, "Type"), l.Type, settings.AllowLogDriver)
	}
	rule := keysOf("", "", "max-size", "max-file", "max-buffer-size", "compress", "mode", "labels", "labels-regex", "env", "env-regex", "tag")
	return g.admit(rule, under(name, "Config"), raw(l.Config))
}
