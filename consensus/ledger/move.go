package ledger

import (
	"fmt"
	"slices"

	"ddocker/sched"
)

// move is told apart from a release and a reservation: nobody else gets the old
// place or the new one in between, and the names stay.
func (l *Ledger) move(c *Move) Result {
	var group []*Placement
	for _, id := range c.Placements {
		p := l.placements[id]
		if p == nil || p.Container == "" || len(group) > 0 && p.Node != group[0].Node || slices.Contains(group, p) {
			return refuse(Unknown, "the containers to move are no longer on one host")
		}
		group = append(group, p)
	}
	if len(group) == 0 {
		return refuse(Invalid, "there is nothing to move")
	}
	if r := l.rooted(group); r != nil {
		return Result{Refusal: r}
	}
	from := group[0].Node
	misfit := sched.Misfit{Request: &group[0].Request}
	for _, id := range c.Candidates {
		n := l.nodes[id]
		if n == nil || id == from {
			continue
		}
		grants, lack, ok := l.allotAll(n, group, c.Beside)
		if !ok {
			misfit.Lacks = append(misfit.Lacks, lack)
			continue
		}
		for i, old := range group {
			l.carry(old, n, grants[i])
		}
		return Result{Placement: l.placements[group[0].ID]}
	}
	return refuse(Full, "%s", misfit.Error())
}

// rooted refuses to move a group that shares a network or a volume with a container
// that is not of it, or a volume in which an earlier one may have left data.
func (l *Ledger) rooted(group []*Placement) *Refusal {
	users := uses{}
	for _, p := range group {
		users.add(p, 1)
	}
	for _, p := range group {
		for _, key := range p.things() {
			o := l.objects[key]
			if o != nil && (l.uses[key][p.Node] != users.count(key) || o.Kind == Volume && o.Users != users.count(key)) {
				return &Refusal{Conflict, fmt.Sprintf("%s %s stays on host %s: others use it, or have used it", key.kind, key.name, l.nodeName(p.Node))}
			}
		}
	}
	return nil
}

// allotAll finds room for the whole group on a host as it would be with each before.
func (l *Ledger) allotAll(n *Node, group []*Placement, beside *Reserve) (grants []sched.Grant, lack sched.Lack, ok bool) {
	h := *n.host
	h.Held = n.host.Held.Clone()
	for _, p := range group {
		r := p.Request
		r.Host, r.HostReason = "", "" // a host that was asked for is for the mover to heed
		r.Ports = slices.Clone(r.Ports)
		for i := range r.Ports {
			r.Ports[i].Host = p.Grant.Ports[i].Host // which somebody may have been told
		}
		g, lack, ok := sched.Allot(&h, &r, l.settings.StartPort, nil)
		if !ok {
			return nil, lack, false
		}
		h.Held.Add(g)
		grants = append(grants, *g)
	}
	if beside != nil {
		if lack, ok := sched.Fit(&h, &beside.Request); !ok {
			return nil, lack, false
		}
	}
	return grants, lack, true
}

// carry stands a placement on another node. The container that it had is known by
// its ID still, until the new one is confirmed and after. It holds its place until its host
// says that it is gone: where the move comes to nothing, it may be started there.
func (l *Ledger) carry(old *Placement, to *Node, g sched.Grant) {
	p := *old
	p.Node, p.Grant, p.Container = to.Node, g, ""
	if old.Container != "" {
		p.Was = append(slices.Clone(old.Was), Instance{Node: old.Node, ID: old.Container})
	}
	l.uses.add(old, -1)
	n := *l.nodes[old.Node]
	delete(n.held, old.ID)
	delete(l.containers, old.Container)
	if l.level >= nothingUnseen {
		n.Observed.Containers = append(slices.Clip(n.Observed.Containers), Outsider{
			ID: old.Container, Name: old.Name, Image: old.Image, ImageID: old.ImageID, Created: old.Created, Grant: old.Grant,
		})
	}
	l.put(&n)
	l.hold(to, &p)
	for _, key := range p.things() {
		if o := l.objects[key]; o != nil && o.Home == old.Node && l.uses[key][old.Node] == 0 {
			moved := *o
			moved.Home = p.Node
			l.objects[key] = &moved
		}
	}
}

// staying returns what the node has beside the cluster's own containers: what it says, and
// what moves from it and is not made elsewhere yet. It may have looked before the move, when
// that was one of the cluster's own.
func (l *Ledger) staying(old *Node, said []Outsider) []Outsider {
	if l.level < nothingUnseen {
		return said
	}
	for _, o := range old.Observed.Containers {
		if !slices.ContainsFunc(said, func(s Outsider) bool { return s.ID == o.ID }) && l.moving(old.Node, o.ID) {
			said = append(slices.Clip(said), o)
		}
	}
	return said
}

// moving says whether a placement moves whose container this was on the node.
func (l *Ledger) moving(node, container string) bool {
	for _, p := range l.placements {
		if p.Container == "" && p.Node != node && slices.ContainsFunc(p.Was, func(i Instance) bool { return i.Node == node && i.ID == container }) {
			return true
		}
	}
	return false
}
