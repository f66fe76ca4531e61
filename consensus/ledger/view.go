package ledger

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"ddocker/sched"
	"ddocker/settings"
)

// What follows reads. What is returned must not be changed.

// Index returns the place in the log of the last entry applied.
func (l *Ledger) Index() uint64 { return l.index }

// Settings returns the cluster's settings.
func (l *Ledger) Settings() settings.Settings { return l.settings }

// Hosts returns what every node has and holds, by name. Later commands change it.
func (l *Ledger) Hosts() []*sched.Host { return l.hosts }

// Host returns the sum of what the node has and holds; nil: unknown. Later
// commands change it.
func (l *Ledger) Host(node string) *sched.Host {
	if n := l.nodes[node]; n != nil {
		return n.host
	}
	return nil
}

// Node returns the node with the ID, or nil.
func (l *Ledger) Node(id string) *Node { return l.nodes[id] }

// NodeNamed returns the node with the name or the ID, or nil.
func (l *Ledger) NodeNamed(ref string) *Node {
	for _, n := range l.nodes {
		if n.Name == ref {
			return n
		}
	}
	return l.nodes[ref]
}

// Nodes returns all nodes, by name.
func (l *Ledger) Nodes() []*Node {
	return slices.SortedFunc(maps.Values(l.nodes), func(a, b *Node) int { return cmp.Compare(a.Name, b.Name) })
}

// NodeIDs returns the IDs of all nodes, ascending.
func (l *Ledger) NodeIDs() []string { return slices.Sorted(maps.Keys(l.nodes)) }

// Placement returns the placement with the ID, or nil.
func (l *Ledger) Placement(id string) *Placement { return l.placements[id] }

// Placed returns the placements on a node, by ID.
func (l *Ledger) Placed(node string) []*Placement {
	n := l.nodes[node]
	if n == nil {
		return nil
	}
	return slices.SortedFunc(maps.Values(n.held), func(a, b *Placement) int { return cmp.Compare(a.ID, b.ID) })
}

// Expired says whether the placement was released before its container was
// ever seen.
func (l *Ledger) Expired(id string) bool { return slices.Contains(l.expired, id) }

// Tokens returns the join tokens that are not known to be spent, by hash.
func (l *Ledger) Tokens() []Token {
	return slices.SortedFunc(maps.Values(l.tokens), func(a, b Token) int { return cmp.Compare(a.Hash, b.Hash) })
}

// HasToken says whether there is a join token with the hash. Whether it is still
// good is told by UseToken.
func (l *Ledger) HasToken(hash string) bool {
	_, ok := l.tokens[hash]
	return ok
}

// NameTaken returns the refusal that a reservation of the container name would
// get, or nil.
func (l *Ledger) NameTaken(name string) *Refusal { return l.nameTaken(name, "") }

// Target is what a container's name or ID stands for.
type Target struct {
	Node string
	// Container is the engine's full ID; empty while the container is being created.
	Container string
	Name      string
	// Placement is nil for a container made outside the cluster.
	Placement *Placement
}

// Resolve finds the container that a person means, as Docker does: by full ID,
// then by name, then by a prefix of the ID that is no other's. "node/name" looks
// on one node only. A Refusal of code Unknown or Invalid says that there is none,
// or more than one.
func (l *Ledger) Resolve(ref string) (Target, *Refusal) {
	only := ""
	if node, name, ok := strings.Cut(strings.TrimPrefix(ref, "/"), "/"); ok {
		n := l.NodeNamed(node)
		if n == nil {
			return Target{}, &Refusal{Unknown, fmt.Sprintf("No such node: %s", node)}
		}
		only, ref = n.Node, name
	}
	ref = strings.TrimPrefix(ref, "/")
	if ref == "" {
		return l.single(ref, nil)
	}
	var named, prefixed []Target
	for _, id := range []string{l.containers[ref], l.names[ref]} {
		p := l.placements[id]
		if p == nil || only != "" && p.Node != only {
			continue
		}
		t := Target{p.Node, p.Container, p.Name, p}
		if p.Container == ref {
			return t, nil
		}
		named = append(named, t)
	}
	for t := range l.outsiders(only) {
		switch {
		case t.Container == ref:
			return t, nil
		case t.Name == ref:
			named = append(named, t)
		}
	}
	if len(named) > 0 {
		return l.single(ref, named)
	}
	for t := range l.targets(only) {
		if strings.HasPrefix(t.Container, ref) || t.was(ref) {
			prefixed = append(prefixed, t)
		}
	}
	return l.single(ref, prefixed)
}

// was says whether the container had an ID with that prefix before it was moved.
func (t Target) was(prefix string) bool {
	return t.Placement != nil && slices.ContainsFunc(t.Placement.Was, func(i Instance) bool { return strings.HasPrefix(i.ID, prefix) })
}

func (l *Ledger) single(ref string, found []Target) (Target, *Refusal) {
	switch len(found) {
	case 0:
		return Target{}, &Refusal{Unknown, "No such container: " + ref}
	case 1:
		return found[0], nil
	}
	var where []string
	for _, t := range found {
		where = append(where, l.nodes[t.Node].Name+"/"+t.Name)
	}
	slices.Sort(where)
	return Target{}, &Refusal{Invalid, fmt.Sprintf("multiple IDs found with provided prefix: %s is one of %s", ref, strings.Join(where, ", "))}
}

// targets walks all containers, or those of one node.
func (l *Ledger) targets(node string) iter.Seq[Target] {
	return func(yield func(Target) bool) {
		for _, n := range l.nodes {
			if node != "" && n.Node != node {
				continue
			}
			for _, p := range n.held {
				if !yield(Target{n.Node, p.Container, p.Name, p}) {
					return
				}
			}
		}
		l.outsiders(node)(yield)
	}
}

// outsiders walks the containers that are not the cluster's, or those of one node.
func (l *Ledger) outsiders(node string) iter.Seq[Target] {
	return func(yield func(Target) bool) {
		for _, n := range l.nodes {
			if node != "" && n.Node != node {
				continue
			}
			for i := range n.Observed.Containers {
				o := &n.Observed.Containers[i]
				if p := l.placements[l.containers[o.ID]]; p != nil && p.Container != o.ID {
					continue // it has moved, and is removed when it has come
				}
				if !yield(Target{n.Node, o.ID, o.Name, nil}) {
					return
				}
			}
		}
	}
}
