package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
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

// admitCreate refuses what the caller may not ask for in a container, and whose
// containers, networks and volumes it may not use. Containers are called by their IDs
// afterwards: another may have the name when the engine looks.
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
	if err := a.ownObjects(c, &w); err != nil {
		return err
	}
	return a.ownContainers(c, top)
}

// ownObjects refuses networks and volumes that are not the caller's. A volume that is
// nowhere is made with the container.
func (a *API) ownObjects(c *call, w *wish) error {
	for _, ref := range w.networks() {
		if err := a.ownObject(c, ledger.Network, ref); err != nil {
			return err
		}
	}
	for _, name := range w.volumes() {
		if err := a.ownObject(c, ledger.Volume, name); err != nil && !isUnknown(err) {
			return err
		}
	}
	return nil
}

func (a *API) ownObject(c *call, kind ledger.Kind, ref string) error {
	f, err := a.findObject(c.Context(), kind, ref)
	switch who := a.who(c); {
	case err != nil:
		return err
	case f.obj == nil:
		return a.notOwn(c, string(kind)+" "+ref, "", noSuch(kind, ref))
	case f.obj.Owner != who.Name:
		return a.notOwn(c, string(kind)+" "+ref, f.obj.Owner, noSuch(kind, ref))
	}
	return nil
}

// ownContainer finds a container of the caller's by what the caller calls it.
func (a *API) ownContainer(c *call, ref string) (id string, err error) {
	t, refusal := a.resolve(c.Context(), ref)
	switch {
	case refusal != nil:
		return "", refusal
	case t.Placement == nil:
		return "", a.notOwn(c, "container "+ref, "", "No such container: "+ref)
	case t.Placement.Owner != a.who(c).Name:
		return "", a.notOwn(c, "container "+ref, t.Placement.Owner, "No such container: "+ref)
	case t.Container == "":
		return "", &ledger.Refusal{Code: ledger.Conflict, Message: fmt.Sprintf("container %s is still being created: try again in a moment", ref)}
	}
	return t.Container, nil
}

// notOwn refuses what belongs to somebody else, or to nobody that the cluster knows of.
// To callers who see only what is theirs there is no such thing.
func (a *API) notOwn(c *call, what, owner, unknown string) error {
	if g := a.gateOf(c); g != nil && g.s.Visibility == settings.VisibleOwn {
		return &ledger.Refusal{Code: ledger.Unknown, Message: unknown}
	}
	if owner == "" {
		return &statusError{http.StatusForbidden, what + " was made outside of the cluster: only admins may use it"}
	}
	return &statusError{http.StatusForbidden, fmt.Sprintf("%s belongs to %s", what, owner)}
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

// admitAttachment refuses to change the networks of others' containers, and what the
// caller may not say of its own.
func (a *API) admitAttachment(c *call, body map[string]json.RawMessage, ref string) error {
	if a.who(c).admin() {
		return nil
	}
	if _, err := a.ownContainer(c, ref); err != nil {
		return err
	}
	if c.ref == modeHost {
		if g := a.gateOf(c); !g.s.Allows(settings.AllowHostNetwork) {
			return refused("network", modeHost, settings.AllowHostNetwork)
		}
	} else if !slices.Contains(predefined, c.ref) {
		if err := a.ownObject(c, ledger.Network, c.ref); err != nil {
			return err
		}
	}
	if err := a.admits(c, connectRules(), body); err != nil {
		return err
	}
	return a.ownLinks(c, body, "EndpointConfig")
}
