package ledger

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// maxClaims bounds how many images are being made at once.
	maxClaims = 1024
	// claimLife is when a claim may be taken over: the node that made it may be gone
	// for good.
	claimLife = 24 * time.Hour
)

func (l *Ledger) claim(c *Claim, at time.Time) Result {
	if !exactName(c.Name) || c.Claim == "" {
		return refuse(Invalid, "%q is no name for an image", c.Name)
	}
	if l.nodes[c.Node] == nil {
		return refuse(Unknown, "node %s is not in the cluster", c.Node)
	}
	old := l.images[c.Name]
	if old != nil && old.Claim == c.Claim {
		return Result{Image: old}
	}
	if old != nil && (old.Claim == "" || at.Sub(old.Created) < claimLife) {
		return Result{Refusal: l.imageTaken(old)}
	}
	if old == nil && l.claims() >= maxClaims {
		return refuse(Conflict, "%d images are being made already: try again when some of them are done", maxClaims)
	}
	i := &Image{Name: c.Name, Owner: c.Owner, Node: c.Node, Created: at.UTC(), Claim: c.Claim, Commit: c.Commit, Index: l.index}
	l.images[c.Name] = i
	return Result{Image: i}
}

// claims counts the images that are being made.
func (l *Ledger) claims() (n int) {
	for _, i := range l.images {
		if i.Claim != "" {
			n++
		}
	}
	return n
}

func (l *Ledger) unclaim(c *Unclaim) Result {
	for name, i := range l.images {
		if i.Claim == c.Claim && c.Claim != "" {
			delete(l.images, name)
		}
	}
	return Result{}
}

// imageTaken says who has the name.
func (l *Ledger) imageTaken(i *Image) *Refusal {
	if i.ID == "" {
		return &Refusal{Conflict, fmt.Sprintf("image %s is being made on host %s: choose another name, or wait", i.Name, l.nodeName(i.Node))}
	}
	where := "on no host that is known"
	if on := l.ImageHolders(i.ID); len(on) > 0 {
		where = "on host " + l.nodeNames(on)
	}
	return &Refusal{Conflict, fmt.Sprintf("image %s already exists %s, as %s: choose another name, or remove it with \"ddocker rmi %s\"",
		i.Name, where, Short(i.ID), i.Name)}
}

func (l *Ledger) nodeName(id string) string {
	if n := l.nodes[id]; n != nil {
		return n.Name
	}
	if g := l.GoneNode(id); g != nil {
		return g.Name
	}
	return id
}

// maxNamed is how many hosts a sentence names.
const maxNamed = 5

// nodeNames lists the names of nodes for a sentence.
func (l *Ledger) nodeNames(ids []string) string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = l.nodeName(id)
	}
	return joinNames(names)
}

// joinNames sorts names and lists at most maxNamed of them.
func joinNames(names []string) string {
	slices.Sort(names)
	if more := len(names) - maxNamed; more > 0 {
		names = append(names[:maxNamed], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}
