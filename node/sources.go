package node

import (
	"context"
	"slices"
	"sync"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/sched"
)

// imageOn is an image and the nodes that have it, by what is known.
type imageOn struct {
	id string // empty: the ledger does not know it
	on map[string]bool
	// moves says that one of them can give it to others.
	moves bool
}

// findImage looks up the image of a reservation in the ledger. It refuses one that
// only hosts have that do not answer.
func (n *Node) findImage(c *ledger.Reserve) (i imageOn, refusal *ledger.Refusal) {
	n.cfg.Log.View(func(l *ledger.Ledger) {
		if i.id = c.ImageID; i.id == "" {
			var found ledger.FoundImage
			found, refusal = l.FindImage(c.Image)
			i.id = found.ID
		}
		if refusal != nil {
			return
		}
		i.on = map[string]bool{}
		on, live := l.ImageHolders(i.id), false
		for _, node := range on {
			i.on[node] = true
			if n.cfg.Peers.Alive(node) {
				live = true
				i.moves = i.moves || l.Host(node).Closed == ""
			}
		}
		if !live {
			refusal = n.away(l, c.Image, on)
		}
	})
	return i, refusal
}

// askImages asks every live node itself for an image that the ledger does not know,
// but those that have yet to take the name away.
func (n *Node) askImages(ctx context.Context, ref string) map[string]bool {
	var ids []string
	name, _ := ledger.ImageName(ref)
	n.cfg.Log.View(func(l *ledger.Ledger) {
		ids = slices.DeleteFunc(l.NodeIDs(), func(id string) bool {
			return slices.ContainsFunc(l.Removals(id), func(r ledger.Removal) bool { return r.Name == name })
		})
	})
	var mu sync.Mutex
	has := map[string]bool{}
	var asking sync.WaitGroup
	for _, id := range ids {
		if !n.cfg.Peers.Alive(id) {
			continue
		}
		asking.Go(func() {
			if n.cfg.Peers.HasImage(ctx, id, ref) {
				mu.Lock()
				defer mu.Unlock()
				has[id] = true
			}
		})
	}
	asking.Wait()
	return has
}

// bringRate is how fast an image is believed to come, in bytes a second: a gigabit
// link, or a disk that is not quick.
const bringRate = 100 << 20

// waits returns the hosts' loads, with the seconds that the image takes to come to
// those without it. It is good while the ledger is lent.
func (n *Node) waits(l *ledger.Ledger, i imageOn) func(node string) sched.Load {
	if i.id == "" {
		return n.cfg.Peers.Load
	}
	missing := l.Missing(i.id)
	return func(node string) sched.Load {
		load := n.cfg.Peers.Load(node)
		if !i.on[node] {
			load.Wait = 1 + int(missing(node)/bringRate)
		}
		return load
	}
}

// errandLife is how long a host that could not bring an image is passed over.
const errandLife = time.Minute

// errand is a placement on a host that lacked the image then.
type errand struct {
	image, node string
	at          time.Time
}

// remember notes that the placement's host has to bring its image first.
func (n *Node) remember(p *ledger.Placement) {
	lacks := false
	n.cfg.Log.View(func(l *ledger.Ledger) {
		m := l.Node(p.Node)
		lacks = p.ImageID != "" && m != nil && !m.HasImage(p.ImageID)
	})
	n.mu.Lock()
	defer n.mu.Unlock()
	for id, e := range n.sent {
		if time.Since(e.at) >= errandLife {
			delete(n.sent, id)
		}
	}
	if lacks {
		n.sent[p.ID] = errand{p.ImageID, p.Node, time.Now()}
	}
}

// failedToBring returns the nodes that were lately given a container to make from
// the image, gave it up, and still lack the image.
func (n *Node) failedToBring(l *ledger.Ledger, image string) map[string]bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	failed := map[string]bool{}
	for placement, e := range n.sent {
		m := l.Node(e.node)
		if e.image == image && time.Since(e.at) < errandLife && l.Placement(placement) == nil && m != nil && !m.HasImage(image) {
			failed[e.node] = true
		}
	}
	return failed
}
