package api

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"

	"ddocker/consensus/ledger"
)

// tie notes which networks and volumes a container uses. Those of the cluster hold it
// where they are when the ledger decides; those that a person made on a host, there.
func (a *API) tie(ctx context.Context, w *wish, o *order) error {
	names := map[string]string{} // of networks, by what the client calls them
	for _, ref := range w.networks() {
		f, err := a.findObject(ctx, ledger.Network, ref)
		if isUnknown(err) {
			continue // its engine says so
		}
		if err != nil {
			return err
		}
		if err := a.hold(f, "network "+ref, o); err != nil {
			return err
		}
		if f.obj != nil {
			names[ref] = f.obj.Name
			o.reserve.Networks = append(o.reserve.Networks, f.obj.Name)
		}
	}
	for _, name := range w.volumes() {
		f, err := a.findObject(ctx, ledger.Volume, name)
		if err != nil && !isUnknown(err) {
			return err
		}
		if err == nil && f.obj == nil {
			if err := a.hold(f, "volume "+name, o); err != nil {
				return err
			}
			continue
		}
		o.reserve.Volumes = append(o.reserve.Volumes, name)
	}
	o.reserve.Networks = slices.Compact(slices.Sorted(slices.Values(o.reserve.Networks)))
	if len(o.reserve.Networks)+len(o.reserve.Volumes) > 0 {
		o.reserve.Project = w.Labels[labelProject]
	}
	return o.callNetworks(names)
}

func isUnknown(err error) bool {
	var refusal *ledger.Refusal
	return errors.As(err, &refusal) && refusal.Code == ledger.Unknown
}

// hold restricts a container to the host of what a person made there.
func (a *API) hold(f found, what string, o *order) error {
	if f.obj != nil {
		return nil
	}
	return narrow(&o.reserve.Request, a.hosts.name(f.node), what+" is there")
}

// networks are the references to networks, without those that every engine has.
func (w *wish) networks() []string {
	refs := append(slices.Collect(maps.Keys(w.NetworkingConfig.EndpointsConfig)), w.HostConfig.NetworkMode)
	refs = slices.DeleteFunc(refs, func(ref string) bool {
		return ref == "" || ref == "default" || strings.HasPrefix(ref, "container:") || slices.Contains(predefined, ref)
	})
	slices.Sort(refs)
	return slices.Compact(refs)
}

// volumes are the names of volumes, each once.
func (w *wish) volumes() (names []string) {
	for _, source := range w.sources() {
		if source != "" && !strings.HasPrefix(source, "/") {
			names = append(names, source)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// callNetworks has the body call networks by their names, whose IDs differ from engine
// to engine.
func (o *order) callNetworks(names map[string]string) error {
	if maps.Equal(names, sameNames(names)) {
		return nil
	}
	var top, host, networking, endpoints map[string]json.RawMessage
	err := json.Unmarshal(o.body, &top)
	for key, into := range map[string]*map[string]json.RawMessage{"HostConfig": &host, "NetworkingConfig": &networking} {
		if top[key] != nil {
			err = errors.Join(err, json.Unmarshal(top[key], into))
		}
	}
	if networking["EndpointsConfig"] != nil {
		err = errors.Join(err, json.Unmarshal(networking["EndpointsConfig"], &endpoints))
	}
	if err != nil {
		return invalid("read the request: %s", err)
	}
	var mode string
	json.Unmarshal(host["NetworkMode"], &mode) // readWish has read it before
	if name := names[mode]; name != "" {
		host["NetworkMode"] = raw(name)
		top["HostConfig"] = raw(host)
	}
	called := map[string]json.RawMessage{}
	for ref, settings := range endpoints {
		if name := names[ref]; name != "" {
			ref = name
		}
		called[ref] = settings
	}
	if networking != nil {
		networking["EndpointsConfig"] = raw(called)
		top["NetworkingConfig"] = raw(networking)
	}
	o.body = raw(top)
	return nil
}

func sameNames(names map[string]string) map[string]string {
	same := map[string]string{}
	for _, name := range names {
		same[name] = name
	}
	return same
}

// labelReplace is compose's for a container that it makes anew; its name begins with
// the short ID of the old one, until that is gone.
const labelReplace = "com.docker.compose.replace"

// replaced returns the placement that a new container of compose's takes over: its
// owner's own, of the same project, and the one that its name says.
func (a *API) replaced(w *wish, name, owner string) (placement string) {
	short, old, _ := strings.Cut(name, "_")
	if w.Labels[labelReplace] == "" || !shortID.MatchString(short) {
		return ""
	}
	a.cfg.Log.View(func(l *ledger.Ledger) {
		t, refusal := l.Resolve(old)
		if p := t.Placement; refusal == nil && p != nil && strings.HasPrefix(p.Container, short) &&
			p.Owner == owner && (p.Project == "" || p.Project == w.Labels[labelProject]) {
			placement = p.ID
		}
	})
	return placement
}

var shortID = regexp.MustCompile(`^[0-9a-f]{12}$`)
