package ledger

import "slices"

// Only returns the networks and volumes that no other node's engine has, and that no
// container elsewhere uses: they would leave the cluster with the node. By kind and name.
func (l *Ledger) Only(node string) []*Object {
	return slices.DeleteFunc(l.allObjects(), func(o *Object) bool {
		return o.Kind == Project || o.Home != node || l.heir(o, node) != ""
	})
}

// heir returns the node that becomes the object's home when node, which is it, is
// removed: where it is, else where it is to be; empty: nobody. What is in a volume goes
// with its home.
func (l *Ledger) heir(o *Object, node string) (heir string) {
	if o.Kind == Volume && o.Users > 0 {
		return ""
	}
	for _, i := range o.On {
		if i.Node != node {
			return i.Node
		}
	}
	for id := range l.uses[o.key()] { // in no order: the lowest
		if id != node && (heir == "" || id < heir) {
			heir = id
		}
	}
	return heir
}

// OnlyImages returns the names of images of which the node has the only copy, sorted.
func (l *Ledger) OnlyImages(node string) (names []string) {
	n := l.nodes[node]
	if n == nil {
		return nil
	}
	for _, h := range n.Observed.Images {
		if len(l.holders[h.ID]) == 1 {
			names = append(names, l.named[h.ID]...)
		}
	}
	slices.Sort(names)
	return names
}
