package ledger

import (
	"cmp"
	"fmt"
	"slices"

	"ddocker/sched"
)

// stakes are the nodes that have registered a card or have somebody who holds it, by
// its UUID; each list ascending. A card is in one machine at a time: what two nodes
// claim, neither grants.
type stakes map[string][]string

// stake brings up to date what the node claims, and opens and closes the cards of all
// who claim what it does, or did.
func (l *Ledger) stake(n *Node) {
	was := n.stakes
	n.stakes = stakesOf(n)
	disputed := map[string]bool{}
	dispute := func(uuid string) {
		for _, id := range l.cards[uuid] {
			if id != n.Node {
				disputed[id] = true
			}
		}
	}
	for _, uuid := range was {
		if _, still := slices.BinarySearch(n.stakes, uuid); !still {
			l.cards.remove(uuid, n.Node)
			dispute(uuid)
		}
	}
	for _, uuid := range n.stakes {
		l.cards.add(uuid, n.Node)
		dispute(uuid)
	}
	l.shut(n)
	for id := range disputed { // in whatever order: each has cards of its own
		l.shut(l.nodes[id])
	}
}

// stakesOf returns the cards that the node has registered and those that are held on
// it, and the GPUs that any of them are cut from; ascending.
func stakesOf(n *Node) []string {
	var list []string
	for i := range n.Capacity.Cards {
		c := &n.Capacity.Cards[i]
		if list = append(list, c.UUID); c.Of != "" {
			list = append(list, c.Of)
		}
	}
	for _, p := range n.held {
		list = append(append(list, p.Grant.GPUs...), p.Grant.Of...)
	}
	for i := range n.Observed.Containers {
		g := &n.Observed.Containers[i].Grant
		list = append(append(list, g.GPUs...), g.Of...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func (s stakes) add(uuid, node string) {
	if at, ok := slices.BinarySearch(s[uuid], node); !ok {
		s[uuid] = slices.Insert(s[uuid], at, node)
	}
}

func (s stakes) remove(uuid, node string) {
	at, ok := slices.BinarySearch(s[uuid], node)
	if ok {
		s[uuid] = slices.Delete(s[uuid], at, at+1)
	}
	if len(s[uuid]) == 0 {
		delete(s, uuid)
	}
}

// shut gives the node's host its cards, those closed that take nothing new. What is
// registered is never written to.
func (l *Ledger) shut(n *Node) {
	cards := n.Capacity.Cards
	copied := false
	h := holdersOn(n)
	for i := range cards {
		why := l.closed(n, h, i)
		if why != "" && !copied {
			cards, copied = slices.Clone(cards), true
		}
		if why != "" {
			cards[i].Closed = why
		}
	}
	n.host.Cards = cards
}

// closed says why nobody is given the i-th card of the node; empty: it is open. A GPU
// and its MIG devices are one thing that is cut or not: as long as one of these is held
// or registered, nobody is given the GPU, and as long as that is held, none of these.
func (l *Ledger) closed(n *Node, h *holders, i int) string {
	c := &n.Capacity.Cards[i]
	for _, uuid := range [...]string{c.UUID, c.Of} {
		for _, id := range l.cards[uuid] {
			if id != n.Node && uuid != "" {
				return elsewhere(l.nodes[id], uuid)
			}
		}
	}
	for _, s := range n.Observed.Cards {
		if s.UUID == c.UUID {
			return cmp.Or(s.Why, "closed by its host")
		}
	}
	if by, held := h.cards[c.Of]; held && c.Of != "" {
		return "held by " + by.name + " as a whole"
	}
	if by, held := h.parts[c.UUID]; held {
		return "parts of it are held by " + by.name
	}
	for j := range n.Capacity.Cards {
		switch d := &n.Capacity.Cards[j]; {
		case d.Of == c.UUID && c.UUID != "":
			return "its MIG devices are registered"
		case d.UUID == c.UUID && i != j:
			return "another card of the host has its UUID"
		}
	}
	return ""
}

// holder is a container, its placement's ID empty where the cluster did not make it.
type holder struct{ placement, name string }

// holders are those who hold the cards of a node, by the UUID of the card, and of the
// GPU that it is a part of. Of several it is the placement of the lowest ID.
type holders struct{ cards, parts map[string]holder }

func holdersOn(n *Node) *holders {
	h := &holders{map[string]holder{}, map[string]holder{}}
	for _, p := range n.held {
		h.add(&p.Grant, holder{p.ID, p.Name})
	}
	for i := range n.Observed.Containers {
		o := &n.Observed.Containers[i]
		h.add(&o.Grant, holder{"", o.Name})
	}
	return h
}

// add counts a grant; those of placements come first, in whatever order.
func (h *holders) add(g *sched.Grant, by holder) {
	note := func(list map[string]holder, uuids []string) {
		for _, uuid := range uuids {
			if was, held := list[uuid]; !held || by.placement != "" && by.placement < was.placement {
				list[uuid] = by
			}
		}
	}
	note(h.cards, g.GPUs)
	note(h.parts, g.Of)
}

// elsewhere says by whom the card, or a part of it, is claimed on another node.
func elsewhere(n *Node, uuid string) string {
	h := holdersOn(n)
	if by, held := h.cards[uuid]; held {
		return fmt.Sprintf("held by %s on host %s", by.name, n.Name)
	}
	if by, held := h.parts[uuid]; held {
		return fmt.Sprintf("parts of it are held by %s on host %s", by.name, n.Name)
	}
	return fmt.Sprintf("registered by host %s too: a card is in one machine", n.Name)
}
