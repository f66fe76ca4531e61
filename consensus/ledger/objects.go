package ledger

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Kind is what an Object is.
type Kind string

// The kinds of objects.
const (
	Network Kind = "network"
	Volume  Kind = "volume"
	// Project is a compose project: its containers that use networks or volumes go to
	// one host, though no two may share any. It lasts as long as it has containers.
	Project Kind = "project"
)

// Object is a network or a volume of the cluster, or a project. Each is a thing of one engine, so
// it ties the containers that use it to one host, its home. A network may have
// instances beside that, for containers that ask for another host by name. Values
// are never changed once they stand in the ledger, but replaced.
type Object struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name"`
	// ID is what clients know a network by: that of its first engine. Empty until it
	// is made. A volume's is its name.
	ID    string          `json:"id,omitempty"`
	Owner string          `json:"owner,omitempty"`
	Home  string          `json:"home"` // node
	Spec  json.RawMessage `json:"spec,omitempty"`
	// On are the engines that have it, by node.
	On []Instance `json:"on,omitempty"`
	// Users counts the placements that ever named it. A volume that had one may have
	// data, and stays where it is.
	Users   int       `json:"users,omitempty"`
	Created time.Time `json:"created"` // the leader's time
	Index   uint64    `json:"index"`   // the place in the log at which the name was taken
}

// Instance is an object on one engine.
type Instance struct {
	Node string `json:"node"`
	ID   string `json:"id"` // the engine's own
	// Found says that it was there when it was to be made: maybe somebody else's, it is
	// not removed unasked.
	Found bool `json:"found,omitempty"`
}

// Leftover is an instance of an object that has ended, which its node has yet to
// remove.
type Leftover struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name"`
	Instance
}

// maxObjects bounds the networks and volumes of the cluster.
const maxObjects = 1 << 16

// thing is the key of an object.
type thing struct {
	kind Kind
	name string
}

func (o *Object) key() thing { return thing{o.Kind, o.Name} }

// Instance returns the object on a node's engine. Not ok: the engine has none.
func (o *Object) Instance(node string) (i Instance, ok bool) {
	at := slices.IndexFunc(o.On, func(i Instance) bool { return i.Node == node })
	if at < 0 {
		return Instance{}, false
	}
	return o.On[at], true
}

// with returns a copy that has the instance on its node, and only that one there.
func (o *Object) with(i Instance) *Object {
	n := o.without(i.Node)
	n.On = append(n.On, i)
	slices.SortFunc(n.On, func(a, b Instance) int { return cmp.Compare(a.Node, b.Node) })
	return n
}

func (o *Object) without(node string) *Object {
	n := *o
	n.On = slices.DeleteFunc(slices.Clone(o.On), func(i Instance) bool { return i.Node == node })
	return &n
}

func (l *Ledger) define(c *Define, at time.Time) Result {
	if c.Name == "" || (c.Kind != Network && c.Kind != Volume) {
		return refuse(Invalid, "an object is a network or a volume, and has a name")
	}
	if l.nodes[c.Home] == nil {
		return refuse(Unknown, "node %s is not in the cluster", c.Home)
	}
	key := thing{c.Kind, c.Name}
	if o := l.objects[key]; o != nil {
		return refuse(Conflict, "%s with name %s already exists on host %s", c.Kind, c.Name, l.nodeName(o.Home))
	}
	if n := l.uses.count(key); n > 0 {
		return refuse(Conflict, "%s %s was removed while %d containers use it: remove those first", c.Kind, c.Name, n)
	}
	if len(l.objects) >= maxObjects {
		return refuse(Conflict, "the cluster has %d networks and volumes already: remove some", maxObjects)
	}
	o := &Object{Kind: c.Kind, Name: c.Name, Owner: c.Owner, Home: c.Home, Spec: c.Spec, Created: at.UTC(), Index: l.index}
	l.objects[key] = o
	return Result{Object: o}
}

func (l *Ledger) made(c *Made) Result {
	key := thing{c.Kind, c.Name}
	o := l.objects[key]
	if o == nil || l.nodes[c.Node] == nil || c.ID == "" {
		return refuse(Unknown, "%s %s was removed meanwhile", c.Kind, c.Name)
	}
	l.leftovers = slices.DeleteFunc(slices.Clone(l.leftovers), func(f Leftover) bool {
		return f.Kind == c.Kind && f.Name == c.Name && f.Node == c.Node // it is this one's now
	})
	o = o.with(Instance{c.Node, c.ID, c.Found})
	o.ID = cmp.Or(o.ID, c.ID)
	l.objects[key] = o
	return Result{Object: o}
}

func (l *Ledger) unmade(c *Unmade) Result {
	gone := func(f Leftover) bool {
		return f.Kind == c.Kind && f.Name == c.Name && f.Node == c.Node && f.ID == c.ID
	}
	l.leftovers = slices.DeleteFunc(slices.Clone(l.leftovers), gone)
	key := thing{c.Kind, c.Name}
	o := l.objects[key]
	if o == nil {
		return Result{}
	}
	if i, ok := o.Instance(c.Node); ok && i.ID == c.ID {
		o = o.without(c.Node)
		l.objects[key] = o
	}
	if len(o.On) == 0 && c.Node == o.Home && l.uses.count(key) == 0 {
		delete(l.objects, key)
	}
	return Result{}
}

