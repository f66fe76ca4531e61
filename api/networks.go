package api

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/network"
	newer "github.com/moby/moby/api/types/network"

	"ddocker/consensus/ledger"
)

// createNetwork takes the name in the ledger and has a network made.
func (a *API) createNetwork(w http.ResponseWriter, c *call) {
	body, err := receive(w, c.Request, networkShape())
	var name string
	if err == nil {
		err = a.admits(c, networkRules(), body)
	}
	if err == nil {
		name, err = text(body, "Name")
	}
	c.seen.on(name)
	switch {
	case err != nil:
	case name != "" && !reference.MatchString(name):
		err = invalid("invalid network name (%s): it has letters, digits, and _ . : @ - in between", name)
	case slices.Contains(predefined, name) || name == "":
		a.sendBody(w, c, a.cfg.Self, c.to(""), raw(body)) // refused by the engine, in its words
		return
	default:
		err = a.nameUnknown(c.Context(), name)
	}
	var answer *record
	if err == nil {
		answer, err = a.createObject(c, ledger.Network, name, raw(withField(body, "CheckDuplicate", true))) // engines before 25 make two
	}
	if err != nil {
		failWith(w, err)
		return
	}
	answer.writeTo(w)
}

// nameUnknown refuses the name of a network that a person made on some host.
func (a *API) nameUnknown(ctx context.Context, name string) error {
	f, err := a.findObject(ctx, ledger.Network, name)
	if err == nil && f.obj == nil && !strings.HasPrefix(f.id, name) {
		return &ledger.Refusal{Code: ledger.Conflict, Message: fmt.Sprintf("network with name %s already exists", name)}
	}
	return nil // the ledger refuses its own
}

// sendBody passes a request with a body of ours to a node's engine, and its answer on.
func (a *API) sendBody(w http.ResponseWriter, c *call, node, path string, body []byte) {
	answer, err := a.request(c.Context(), c.Method, node, path, c.URL.Query(), body)
	if err != nil {
		failWith(w, err)
		return
	}
	answer.writeTo(w)
}

// listNetworks merges the hosts' networks: those that every engine has stand once,
// those of the cluster as their home has them.
func (a *API) listNetworks(w http.ResponseWriter, c *call) {
	rows := []row{}
	for _, one := range a.hosts.each(c.Context(), c.to(""), c.URL.Query()) {
		list, err := a.networkRows(one, c)
		if err != nil {
			failWith(w, err)
			return
		}
		for _, r := range list {
			if a.seesObject(c, ledger.Network, r) {
				a.onNetwork(c, r)
				a.tellOwner(r, a.objectOf(ledger.Network, r))
				rows = append(rows, r)
			}
		}
	}
	reply(w, http.StatusOK, rows)
}

func (a *API) networkRows(one answer, c *call) (rows []row, err error) {
	if one.err != nil {
		if answered(one.err) {
			return nil, one.err
		}
		return a.absentObjects(ledger.Network, one.id, c)
	}
	var list []row
	if err := json.Unmarshal(one.body, &list); err != nil {
		return nil, err
	}
	for _, r := range list {
		var is struct{ Name, ID string }
		json.Unmarshal(raw(r), &is) // of a row that was read: cannot fail
		switch {
		case slices.Contains(predefined, is.Name) && one.id != a.cfg.Self, a.hidden(ledger.Network, is.Name, one.id):
			continue
		}
		a.ownID(r, is.Name, one.id)
		rows = append(rows, r)
	}
	return rows, nil
}

// ownID writes the ID by which clients know a network of the cluster.
func (a *API) ownID(r row, name, node string) {
	a.cfg.Log.View(func(l *ledger.Ledger) {
		if o := l.Object(ledger.Network, name); o != nil && o.Home == node && o.ID != "" {
			r["Id"] = raw(o.ID)
		}
	})
}

// absentObjects tells what the ledger knows of a host that does not answer, as far as
// the filters can be judged.
func (a *API) absentObjects(kind ledger.Kind, node string, c *call) (rows []row, err error) {
	f, err := parseFilters(c.URL.Query().Get("filters"))
	if err != nil {
		return nil, invalid("invalid filter: %s", err)
	}
	a.cfg.Log.View(func(l *ledger.Ledger) {
		for _, o := range l.Objects(kind) {
			if o.Home == node && f.mayMatch(o.ID, o.Name) {
				rows = append(rows, rowOf(o))
			}
		}
	})
	return rows, nil
}

