package node

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"ddocker/consensus/ledger"
	"ddocker/sched"
)

// candidates is how many hosts a reservation names: with fewer, creates at the
// same time run out of them; with more, commands grow for nothing.
const candidates = 5

// Place finds the best hosts for the container and reserves a place on the
// first of them that fits when the ledger decides. Its candidates are Place's to
// choose, and its image's ID where the caller left it out; all else is the caller's.
// It returns the placement and its index in the log. The error is a *ledger.Refusal,
// Unknown where no live host has the image, or that of a log without a leader.
func (n *Node) Place(ctx context.Context, c ledger.Reserve) (*ledger.Placement, uint64, error) {
	if err := n.nameFree(ctx, c.Name); err != nil {
		return nil, 0, err
	}
	given := c.ImageID
	var refusal *ledger.Refusal
	for try := range 3 {
		c.ImageID = given
		if err := n.pick(ctx, &c); err != nil {
			return nil, 0, err
		}
		result, index, err := n.cfg.Log.Propose(ctx, ledger.Command{ID: fmt.Sprintf("%s/%d", c.Placement, try), Reserve: &c})
		if err != nil {
			return nil, 0, fmt.Errorf("reserve a place for %s: %w", c.Name, err)
		}
		if refusal = result.Refusal; refusal == nil {
			n.remember(result.Placement)
			return result.Placement, index, nil
		}
		if refusal.Code != ledger.Full && (refusal.Code != ledger.Unknown || given == c.ImageID) {
			break
		}
		// Others were faster everywhere, or gave the image's name to another: look
		// again at what they left.
		if err := n.cfg.Log.Wait(ctx, index); err != nil {
			return nil, 0, err
		}
	}
	return nil, 0, refusal
}

// nameFree refuses a taken name before anything else, so that the name and not
// a full cluster is what the user hears of. The ledger decides in the end.
func (n *Node) nameFree(ctx context.Context, name string) error {
	var taken *ledger.Refusal
	look := func(l *ledger.Ledger) { taken = l.NameTaken(name) }
	if n.cfg.Log.View(look); taken == nil {
		return nil
	}
	if err := n.cfg.Log.Read(ctx); err != nil { // it may just have been freed, by this node's own Abandon too
		return fmt.Errorf("reserve a place for %s: %w", name, err)
	}
	if n.cfg.Log.View(look); taken == nil {
		return nil
	}
	return taken
}

// pick chooses the candidates of a reservation, the best hosts first, and its image.
// Only a look at the newest state may end in a refusal.
func (n *Node) pick(ctx context.Context, c *ledger.Reserve) error {
	if found, refusal := n.findImage(c); refusal == nil {
		if c.Candidates, _ = n.rank(c, found); len(c.Candidates) > 0 {
			c.ImageID = found.id
			return nil
		}
	}
	if err := n.cfg.Log.Read(ctx); err != nil {
		return fmt.Errorf("reserve a place for %s: %w", c.Name, err)
	}
	found, refusal := n.findImage(c)
	if refusal != nil && refusal.Code == ledger.Unknown && c.ImageID == "" {
		if on := n.askImages(ctx, c.Image); len(on) > 0 {
			found, refusal = imageOn{on: on}, nil
		}
	}
	if refusal != nil {
		return refusal
	}
	hosts, misfit := n.rank(c, found)
	if len(hosts) == 0 {
		return &ledger.Refusal{Code: ledger.Full, Message: misfit.Error()}
	}
	c.Candidates, c.ImageID = hosts, found.id
	return nil
}

// rank orders the live hosts that have the image or can have it brought. A host that
// lately could not is taken where there is no other.
func (n *Node) rank(c *ledger.Reserve, i imageOn) (ids []string, misfit *sched.Misfit) {
	n.cfg.Log.View(func(l *ledger.Ledger) {
		load := preferring(l, c, n.waits(l, i))
		failed := n.failedToBring(l, i.id)
		usable, lacks := n.usable(l, c, i)
		best, refused := sched.Pick(turned(slices.DeleteFunc(slices.Clone(usable), func(h *sched.Host) bool { return failed[h.ID] })), load, &c.Request, candidates)
		if len(best) == 0 {
			best, refused = sched.Pick(turned(usable), load, &c.Request, candidates)
		}
		for _, h := range best {
			ids = append(ids, h.ID)
		}
		if misfit = refused; misfit != nil {
			misfit.Lacks = append(misfit.Lacks, lacks...)
		}
	})
	return ids, misfit
}

// elsewhere is what a host without the networks and volumes of a container is behind
// the one that has them, in seconds of waiting: they would be made anew there.
const elsewhere = 60

// preferring has the container go where its networks and volumes are already, though
// they hold it nowhere.
func preferring(l *ledger.Ledger, c *ledger.Reserve, load func(string) sched.Load) func(string) sched.Load {
	homes := map[string]bool{}
	for kind, names := range map[ledger.Kind][]string{ledger.Network: c.Networks, ledger.Volume: c.Volumes} {
		for _, name := range names {
			if o := l.Object(kind, name); o != nil {
				homes[o.Home] = true
			}
		}
	}
	return func(node string) sched.Load {
		known := load(node)
		if len(homes) > 0 && !homes[node] {
			known.Wait += elsewhere
		}
		return known
	}
}

// usable returns the hosts that may be asked, and what the others lack.
func (n *Node) usable(l *ledger.Ledger, c *ledger.Reserve, i imageOn) (usable []*sched.Host, lacks []sched.Lack) {
	home, why, _ := l.Tied(c) // which the ledger refuses where there is no such host
	for _, h := range l.Hosts() {
		h = l.Vacated(h.ID, c)
		_, asked := c.Request.Admits(h)
		switch {
		case home != "" && h.ID != home:
			lacks = append(lacks, sched.Lack{Host: h.Name, Kind: sched.Closed, What: "no place for it: " + why})
		case !asked:
			usable = append(usable, h) // Fit says so
		case !n.cfg.Peers.Alive(h.ID):
			lacks = append(lacks, sched.Lack{Host: h.Name, Kind: sched.Closed, What: "unreachable"})
		case l.Node(h.ID).Observed.Node == "":
			lacks = append(lacks, sched.Lack{Host: h.Name, Kind: sched.Closed, What: "just joining: it has not told yet what is there"})
		case !i.on[h.ID] && !i.moves:
			lacks = append(lacks, sched.Lack{Host: h.Name, Kind: sched.Closed, What: "without image " + c.Image})
		default:
			usable = append(usable, h)
		}
	}
	return usable, lacks
}

// turned begins the list somewhere else each time: equals are taken in its order,
// and many that create at once should not all take the same.
func turned(hosts []*sched.Host) []*sched.Host {
	if len(hosts) < 2 {
		return hosts
	}
	at := rand.IntN(len(hosts))
	return slices.Concat(hosts[at:], hosts[:at])
}

// Abandon gives up a placement whose holder was certainly not asked to realize
// it: that is for the caller to know. The error is that of a log without a leader, or a
// *ledger.Refusal where it has been realized after all.
func (n *Node) Abandon(ctx context.Context, placement string) error {
	n.mu.Lock()
	delete(n.sent, placement) // its host did nothing wrong
	n.mu.Unlock()
	result, _, err := n.cfg.Log.Propose(ctx, ledger.Command{Release: &ledger.Release{Placement: placement, Expired: true}})
	if err == nil && result.Refusal != nil {
		err = result.Refusal
	}
	if err != nil {
		return fmt.Errorf("release placement %s: %w", placement, err)
	}
	return nil
}