func (l *Ledger) undefine(c *Undefine) Result {
	key := thing{c.Kind, c.Name}
	o := l.objects[key]
	if o == nil || o.ID != c.ID {
		return refuse(Unknown, "No such %s: %s", c.Kind, c.Name)
	}
	l.leave(o, c.Done)
	delete(l.objects, key)
	return Result{}
}

// leave remembers what engines have of an object that ends, but those that are done.
func (l *Ledger) leave(o *Object, done []string) {
	for _, i := range o.On {
		if !slices.Contains(done, i.Node) && !i.Found {
			l.leftovers = append(slices.Clone(l.leftovers), Leftover{o.Kind, o.Name, i})
		}
	}
}

func (l *Ledger) attach(c *Attach) Result {
	old := l.placements[c.Placement]
	if old == nil {
		return refuse(Unknown, "placement %s has been released", c.Placement)
	}
	key := thing{Network, c.Network}
	if o := l.objects[key]; o != nil && !c.Detach && !old.Apart {
		if at := l.anchor(o); at != "" && at != old.Node {
			return refuse(Conflict, "container %s is on host %s, and network %s on host %s: a network does not reach from one host to another",
				old.Name, l.nodeName(old.Node), c.Network, l.nodeName(at))
		}
	}
	p := *old
	p.Networks = slices.DeleteFunc(slices.Clone(old.Networks), func(n string) bool { return n == c.Network })
	if !c.Detach {
		p.Networks = append(p.Networks, c.Network)
		l.settleOn(key, p.Node, p.Owner)
	}
	l.uses.add(old, -1)
	l.uses.add(&p, 1)
	return l.replace(&p)
}

// uses counts the placements that name an object, by node.
type uses map[thing]map[string]int

func (u uses) add(p *Placement, n int) {
	for _, key := range p.things() {
		if u[key] == nil {
			u[key] = map[string]int{}
		}
		if u[key][p.Node] += n; u[key][p.Node] == 0 {
			delete(u[key], p.Node)
		}
		if len(u[key]) == 0 {
			delete(u, key)
		}
	}
}

// count returns how many placements name the object.
func (u uses) count(key thing) (n int) {
	for _, m := range u[key] {
		n += m
	}
	return n
}

// things are the keys of what the placement uses.
func (p *Placement) things() []thing { return thingsOf(p.Networks, p.Volumes, p.Project) }

func thingsOf(networks, volumes []string, project string) (keys []thing) {
	if project != "" {
		keys = append(keys, thing{Project, project})
	}
	for _, n := range networks {
		keys = append(keys, thing{Network, n})
	}
	for _, v := range volumes {
		keys = append(keys, thing{Volume, v})
	}
	return keys
}

// unsettle takes back what a placement did to what it uses, if it comes to no
// container: its volumes have no data for its sake, and what moved with it to another
// host is back on the old one.
func (l *Ledger) unsettle(p *Placement) {
	if p.Container != "" {
		return
	}
	for _, key := range p.things() {
		o := l.objects[key]
		if o == nil {
			continue
		}
		n := *o
		if len(p.Was) == 0 {
			n.Users = max(0, n.Users-1)
		} else if was := p.Was[len(p.Was)-1].Node; o.Home == p.Node && l.uses.count(key) == 0 && l.nodes[was] != nil {
			n.Home = was
		}
		l.objects[key] = &n
		if key.kind == Volume && n.Users == 0 && len(n.Spec) == 0 && len(n.On) == 0 && l.uses.count(key) == 0 {
			delete(l.objects, key) // it was to be made with the container
		}
	}
}

// endProject ends a project with its last placement.
func (l *Ledger) endProject(p *Placement) {
	if key := (thing{Project, p.Project}); l.uses.count(key) == 0 {
		delete(l.objects, key)
	}
}

// anchor returns where the object holds its users; empty: nowhere, it may still go
// where the next one goes.
func (l *Ledger) anchor(o *Object) (node string) {
	if l.uses[o.key()][o.Home] > 0 || o.Kind == Volume && o.Users > 0 {
		return o.Home
	}
	return ""
}

// tied says where the reservation must go for the sake of what it uses, and why;
// empty: anywhere. A refusal: its things are on several hosts.
func (l *Ledger) tied(c *Reserve) (node, why string, refusal *Refusal) {
	for _, key := range thingsOf(c.Networks, c.Volumes, c.Project) {
		o := l.objects[key]
		if o == nil || c.Apart && key.kind != Volume {
			continue
		}
		at := l.anchor(o)
		if at == "" || at == node {
			continue
		}
		reason := fmt.Sprintf("%s %s is on host %s", key.kind, key.name, l.nodeName(at))
		if node != "" {
			return "", "", &Refusal{Invalid, why + ", " + reason + ": what a container uses must be on one host"}
		}
		node, why = at, reason
	}
	return node, why, nil
}

// settleOn makes the node the home of an object that a placement there uses, unless
// others hold it elsewhere. A volume or a project that nobody defined comes to be; from
// level 5 on a volume is the placement's owner's.
func (l *Ledger) settleOn(key thing, node, owner string) {
	o := l.objects[key]
	if o == nil {
		if key.kind == Network {
			return // one that a person made on the host
		}
		o = &Object{Kind: key.kind, Name: key.name, ID: key.name, Home: node, Index: l.index}
		if key.kind == Volume && l.level >= ownedVolumes {
			o.Owner = owner
		}
	}
	n := *o
	if l.anchor(o) == "" {
		n.Home = node
	}
	n.Users++
	l.objects[key] = &n
}