// rowOf writes what the ledger knows of an object as Docker lists it.
func rowOf(o *ledger.Object) row {
	r := row{}
	json.Unmarshal(o.Spec, &r) // an absent one leaves r empty
	delete(r, "CheckDuplicate")
	fill := func(key string, value any) {
		if r[key] == nil || string(r[key]) == "null" {
			r[key] = raw(value)
		}
	}
	r["Name"] = raw(o.Name)
	if fill("Labels", map[string]string{}); o.Kind == ledger.Volume {
		fill("Driver", "local")
		r["Options"], r["Scope"], r["Mountpoint"], r["CreatedAt"] = r["DriverOpts"], raw("local"), raw(""), raw(o.Created)
		delete(r, "DriverOpts")
		return r
	}
	fill("Driver", "bridge")
	r["Id"], r["Created"], r["Scope"] = raw(o.ID), raw(o.Created), raw("local")
	for key, value := range map[string]any{"Options": map[string]string{}, "IPAM": map[string]any{"Driver": "default", "Config": []string{}}, "Containers": map[string]string{}, "Internal": false, "Attachable": false, "Ingress": false, "ConfigOnly": false, "EnableIPv6": false} {
		fill(key, value)
	}
	return r
}

// inspectNetwork shows a network as its home has it, with the containers that are on
// it elsewhere.
func (a *API) inspectNetwork(w http.ResponseWriter, c *call) {
	f, err := a.findObject(c.Context(), ledger.Network, c.ref)
	if err == nil {
		err = a.reached(c.Context(), ledger.Network, c.ref, f.node)
	}
	var answer *record
	if err == nil {
		answer, err = a.request(c.Context(), get, f.node, c.to(f.id), c.URL.Query(), nil)
	}
	if err != nil {
		failWith(w, err)
		return
	}
	var r row
	if f.obj == nil && !a.onlyOwn(c) || answer.status != http.StatusOK || json.Unmarshal(answer.body.Bytes(), &r) != nil {
		answer.writeTo(w)
		return
	}
	beside := f.obj != nil && (f.id != f.obj.ID || len(f.obj.On) > 1)
	if beside {
		r["Id"] = raw(f.obj.ID)
		a.addContainers(c, f, r)
	}
	a.onNetwork(c, r)
	a.tellOwner(r, f.obj)
	answer.body.Reset()
	answer.body.Write(raw(r))
	answer.writeTo(w)
}

func (a *API) addContainers(c *call, f found, r row) {
	all := row{}
	json.Unmarshal(r["Containers"], &all)
	for _, i := range f.obj.On {
		if i.Node == f.node || !a.hosts.answers(i.Node) {
			continue
		}
		var other struct{ Containers row }
		if body, err := a.hosts.get(c.Context(), i.Node, c.to(i.ID), nil); err == nil && json.Unmarshal(body, &other) == nil {
			maps.Copy(all, other.Containers)
		}
	}
	r["Containers"] = raw(all)
}

func (a *API) removeNetwork(w http.ResponseWriter, c *call) { a.removeObject(w, c, ledger.Network) }

// attachment is a container that is to be connected to a network, or disconnected.
type attachment struct {
	body      map[string]json.RawMessage
	container ledger.Target
	network   found
}

func (a *API) readAttachment(w http.ResponseWriter, c *call, as shape) (t attachment, ok bool) {
	var err error
	if t.body, err = receive(w, c.Request, as); err != nil {
		failWith(w, err)
		return t, false
	}
	ref, err := text(t.body, "Container")
	if err == nil {
		err = a.admitAttachment(c, t.body)
	}
	if err != nil {
		failWith(w, err)
		return t, false
	}
	if err := a.uses(c, ref); err != nil {
		failWith(w, err)
		return t, false
	}
	if t.container, ok = a.located(w, c, ref); !ok {
		return t, false
	}
	if t.network, err = a.findObject(c.Context(), ledger.Network, c.ref); err != nil {
		failWith(w, err)
		return t, false
	}
	if slices.Contains(predefined, c.ref) {
		t.network.node = t.container.Node // every host has it
	}
	t.body["Container"] = raw(t.container.Container)
	return t, true
}

// connect puts a container on a network, on the container's host.
func (a *API) connect(w http.ResponseWriter, c *call) {
	t, ok := a.readAttachment(w, c, connectShape())
	if !ok {
		return
	}
	o, node := t.network.obj, t.container.Node
	if err := a.reaches(t); err != nil {
		failWith(w, err)
		return
	}
	if o == nil {
		a.sendBody(w, c, node, c.to(t.network.id), raw(t.body))
		return
	}
	ctx := context.WithoutCancel(c.Context())
	// Also if it counts already: a detachment that nobody heard the end of may still come.
	if p := t.container.Placement; p != nil {
		// Once it counts as a user the network is at home there: that must be possible.
		if _, err := a.furnished(ctx, t); err != nil {
			failWith(w, err)
			return
		}
		if _, err := a.decide(ctx, ledger.Command{Attach: &ledger.Attach{Placement: p.ID, Network: o.Name}}); err != nil {
			failWith(w, err)
			return
		}
	}
	id, err := a.furnished(ctx, t)
	asked := err == nil
	var answer *record
	if asked {
		answer, err = a.request(ctx, post, node, c.to(id), nil, raw(t.body))
	}
	lost := asked && err != nil && !notDialled(err) // it may be connected
	if !lost && (err != nil || answer.status/100 != 2) {
		a.parted(ctx, t)
	}
	if err != nil {
		failWith(w, err)
		return
	}
	answer.writeTo(w)
}

