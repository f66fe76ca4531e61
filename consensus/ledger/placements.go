package ledger

import (
	"cmp"
	"slices"
	"time"

	"ddocker/sched"
)

func (l *Ledger) reserve(c *Reserve, at time.Time) Result {
	if c.Placement == "" || c.Name == "" || l.placements[c.Placement] != nil {
		return refuse(Invalid, "a reservation needs an ID of its own and a name")
	}
	if err := c.Request.Check(); err != nil {
		return refuse(Invalid, "the reservation of %s makes no sense: %v", c.Name, err)
	}
	if r := l.nameTaken(c.Name, ""); r != nil {
		return Result{Refusal: r}
	}
	if r := l.imageChanged(c); r != nil {
		return Result{Refusal: r}
	}
	home, why, refusal := l.tied(c)
	if refusal != nil {
		return Result{Refusal: refusal}
	}
	misfit := sched.Misfit{Request: &c.Request}
	for _, id := range c.Candidates {
		n := l.nodes[id]
		if n == nil {
			continue
		}
		if home != "" && id != home {
			misfit.Lacks = append(misfit.Lacks, sched.Lack{Host: n.Name, Kind: sched.Closed, What: "no place for it: " + why})
			continue
		}
		host, replaces := l.vacated(n, c)
		grant, lack, ok := sched.Allot(host, &c.Request, l.settings.StartPort, l.ports.next)
		if !ok {
			misfit.Lacks = append(misfit.Lacks, lack)
			continue
		}
		p := &Placement{
			ID: c.Placement, Node: id, Name: c.Name, Image: c.Image, ImageID: c.ImageID, Type: c.Type, Owner: c.Owner,
			Request: c.Request, Grant: *grant, Created: at.UTC(), Networks: c.Networks, Volumes: c.Volumes, Project: c.Project, Apart: c.Apart, Replaces: replaces,
		}
		for _, key := range p.things() {
			l.settleOn(key, id, c.Owner)
		}
		l.hold(n, p)
		return Result{Placement: p}
	}
	return refuse(Full, "%s", misfit.Error())
}

// vacated is the node's host as the reservation may see it: without what it replaces
// there.
func (l *Ledger) vacated(n *Node, c *Reserve) (h *sched.Host, replaces string) {
	old := l.placements[c.Replaces]
	if old == nil || old.Node != n.Node {
		return n.host, ""
	}
	h = l.without(n, old.ID)
	h.Closed = n.host.Closed
	return h, old.ID
}

// Vacated is the node's host as the reservation may see it; nil: unknown.
func (l *Ledger) Vacated(node string, c *Reserve) *sched.Host {
	n := l.nodes[node]
	if n == nil {
		return nil
	}
	h, _ := l.vacated(n, c)
	return h
}

// imageChanged refuses a reservation whose image went, or came to mean another,
// since it was looked up.
func (l *Ledger) imageChanged(c *Reserve) *Refusal {
	if c.ImageID == "" {
		return nil
	}
	found, refusal := l.FindImage(c.Image)
	if refusal == nil && found.ID != c.ImageID {
		return &Refusal{Unknown, "No such image: " + c.Image + " (its name was given to another meanwhile: try again)"}
	}
	return refusal
}

// hold stands a new placement in the ledger.
func (l *Ledger) hold(n *Node, p *Placement) {
	for _, b := range p.Grant.Ports {
		if !n.host.Held.HasPort(b.Port()) {
			l.ports.add(b.Port(), 1)
			n.host.Held.AddPort(b.Port())
		}
	}
	n.host.Held.Add(&p.Grant)
	n.held[p.ID] = p
	if len(p.Grant.GPUs) > 0 {
		l.stake(n)
	}
	l.placements[p.ID] = p
	l.names[p.Name] = p.ID
	l.containers[p.Container] = p.ID
	for _, old := range p.Was {
		l.containers[old.ID] = p.ID
	}
	l.uses.add(p, 1)
	l.publish(p)
}

// nameTaken refuses a container name that anybody but the placement has.
func (l *Ledger) nameTaken(name, but string) *Refusal {
	if id, ok := l.names[name]; ok && id != but {
		p := l.placements[id]
		return &Refusal{Conflict, conflict(name, p.Container, l.nodes[p.Node].Name)}
	}
	for _, h := range l.hosts {
		for _, o := range l.nodes[h.ID].Observed.Containers {
			if o.Name == name {
				return &Refusal{Conflict, conflict(name, o.ID, h.Name)}
			}
		}
	}
	return nil
}

// conflict says it as Docker does, and on which host.
func conflict(name, container, host string) string {
	by := "a container that is being created"
	if container != "" {
		by = `container "` + container + `"`
	}
	return `Conflict. The container name "/` + name + `" is already in use by ` + by + " on host " + host +
		". You have to remove (or rename) that container to be able to reuse that name."
}

// replace puts a changed copy of a placement in its place.
func (l *Ledger) replace(p *Placement) Result {
	delete(l.containers, l.placements[p.ID].Container)
	l.containers[p.Container] = p.ID
	l.placements[p.ID] = p
	n := l.nodes[p.Node]
	n.held[p.ID] = p
	if len(p.Grant.GPUs) > 0 {
		l.stake(n) // its name may be why a card is closed elsewhere
	}
	l.publish(p)
	return Result{Placement: p}
}

func (l *Ledger) confirm(c *Confirm) Result {
	old := l.placements[c.Placement]
	if old == nil {
		return refuse(Unknown, "placement %s has been released", c.Placement)
	}
	if c.Node != "" && c.Node != old.Node {
		return refuse(Unknown, "placement %s has moved to another host", c.Placement)
	}
	p := *old
	p.Container, p.ImageID = c.Container, cmp.Or(c.ImageID, p.ImageID)
	return l.replace(&p)
}

func (l *Ledger) rename(c *Rename) Result {
	old := l.placements[c.Placement]
	if old == nil {
		return refuse(Unknown, "placement %s has been released", c.Placement)
	}
	if c.Name == "" {
		return refuse(Invalid, "a container needs a name")
	}
	if r := l.nameTaken(c.Name, c.Placement); r != nil {
		return Result{Refusal: r}
	}
	p := *old
	p.Name = c.Name
	delete(l.names, old.Name)
	l.names[p.Name] = p.ID
	return l.replace(&p)
}

func (l *Ledger) release(c *Release) Result {
	moved := false
	if p := l.placements[c.Placement]; p != nil {
		if c.Node != "" && c.Node != p.Node {
			return Result{} // it has moved since
		}
		if c.Expired && p.Container != "" {
			return refuse(Conflict, "placement %s has its container %s after all", c.Placement, p.Container)
		}
		moved = len(p.Was) > 0 // what it had on another host is no late arrival
		delete(l.placements, p.ID)
		delete(l.names, p.Name)
		delete(l.containers, p.Container)
		for _, old := range p.Was {
			delete(l.containers, old.ID)
		}
		l.uses.add(p, -1)
		l.unsettle(p)
		l.endProject(p)
		n := l.nodes[p.Node]
		delete(n.held, p.ID)
		l.put(n)
		l.publish(p)
	}
	if c.Expired && !moved && !slices.Contains(l.expired, c.Placement) {
		l.expired = newest(append(l.expired, c.Placement))
	}
	return Result{}
}

// newest bounds what is remembered of expired placements.
func newest(expired []string) []string { return expired[max(0, len(expired)-maxExpired):] }
