package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"ddocker/consensus/ledger"
	"ddocker/settings"
)

// What users may ask engines for is on a list, down to the last field: the API of an
// engine is root on its host. It is looked at in bodies that were written anew (see
// receive), so that the engine reads what was admitted. A field that is not on the list
// may be there as long as it says nothing.

// gate admits what one user may ask for.
type gate struct {
	user string
	s    settings.Settings
}

// check refuses a value; the name is that of its place, such as "HostConfig.CapAdd".
type check func(g *gate, name string, value json.RawMessage) error

// admission is the rule for one place of a body. It admits what the check does not refuse,
// and of which each field is admitted (of an object) or each element or value (of a list
// or a map). Without any of these it admits what says nothing.
type admission struct {
	check  check
	fields map[string]admission
	each   *admission
}

// free is for what concerns nobody but the user.
func free() admission {
	return admission{check: func(*gate, string, json.RawMessage) error { return nil }}
}

// admit refuses what the user may not say.
func (g *gate) admit(a admission, name string, value json.RawMessage) error {
	if a.check != nil {
		if err := a.check(g, name, value); err != nil {
			return err
		}
	}
	switch {
	case a.fields != nil:
		return g.admitFields(a.fields, name, value)
	case a.each != nil:
		return g.admitEach(*a.each, name, value)
	case a.check == nil && !empty(value):
		return refused(name, "", "")
	}
	return nil
}

func (g *gate) admitFields(rules map[string]admission, name string, value json.RawMessage) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(value, &fields); err != nil {
		return wrongKind(name)
	}
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if err := g.admit(rules[key], under(name, key), fields[key]); err != nil {
			return err
		}
	}
	return nil
}

func (g *gate) admitEach(rule admission, name string, value json.RawMessage) error {
	list, err := valuesOf(value)
	if err != nil {
		return wrongKind(name)
	}
	for _, element := range list {
		if err := g.admit(rule, name, element); err != nil {
			return err
		}
	}
	return nil
}

// valuesOf returns the elements of a list, or the values of a map.
func valuesOf(value json.RawMessage) (list []json.RawMessage, err error) {
	if json.Unmarshal(value, &list) == nil {
		return list, nil
	}
	var members map[string]json.RawMessage
	err = json.Unmarshal(value, &members)
	return slices.Collect(maps.Values(members)), err
}

func under(name, key string) string {
	if name == "" {
		return key
	}
	return name + "." + key
}

// empty says whether a value says nothing: to engines it is as if it were not there.
func empty(value json.RawMessage) bool {
	switch text := string(bytes.TrimSpace(value)); text {
	case "", "null", "false", "0", `""`:
		return true
	default:
		if text[0] != '[' && text[0] != '{' {
			return false
		}
	}
	list, err := valuesOf(value)
	return err == nil && !slices.ContainsFunc(list, func(e json.RawMessage) bool { return !empty(e) })
}

// refused says what is not for users, and how they may be allowed it; without a word
// for that, they may not.
func refused(name, what, word string) error {
	if what != "" {
		what = " " + what
	}
	remedy := "only admins may"
	if word != "" {
		remedy = fmt.Sprintf(`an admin can allow it with %q in "allow" of the settings (see "ddocker config show")`, word)
	}
	return forbidden("%s%s is not for users: %s", name, what, remedy)
}

func wrongKind(name string) error {
	return invalid("read the request: %s is not what Docker has there", name)
}

// gateOf returns the gate for a call; nil: admins may ask for everything.
func (a *API) gateOf(c *call) *gate {
	who := a.who(c)
	if who.admin() {
		return nil
	}
	g := &gate{user: who.Name}
	a.cfg.Log.View(func(l *ledger.Ledger) { g.s = l.Settings() })
	return g
}

// admits refuses what the caller may not say in a body.
func (a *API) admits(c *call, rules map[string]admission, body map[string]json.RawMessage) error {
	g := a.gateOf(c)
	if g == nil || body == nil {
		return nil
	}
	return g.admitFields(rules, "", raw(body))
}