// parted has the container count as no user of the network, unless its engine shows it on
// that.
func (a *API) parted(ctx context.Context, t attachment) {
	p, o := t.container.Placement, t.network.obj
	if p == nil || o == nil {
		return
	}
	counts := false
	a.cfg.Log.View(func(l *ledger.Ledger) {
		now := l.Placement(p.ID)
		counts = now != nil && slices.Contains(now.Networks, o.Name)
	})
	if !counts {
		return
	}
	var in struct {
		NetworkSettings struct{ Networks map[string]json.RawMessage }
	}
	body, err := a.hosts.get(ctx, t.container.Node, "/containers/"+t.container.Container+"/json", nil)
	if err == nil {
		err = json.Unmarshal(body, &in)
	}
	if _, on := in.NetworkSettings.Networks[o.Name]; on {
		return
	}
	if err == nil {
		_, err = a.decide(ctx, ledger.Command{Attach: &ledger.Attach{Placement: p.ID, Network: o.Name, Detach: true}})
	}
	if err != nil {
		a.log.Warn("a container still counts as a user of a network", "container", t.container.Name, "network", o.Name, "err", err)
	}
}

// reaches refuses to connect a container to a network that other containers hold on
// another host, unless its host was asked for by name.
func (a *API) reaches(t attachment) (err error) {
	a.cfg.Log.View(func(l *ledger.Ledger) {
		at, p := t.network.node, t.container.Placement
		if t.network.obj != nil {
			at = cmp.Or(l.Anchor(t.network.obj), t.container.Node)
		}
		if at != t.container.Node && (p == nil || !p.Apart || t.network.obj == nil) {
			err = &ledger.Refusal{Code: ledger.Conflict, Message: fmt.Sprintf("container %s is on host %s, and the network is on host %s: a network does not reach from one host to another",
				t.container.Name, l.Node(t.container.Node).Name, l.Node(at).Name)}
		}
	})
	return err
}

// furnished has the container's host make the network if it must, and returns the engine's
// ID of it there.
func (a *API) furnished(ctx context.Context, t attachment) (id string, err error) {
	name, node := t.network.obj.Name, t.container.Node
	var index uint64
	a.cfg.Log.View(func(l *ledger.Ledger) { index = l.Index() })
	query := indexQuery(index)
	query.Set("name", name)
	answer, err := a.request(ctx, post, node, pathFurnish, query, nil)
	if err != nil {
		return "", err
	}
	if answer.status != http.StatusOK {
		var m struct{ Message string }
		json.Unmarshal(answer.body.Bytes(), &m)
		return "", &statusError{answer.status, m.Message}
	}
	var is struct{ ID string }
	err = json.Unmarshal(answer.body.Bytes(), &is)
	return cmp.Or(is.ID, name), err
}

// disconnect takes a container off a network.
func (a *API) disconnect(w http.ResponseWriter, c *call) {
	t, ok := a.readAttachment(w, c, shapeOf[network.DisconnectOptions, newer.DisconnectRequest]())
	if !ok {
		return
	}
	id, there := t.network.id, t.network.node == t.container.Node
	if o := t.network.obj; o != nil {
		var i ledger.Instance
		if i, there = o.Instance(t.container.Node); there {
			id = i.ID
		}
	}
	ctx := context.WithoutCancel(c.Context())
	if !there {
		a.parted(ctx, t)
		fail(w, http.StatusForbidden, "container %s is not connected to network %s", t.container.Container, c.ref)
		return
	}
	answer, err := a.request(ctx, post, t.container.Node, c.to(id), nil, raw(t.body))
	switch p := t.container.Placement; {
	case err != nil || p == nil || t.network.obj == nil:
	case answer.status/100 == 2:
		_, err = a.decide(ctx, ledger.Command{Attach: &ledger.Attach{Placement: p.ID, Network: t.network.obj.Name, Detach: true}})
	default: // it may not have been connected
		a.parted(ctx, t)
	}
	if err != nil {
		failWith(w, err)
		return
	}
	answer.writeTo(w)
}
