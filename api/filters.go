package api

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// filters are Docker's, in either of the two forms that its clients send.
type filters map[string][]string

func parseFilters(text string) (filters, error) {
	f := filters{}
	if text == "" {
		return f, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &fields); err != nil {
		return nil, err
	}
	for key, value := range fields {
		var set map[string]bool
		if json.Unmarshal(value, &set) == nil {
			f[key] = slices.Sorted(maps.Keys(set))
			continue
		}
		var list []string
		if err := json.Unmarshal(value, &list); err != nil {
			return nil, err
		}
		f[key] = list
	}
	return f, nil
}

// String returns the form that engines of every version read.
func (f filters) String() string {
	sets := map[string]map[string]bool{}
	for key, values := range f {
		sets[key] = map[string]bool{}
		for _, v := range values {
			sets[key][v] = true
		}
	}
	return string(raw(sets))
}

// takeLabel takes the wishes for a label out, which engines do not know.
func (f filters) takeLabel(name string) (values []string) {
	f["label"] = slices.DeleteFunc(f["label"], func(l string) bool {
		key, value, _ := strings.Cut(l, "=")
		if key == name {
			values = append(values, value)
		}
		return key == name
	})
	if len(f["label"]) == 0 {
		delete(f, "label")
	}
	return values
}

// mayMatch judges a container of which only the ID and the name are known.
func (f filters) mayMatch(id, name string) bool {
	for key, values := range f {
		ok := false
		for _, v := range values {
			switch key {
			case "name":
				ok = ok || strings.Contains(name, strings.Trim(v, "^/$"))
			case "id":
				ok = ok || strings.HasPrefix(id, v)
			}
		}
		if !ok {
			return false
		}
	}
	return true
}

// hasLabel says whether the labels have one as filters write it, KEY or KEY=VALUE.
func hasLabel(labels map[string]string, wanted string) bool {
	key, value, exact := strings.Cut(wanted, "=")
	is, ok := labels[key]
	return ok && (!exact || is == value)
}
