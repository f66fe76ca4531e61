package ledger

import (
	"cmp"
	"slices"
	"time"
)

func (l *Ledger) nameImage(c *NameImage, at time.Time) Result {
	i := c.Image
	if !exactName(i.Name) || i.ID == "" {
		return refuse(Invalid, "%q is no name for an image", i.Name)
	}
	old := l.images[i.Name]
	moves := old != nil && old.ID != i.ID && old.ID != "" && old.ID == c.Was && (old.Owner == "" || old.Owner == i.Owner)
	if old != nil && old.ID != i.ID && !moves && (old.Claim == "" || old.Claim != c.Claim) {
		return Result{Refusal: l.imageTaken(old)}
	}
	// A name ends with the last copy. One that never had a copy would never end.
	if l.nodes[i.Node] == nil && len(l.holders[i.ID]) == 0 {
		return refuse(Unknown, "No such image: %s", i.ID)
	}
	if old != nil && old.ID == i.ID && c.Was == i.ID && old.Owner == "" { // published before it was known who built it
		mine := *old
		mine.Owner = i.Owner
		l.images[i.Name] = &mine
	}
	if moves {
		l.addRemoval(Removal{Name: old.Name, ID: old.ID, Index: l.index, Nodes: l.mayHave(old.ID)})
		l.dropName(old)
	}
	named := l.setImage(i, at)
	l.noteHolding(i.Node, i.ID, i.Name, named.Size())
	return Result{Image: named}
}

func (l *Ledger) merge(c *Merge, at time.Time) Result {
	n := l.nodes[c.Node]
	if n == nil {
		return refuse(Unknown, "node %s is not in the cluster", c.Node)
	}
	for _, i := range c.Images[:min(MaxMerge, len(c.Images))] {
		i.Node = c.Node
		if l.mergeable(n, &i) {
			l.setImage(i, at)
		}
	}
	return Result{}
}

// mergeable says whether the node's own image gets its name in the cluster, or
// adds what is known of it.
func (l *Ledger) mergeable(n *Node, i *Image) bool {
	old := l.images[i.Name]
	if old != nil && (old.ID != i.ID || len(old.Layers) > 0) {
		return false
	}
	h := n.Holding(i.ID)
	return exactName(i.Name) && h != nil && slices.Contains(h.Names, i.Name) && !l.Removing(n.Node, i.Name, i.ID)
}

// setImage stands a name in the ledger. What is known of it already is kept.
func (l *Ledger) setImage(i Image, at time.Time) *Image {
	old, layers := l.images[i.Name], i.Layers
	if old != nil && old.ID == i.ID {
		i = *old
	} else {
		i.Claim, i.Commit, i.Created, i.Index, i.Layers = "", false, at.UTC(), l.index, nil
		if old != nil { // the claim
			i.Owner, i.Node, i.Index = cmp.Or(i.Owner, old.Owner), cmp.Or(i.Node, old.Node), old.Index
		}
	}
	if len(i.Layers) == 0 {
		i.Layers = layers
	}
	if len(i.Layers) == 0 {
		i.Layers = l.layers(i.ID)
	}
	l.images[i.Name] = &i
	l.addName(&i)
	l.forgetRemoval(i.Name, i.ID)
	return &i
}

func (l *Ledger) addName(i *Image) {
	names := l.named[i.ID]
	if at, ok := slices.BinarySearch(names, i.Name); !ok {
		l.named[i.ID] = slices.Insert(slices.Clone(names), at, i.Name)
	}
}

func (l *Ledger) dropName(i *Image) {
	delete(l.images, i.Name)
	names := slices.DeleteFunc(slices.Clone(l.named[i.ID]), func(n string) bool { return n == i.Name })
	if l.named[i.ID] = names; len(names) == 0 {
		delete(l.named, i.ID)
	}
}

func (l *Ledger) unname(c *Unname) Result {
	i := l.images[c.Name]
	if i == nil || i.ID != c.ID || c.ID == "" {
		return refuse(Unknown, "No such image: %s", c.Name)
	}
	if len(l.named[c.ID]) == 1 && !c.Force {
		if user := l.ImageUser(c.ID); user != "" {
			return refuse(Conflict, "conflict: unable to remove repository reference %q (must force) - container %s is using its referenced image %s", c.Name, user, Short(c.ID))
		}
	}
	l.addRemoval(Removal{Name: c.Name, ID: c.ID, Index: l.index, Nodes: l.mayHave(c.ID), Force: c.Force})
	l.dropName(i)
	return Result{}
}

// forgetLost ends the names of the images among those that nobody has any more.
func (l *Ledger) forgetLost(had []Holding) {
	for _, h := range had {
		if len(l.holders[h.ID]) > 0 {
			continue
		}
		for _, name := range l.named[h.ID] {
			l.dropName(l.images[name])
		}
	}
}
