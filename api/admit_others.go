package api

import (
	"encoding/json"
	"fmt"
	"strings"

	"ddocker/consensus/ledger"
	"ddocker/settings"
)

// networkMode admits networks, which are looked for later, and the host's where that
// is allowed.
func networkMode(g *gate, name, text string) error {
	if text == modeHost && !g.s.Allows(settings.AllowHostNetwork) {
		return refused(name, text, settings.AllowHostNetwork)
	}
	return nil
}

// endpointNames is networkMode for the networks of a container.
func endpointNames(g *gate, name string, value json.RawMessage) error {
	var endpoints map[string]json.RawMessage
	if json.Unmarshal(value, &endpoints) != nil {
		return wrongKind(name)
	}
	if _, host := endpoints[modeHost]; host {
		return networkMode(g, name, modeHost)
	}
	return nil
}

// admitCreate refuses what the caller may not ask for in a container. Other containers
// are called by their IDs afterwards: somebody else's may have the name by the time that
// the engine looks. So may a network that is nowhere yet.
func (a *API) admitCreate(c *call, top map[string]json.RawMessage) error {
	if a.who(c).admin() {
		return nil
	}
	if err := a.admits(c, createRules(), top); err != nil {
		return err
	}
	var w wish
	if err := json.Unmarshal(raw(top), &w); err != nil {
		return invalid("read the request: %s", err)
	}
	for _, ref := range w.networks() {
		switch _, err := a.findObject(c.Context(), ledger.Network, ref); {
		case isUnknown(err):
			return invalid("%s", err) // by a 404, docker's users would be told that an image is pulled
		case err != nil:
			return err
		}
	}
	return a.ownContainers(c, top)
}

// ownContainer returns the ID of a container of the caller's.
func (a *API) ownContainer(c *call, ref string) (id string, err error) {
	if err := a.uses(c, ref); err != nil {
		return "", err
	}
	for _, t := range c.targets {
		if t.ref == ref {
			id = t.is.Container
		}
	}
	if id == "" {
		return "", &ledger.Refusal{Code: ledger.Conflict, Message: fmt.Sprintf("container %s is still being created: try again in a moment", ref)}
	}
	return id, nil
}

// ownContainers has the fields that name other containers name the caller's own, by
// their IDs.
func (a *API) ownContainers(c *call, top map[string]json.RawMessage) error {
	host, err := objectIn(top, "HostConfig")
	if err != nil {
		return err
	}
	for _, key := range []string{"NetworkMode", "IpcMode", "PidMode"} {
		mode, err := text(host, key)
		if err != nil {
			return err
		}
		if ref, joins := strings.CutPrefix(mode, modeContainer); joins {
			id, err := a.ownContainer(c, ref)
			if err != nil {
				return err
			}
			host[key] = raw(modeContainer + id)
		}
	}
	if err := a.ownReferences(c, host, "VolumesFrom", false); err != nil {
		return err
	}
	if err := a.ownReferences(c, host, "Links", true); err != nil {
		return err
	}
	if host != nil {
		top["HostConfig"] = raw(host)
	}
	networking, err := objectIn(top, "NetworkingConfig")
	if err != nil || networking == nil {
		return err
	}
	endpoints, err := objectIn(networking, "EndpointsConfig")
	if err != nil || endpoints == nil {
		return err
	}
	for network := range endpoints {
		if err := a.ownLinks(c, endpoints, network); err != nil {
			return err
		}
	}
	networking["EndpointsConfig"] = raw(endpoints)
	top["NetworkingConfig"] = raw(networking)
	return nil
}

// ownLinks is ownReferences for the links of an endpoint, which stands under the key.
func (a *API) ownLinks(c *call, of map[string]json.RawMessage, key string) error {
	endpoint, err := objectIn(of, key)
	if err != nil || endpoint == nil {
		return err
	}
	if err := a.ownReferences(c, endpoint, "Links", true); err != nil {
		return err
	}
	of[key] = raw(endpoint)
	return nil
}

// ownReferences has a list of "container:rest" name the caller's own containers, by
// their IDs. A link without an alias has the container's name for one.
func (a *API) ownReferences(c *call, of map[string]json.RawMessage, key string, links bool) error {
	var refs []string
	if err := readKey(of, key, &refs); err != nil {
		return invalid("read the request: %s", err)
	}
	if len(refs) == 0 {
		return nil
	}
	for i, ref := range refs {
		name, rest, more := strings.Cut(ref, ":")
		id, err := a.ownContainer(c, name)
		if err != nil {
			return err
		}
		refs[i] = id
		switch {
		case more:
			refs[i] += ":" + rest
		case links:
			refs[i] += ":" + strings.TrimPrefix(name, "/")
		}
	}
	of[key] = raw(refs)
	return nil
}

// objectIn reads an object below another; nil: there is none.
func objectIn(of map[string]json.RawMessage, key string) (fields map[string]json.RawMessage, err error) {
	if of[key] == nil {
		return nil, nil
	}
	if err := json.Unmarshal(of[key], &fields); err != nil {
		return nil, wrongKind(key)
	}
	return fields, nil
}

// admitAttachment refuses what the caller may not say of a container's place on a
// network.
func (a *API) admitAttachment(c *call, body map[string]json.RawMessage) error {
	g := a.gateOf(c)
	if g == nil {
		return nil
	}
	if err := networkMode(g, "network", c.ref); err != nil {
		return err
	}
	if err := a.admits(c, connectRules(), body); err != nil {
		return err
	}
	return a.ownLinks(c, body, "EndpointConfig")
}
