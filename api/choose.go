package api

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"ddocker/consensus/ledger"
	"ddocker/sched"
)

// choose turns the rules into hosts: those that the container must go to, and
// those that it prefers.
func (a *API) choose(ctx context.Context, rules []rule, r *sched.Request) error {
	if slices.ContainsFunc(rules, func(one rule) bool { return one.kind == affinity }) {
		a.cfg.Log.Read(ctx) // a container made a moment ago counts; without a quorum, what is known does
	}
	var facts []hostFacts
	for _, one := range rules {
		if one.kind == constraint && one.key == "node" && one.one() {
			if err := narrow(r, a.nodeName(one.value), one.text+" says so"); err != nil {
				return err
			}
			continue
		}
		if one.kind == constraint && one.key != "node" && facts == nil {
			facts = a.facts(ctx)
		}
		on, err := a.meeting(ctx, &one, facts)
		if err != nil {
			return err
		}
		chosen := sched.Rule{Words: one.text, Hosts: on}
		if one.soft {
			r.Prefer = append(r.Prefer, chosen)
		} else {
			r.Only = append(r.Only, chosen)
		}
	}
	return nil
}

// nodeName is what the cluster calls the node with the name or the ID; ref itself
// where it knows none.
func (a *API) nodeName(ref string) string {
	a.cfg.Log.View(func(l *ledger.Ledger) {
		if n := l.NodeNamed(ref); n != nil {
			ref = n.Name
		}
	})
	return ref
}

// meeting returns the IDs of the hosts that meet the rule, ascending.
func (a *API) meeting(ctx context.Context, r *rule, facts []hostFacts) (on []string, err error) {
	var has map[string]bool
	switch {
	case r.kind == constraint && r.key == "node":
		has = a.nodesNamed(r)
	case r.kind == constraint:
		has, err = factsMeet(r, facts)
	case r.key == "container":
		has = a.withContainer(r)
	case r.key == "image":
		has = a.withImage(r)
	default:
		has, err = a.withLabel(ctx, r)
	}
	for _, h := range a.hosts.all() {
		if has[h.id] != r.not {
			on = append(on, h.id)
		}
	}
	slices.Sort(on)
	return on, err
}

func (a *API) nodesNamed(r *rule) map[string]bool {
	has := map[string]bool{}
	for _, h := range a.hosts.all() {
		has[h.id] = r.any(h.name, h.id)
	}
	return has
}

// withContainer finds the hosts with a container whose name or ID the rule means.
func (a *API) withContainer(r *rule) map[string]bool {
	has := map[string]bool{}
	a.cfg.Log.View(func(l *ledger.Ledger) {
		for _, n := range l.Nodes() {
			for _, p := range l.Placed(n.Node) {
				has[n.Node] = has[n.Node] || r.any(p.Name, p.Container, ledger.Short(p.Container))
			}
			for _, o := range n.Observed.Containers {
				has[n.Node] = has[n.Node] || r.any(o.Name, o.ID, ledger.Short(o.ID))
			}
		}
	})
	return has
}

// withImage finds the hosts with an image whose name, with or without its tag, or
// ID the rule means.
func (a *API) withImage(r *rule) map[string]bool {
	has := map[string]bool{}
	a.cfg.Log.View(func(l *ledger.Ledger) {
		for _, n := range l.Nodes() {
			for _, h := range n.Observed.Images {
				words := []string{h.ID, ledger.Short(h.ID)}
				for _, name := range slices.Concat(h.Names, l.ImageNames(h.ID)) {
					words = append(words, name, withoutTag(name))
				}
				has[n.Node] = has[n.Node] || r.any(words...)
			}
		}
	})
	return has
}

func withoutTag(name string) string {
	if at := strings.LastIndexByte(name, ':'); at > strings.LastIndexByte(name, '/') && !strings.Contains(name, "@") {
		return name[:at]
	}
	return name
}

// withLabel finds the hosts with a container that has the rule's label. Labels are
// the engines' to tell.
func (a *API) withLabel(ctx context.Context, r *rule) (map[string]bool, error) {
	has := map[string]bool{}
	query := url.Values{"all": {"1"}, "filters": {filters{"label": {r.key}}.String()}}
	for _, one := range a.hosts.each(ctx, pathContainers, query) {
		var list []struct{ Labels map[string]string }
		if one.err != nil {
			continue // a host that does not answer takes no container either
		}
		if err := json.Unmarshal(one.body, &list); err != nil {
			return nil, fmt.Errorf("%s: read the containers of host %s: %w", r.text, one.name, err)
		}
		has[one.id] = slices.ContainsFunc(list, func(c struct{ Labels map[string]string }) bool {
			value, ok := c.Labels[r.key]
			return ok && r.any(value)
		})
	}
	return has, nil
}

// hostFacts are what constraints may be about beside a host's name: what its
// engine tells of itself, and the labels that its administrator gave it.
type hostFacts struct {
	node   string
	values map[string]string
}

func (a *API) facts(ctx context.Context) (all []hostFacts) {
	for _, one := range a.hosts.each(ctx, "/info", nil) {
		var info struct {
			Driver, OperatingSystem, KernelVersion, Architecture, ServerVersion string
			Labels                                                              []string
		}
		if one.err != nil || json.Unmarshal(one.body, &info) != nil {
			continue
		}
		values := map[string]string{}
		for _, label := range info.Labels {
			key, value, _ := strings.Cut(label, "=")
			values[key] = value
		}
		a.cfg.Log.View(func(l *ledger.Ledger) {
			if n := l.Node(one.id); n != nil {
				maps.Copy(values, n.Labels)
			}
		})
		for key, value := range map[string]string{
			"storagedriver": info.Driver, "operatingsystem": info.OperatingSystem, "kernelversion": info.KernelVersion,
			"architecture": info.Architecture, "engineversion": info.ServerVersion,
		} {
			values[key] = value
		}
		all = append(all, hostFacts{one.id, values})
	}
	return all
}

func factsMeet(r *rule, facts []hostFacts) (map[string]bool, error) {
	has, known := map[string]bool{}, false
	for _, f := range facts {
		value, ok := f.values[r.key]
		known = known || ok
		has[f.node] = ok && r.any(value)
	}
	if !known {
		return nil, invalid("%s: no host tells of %q: constraints are on node, storagedriver, operatingsystem, kernelversion, architecture, engineversion, or a label of the hosts (\"ddocker node label\") or of their Docker Engines", r.text, r.key)
	}
	return has, nil
}
