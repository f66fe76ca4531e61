package ledger

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Object returns the network or volume of the name, or nil.
func (l *Ledger) Object(kind Kind, name string) *Object { return l.objects[thing{kind, name}] }

// Objects returns all networks or all volumes, by name.
func (l *Ledger) Objects(kind Kind) (list []*Object) {
	for _, o := range l.allObjects() {
		if o.Kind == kind {
			list = append(list, o)
		}
	}
	return list
}

func (l *Ledger) allObjects() []*Object {
	return slices.SortedFunc(maps.Values(l.objects), func(a, b *Object) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
}

// FindObject finds what a person means, as Docker does: by ID, by name, by a prefix of
// the ID that is no other's. Nil without a refusal: the cluster made no such thing.
func (l *Ledger) FindObject(kind Kind, ref string) (*Object, *Refusal) {
	if o := l.Object(kind, ref); kind == Volume || ref == "" {
		return o, nil
	}
	var prefixed []*Object
	named := l.Object(kind, ref)
	for _, o := range l.Objects(kind) {
		switch {
		case o.ID == ref:
			return o, nil
		case strings.HasPrefix(o.ID, ref):
			prefixed = append(prefixed, o)
		}
	}
	switch {
	case named != nil:
		return named, nil
	case len(prefixed) == 0:
		return nil, nil
	case len(prefixed) > 1:
		return nil, &Refusal{Invalid, fmt.Sprintf("multiple IDs found with provided prefix: %s", ref)}
	}
	return prefixed[0], nil
}

// Anchor returns the node on which the object holds the containers that use it;
// empty: it goes where the next one goes.
func (l *Ledger) Anchor(o *Object) string { return l.anchor(o) }

// Tied returns the node that a reservation must go to for the sake of its networks
// and volumes, and why; empty: any. The refusal says that there is no such node.
func (l *Ledger) Tied(c *Reserve) (node, why string, refusal *Refusal) { return l.tied(c) }

// Group returns the placements that hold a reservation on their node through networks,
// volumes and its project, directly or through one another, by ID. None: nothing does.
func (l *Ledger) Group(c *Reserve) (group []*Placement) {
	node, _, _ := l.tied(c)
	if node == "" {
		return nil
	}
	reached := map[thing]bool{}
	for _, key := range thingsOf(c.Networks, c.Volumes, c.Project) {
		reached[key] = true
	}
	in := map[string]bool{}
	for grown := true; grown; {
		grown = false
		for _, p := range l.Placed(node) {
			keys := p.things()
			if in[p.ID] || !slices.ContainsFunc(keys, func(k thing) bool { return reached[k] }) {
				continue
			}
			in[p.ID], grown = true, true
			group = append(group, p)
			for _, k := range keys {
				reached[k] = true
			}
		}
	}
	return group
}

// UsersOf returns the placements that use the object, by ID.
func (l *Ledger) UsersOf(o *Object) (list []*Placement) {
	for node := range l.uses[o.key()] {
		for _, p := range l.nodes[node].held {
			if slices.Contains(p.things(), o.key()) {
				list = append(list, p)
			}
		}
	}
	slices.SortFunc(list, func(a, b *Placement) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// Arriving says whether a placement that uses the object has moved to its home and has
// no container there yet: it may still not come to that.
func (l *Ledger) Arriving(o *Object) bool {
	return slices.ContainsFunc(l.UsersOf(o), func(p *Placement) bool { return p.Container == "" && len(p.Was) > 0 })
}

// UsedOn says whether a placement on the node uses the object.
func (l *Ledger) UsedOn(o *Object, node string) bool { return l.uses[o.key()][node] > 0 }

// Leftovers returns what the node has yet to remove.
func (l *Ledger) Leftovers(node string) (list []Leftover) {
	for _, f := range l.leftovers {
		if f.Node == node {
			list = append(list, f)
		}
	}
	return list
}
