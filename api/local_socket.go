package api

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// engineSockets is where containers look for Docker on their host.
var engineSockets = []string{"/var/run/docker.sock", "/run/docker.sock"}

// ownSocket has a container that asks for the engine's socket get this node's instead:
// what it does there is the cluster's.
func (l *Local) ownSocket(body []byte) ([]byte, error) {
	if l.socket == "" || !slices.ContainsFunc(engineSockets, func(s string) bool { return strings.Contains(string(body), s) }) {
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
	for i, b := range binds {
		if source, rest, ok := strings.Cut(b, ":"); ok && slices.Contains(engineSockets, source) {
			binds[i] = l.socket + ":" + rest
		}
	}
	for _, m := range mounts {
		if source, err := text(m, "Source"); err == nil && slices.Contains(engineSockets, source) {
			m["Source"] = raw(l.socket)
		}
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
