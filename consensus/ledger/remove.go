package ledger

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Bounds of what is remembered of removed nodes; the oldest are forgotten. A forgotten
// node's certificate has expired long since.
const (
	maxLost = 4096
	maxGone = 1024
)

func (l *Ledger) remove(c *Remove, at time.Time) Result {
	if refusal := l.mayRemove(c); refusal != nil {
		return Result{Refusal: refusal}
	}
	n := l.nodes[c.Node]
	if n == nil {
		return Result{} // it was removed by somebody else
	}
	lost := slices.Clone(l.lost)
	for _, p := range l.Placed(c.Node) {
		l.release(&Release{Placement: p.ID})
		if p.Container != "" || l.maybeMade(p) {
			lost = append(lost, Lost{Placement: *p, Host: n.Name, At: at.UTC(), Left: c.Left})
		}
	}
	l.lost = lost[max(0, len(lost)-maxLost):]
	l.strike(l.nodes[c.Node])
	gone := append(slices.Clone(l.gone), Departed{ID: n.Node, Name: n.Name, At: at.UTC(), By: cmp.Or(c.By, somebody), Left: c.Left})
	l.gone, l.spilled = gone[max(0, len(gone)-maxGone):], true
	return Result{}
}

// maybeMade says whether somebody may have been told of the container of a reservation:
// without a quorum that stands in for the confirmation. What did not come to move is on its
// old host, if that is there.
func (l *Ledger) maybeMade(p *Placement) bool {
	if l.level < nothingUnseen || p.Container != "" {
		return false
	}
	return len(p.Was) == 0 || l.nodes[p.Was[len(p.Was)-1].Node] == nil
}

// strike takes a node that holds no placement out of all that the ledger has of it.
func (l *Ledger) strike(n *Node) {
	had := n.Observed.Images
	l.setHoldings(n.Node, nil)
	l.settleRemovals(n.Node, func(Removal) bool { return true })
	l.leftovers = slices.DeleteFunc(slices.Clone(l.leftovers), func(f Leftover) bool { return f.Node == n.Node })
	for name, i := range l.images {
		if i.Claim != "" && i.Node == n.Node {
			delete(l.images, name)
		}
	}
	for _, o := range l.allObjects() { // in an order, as leftovers have one
		l.uproot(o, n.Node)
	}
	n = l.nodes[n.Node]
	l.drop(n)
	none := Node{Register: Register{Node: n.Node}, host: n.host, stakes: n.stakes}
	l.stake(&none)
	delete(l.nodes, n.Node)
	l.forgetLost(had)
}

// mayRemove refuses a removal that would leave nobody, and a host's own wish to leave
// while it holds something.
func (l *Ledger) mayRemove(c *Remove) *Refusal {
	n := l.nodes[c.Node]
	switch {
	case n == nil && l.GoneNode(c.Node) != nil:
		return nil
	case n == nil:
		return &Refusal{Unknown, fmt.Sprintf("node %s is not in the cluster", c.Node)}
	case len(l.nodes) == 1:
		return &Refusal{Conflict, fmt.Sprintf("%s is the only host of the cluster: to end it, stop its agent and remove its data directory", n.Name)}
	case c.Left && !c.Force && len(n.held) > 0:
		var names []string
		for _, p := range n.held {
			names = append(names, p.Name)
		}
		return &Refusal{Conflict, fmt.Sprintf("host %s holds %s: remove what is not needed, or leave with --force: what is there then runs on without the cluster", n.Name, joinNames(names))}
	}
	return nil
}

// MayRemove returns the refusal that the removal would get, or nil.
func (l *Ledger) MayRemove(c *Remove) *Refusal { return l.mayRemove(c) }

// uproot takes the node's instance from an object. One whose home it was lives on with its
// heir, and ends without one.
func (l *Ledger) uproot(o *Object, node string) {
	if _, on := o.Instance(node); !on && o.Home != node {
		return
	}
	heir := o.Home
	if heir == node {
		heir = l.heir(o, node)
	}
	o = o.without(node)
	if heir == "" {
		l.leave(o, nil)
		delete(l.objects, o.key())
		return
	}
	o.Home = heir
	l.objects[o.key()] = o
}

// found forgets the lost placements whose containers a machine has that joined since. One
// that was not confirmed is known by its name, if it is not younger than the loss.
func (l *Ledger) found(c *Observe) {
	back := func(p Lost) bool {
		return slices.ContainsFunc(c.Containers, func(o Outsider) bool {
			if p.Placement.Container == "" {
				return o.Name == p.Placement.Name && !o.Created.After(p.At)
			}
			return o.ID == p.Placement.Container
		})
	}
	if slices.ContainsFunc(l.lost, back) {
		l.lost = slices.DeleteFunc(slices.Clone(l.lost), back)
	}
}

func (l *Ledger) forget(c *Forget) Result {
	l.lost = slices.DeleteFunc(slices.Clone(l.lost), func(p Lost) bool { return p.Placement.ID == c.Placement })
	return Result{}
}

// GoneNode returns what is remembered of a removed node, or nil.
func (l *Ledger) GoneNode(id string) *Departed {
	for i := range l.gone {
		if l.gone[i].ID == id {
			return &l.gone[i]
		}
	}
	return nil
}

// Departed returns what is remembered of removed nodes, oldest first.
func (l *Ledger) Departed() []Departed { return l.gone }

// Losts returns the placements whose nodes were removed, oldest first.
func (l *Ledger) Losts() []Lost { return l.lost }

// ID is that of the container, or the placement's own where it was not confirmed.
func (p *Lost) ID() string { return cmp.Or(p.Placement.Container, p.Placement.ID) }

// LostNamed returns the newest lost placement that has the name, or the ID or a beginning
// of it of at least four digits; nil: there is none.
func (l *Ledger) LostNamed(ref string) *Lost {
	for i := len(l.lost) - 1; i >= 0; i-- {
		p := &l.lost[i]
		if p.Placement.Name == ref || len(ref) >= shortestID && strings.HasPrefix(p.ID(), ref) {
			return p
		}
	}
	return nil
}
