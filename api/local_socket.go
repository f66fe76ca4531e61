package api

import (
	"encoding/json"
	"errors"
	"path"
	"slices"
	"strings"
)

// engineSocket says whether a path is where containers look for Docker on their host.
func engineSocket(source string) bool {
	return slices.Contains([]string{"/var/run/docker.sock", "/run/docker.sock"}, path.Clean(source))
}

// ownSocket has a container that asks for the engine's socket get this node's instead:
// what it does there is the cluster's.
func (l *Local) ownSocket(body []byte) ([]byte, error) {
	if l.socket == "" {
		return body, nil
	}
	var top, host map[string]json.RawMessage
	var binds []string
	var mounts []map[string]json.RawMessage
	err := json.Unmarshal(body, &top)
	if top["HostConfig"] != nil {
		err = errors.Join(err, json.Unmarshal(top["HostConfig"], &host))
	}
	for key, into := range map[string]any{"Binds": &binds, "Mounts": &mounts} {
		if host[key] != nil {
			err = errors.Join(err, json.Unmarshal(host[key], into))
		}
	}
	if err != nil {
		return nil, invalid("read the request: %s", err)
	}
	found := false
	for i, b := range binds {
		if source, rest, ok := strings.Cut(b, ":"); ok && engineSocket(source) {
			binds[i], found = l.socket+":"+rest, true
		}
	}
	for _, m := range mounts {
		if source, err := text(m, "Source"); err == nil && engineSocket(source) {
			m["Source"], found = raw(l.socket), true
		}
	}
	if !found {
		return body, nil
	}
	if binds != nil {
		host["Binds"] = raw(binds)
	}
	if mounts != nil {
		host["Mounts"] = raw(mounts)
	}
	top["HostConfig"] = raw(host)
	return json.Marshal(top)
}
