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
// it, ascending.
func stakesOf(n *Node) []string {
	var list []string
	for i := range n.Capacity.Cards {
		list = append(list, n.Capacity.Cards[i].UUID)
	}
	for _, p := range n.held {
		list = append(list, p.Grant.GPUs...)
	}
	for i := range n.Observed.Containers {
		list = append(list, n.Observed.Containers[i].Grant.GPUs...)
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
	for i := range cards {
		why := l.closed(n, cards[i].UUID)
		if why != "" && !copied {
			cards, copied = slices.Clone(cards), true
		}
		if why != "" {
			cards[i].Closed = why
		}
	}
	n.host.Cards = cards
}

// closed says why nobody is given the card on the node; empty: it is open.
func (l *Ledger) closed(n *Node, uuid string) string {
	for _, id := range l.cards[uuid] {
		if id != n.Node {
			return elsewhere(l.nodes[id], uuid)
		}
	}
	for _, c := range n.Observed.Cards {
		if c.UUID == uuid {
			return cmp.Or(c.Why, "closed by its host")
		}
	}
	return ""
}

// elsewhere says by whom the card is claimed on another node.
func elsewhere(n *Node, uuid string) string {
	var holder *Placement
	for _, p := range n.held {
		if slices.Contains(p.Grant.GPUs, uuid) && (holder == nil || p.ID < holder.ID) {
			holder = p
		}
	}
	if holder != nil {
		return fmt.Sprintf("held by %s on host %s", holder.Name, n.Name)
	}
	for i := range n.Observed.Containers {
		if o := &n.Observed.Containers[i]; slices.Contains(o.Grant.GPUs, uuid) {
			return fmt.Sprintf("held by %s on host %s", o.Name, n.Name)
		}
	}
	return fmt.Sprintf("registered by host %s too: a card is in one machine", n.Name)
}

// sameUUID finds a UUID that two cards have.
func sameUUID(cards []sched.Card) (uuid string, twice bool) {
	seen := map[string]bool{}
	for _, c := range cards {
		if seen[c.UUID] {
			return c.UUID, true
		}
		seen[c.UUID] = true
	}
	return "", false
}
