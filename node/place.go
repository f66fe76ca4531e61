package node

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"

	"ddocker/consensus/ledger"
	"ddocker/sched"
)

// candidates is how many hosts a reservation names: with fewer, creates at the
// same time run out of them; with more, commands grow for nothing.
const candidates = 5

// Place finds the best hosts for the container and reserves a place on the
// first of them that fits when the ledger decides. Its candidates are Place's to
// choose, all else the caller's. It returns the placement and its index in the
// log. The error is a *ledger.Refusal, Unknown where no live host has the image,
// or that of a log without a leader.
func (n *Node) Place(ctx context.Context, c ledger.Reserve) (*ledger.Placement, uint64, error) {
	if err := n.nameFree(ctx, c.Name); err != nil {
		return nil, 0, err
	}
	var refusal *ledger.Refusal
	for try := range 3 {
		hosts, err := n.pick(ctx, c)
		if err != nil {
			return nil, 0, err
		}
		c.Candidates = hosts
		result, index, err := n.cfg.Log.Propose(ctx, ledger.Command{ID: fmt.Sprintf("%s/%d", c.Placement, try), Reserve: &c})
		if err != nil {
			return nil, 0, fmt.Errorf("reserve a place for %s: %w", c.Name, err)
		}
		if refusal = result.Refusal; refusal == nil {
			return result.Placement, index, nil
		}
		if refusal.Code != ledger.Full {
			break
		}
		// Others were faster everywhere: look again at what they left.
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
	if err := n.cfg.Log.Read(ctx); err != nil { // it may just have been freed elsewhere
		return taken
	}
	if n.cfg.Log.View(look); taken == nil {
		return nil
	}
	return taken
}

// pick returns the IDs of the best hosts. Only a look at the newest state may
// end in a refusal.
func (n *Node) pick(ctx context.Context, c ledger.Reserve) ([]string, error) {
	has := n.knownImages(c.Image)
	hosts, _ := n.rank(c, has)
	if len(hosts) > 0 {
		return hosts, nil
	}
	if err := n.cfg.Log.Read(ctx); err != nil {
		return nil, fmt.Errorf("reserve a place for %s: %w", c.Name, err)
	}
	has = n.askImages(ctx, c.Image)
	maps.Copy(has, n.unaskable(c.Image))
	hosts, misfit := n.rank(c, has)
	switch {
	case len(hosts) > 0:
		return hosts, nil
	case len(has) == 0:
		return nil, &ledger.Refusal{Code: ledger.Unknown, Message: "No such image: " + c.Image}
	}
	return nil, &ledger.Refusal{Code: ledger.Full, Message: misfit.Error()}
}

// rank orders the live hosts that have the image.
func (n *Node) rank(c ledger.Reserve, has map[string]bool) (ids []string, misfit *sched.Misfit) {
	n.cfg.Log.View(func(l *ledger.Ledger) {
		var usable []*sched.Host
		var lacks []sched.Lack
		for _, h := range l.Hosts() {
			switch {
			case c.Request.Host != "" && c.Request.Host != h.Name && c.Request.Host != h.ID:
				usable = append(usable, h) // Fit says that it was not asked
			case !n.cfg.Peers.Alive(h.ID):
				lacks = append(lacks, sched.Lack{Host: h.Name, Kind: sched.Closed, What: "unreachable"})
			case !has[h.ID]:
				lacks = append(lacks, sched.Lack{Host: h.Name, Kind: sched.Closed, What: "without image " + c.Image})
			default:
				usable = append(usable, h)
			}
		}
		var best []*sched.Host
		best, misfit = sched.Pick(turned(usable), n.cfg.Peers.Load, &c.Request, candidates)
		for _, h := range best {
			ids = append(ids, h.ID)
		}
		if misfit != nil {
			misfit.Lacks = append(misfit.Lacks, lacks...)
		}
	})
	return ids, misfit
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

// knownImages returns the nodes that the ledger last saw to have the image.
func (n *Node) knownImages(ref string) map[string]bool {
	has := map[string]bool{}
	n.cfg.Log.View(func(l *ledger.Ledger) {
		for _, m := range l.Nodes() {
			if hasImage(m, ref) {
				has[m.Node] = true
			}
		}
	})
	return has
}

// unaskable returns the nodes that had the image when last seen and cannot be
// asked now: that they are away is the refusal then, not that there is no image.
func (n *Node) unaskable(ref string) map[string]bool {
	has := n.knownImages(ref)
	n.cfg.Log.View(func(l *ledger.Ledger) {
		maps.DeleteFunc(has, func(id string, _ bool) bool { return n.cfg.Peers.Alive(id) && l.Host(id).Closed == "" })
	})
	return has
}

// askImages asks every live node itself.
func (n *Node) askImages(ctx context.Context, ref string) map[string]bool {
	var ids []string
	n.cfg.Log.View(func(l *ledger.Ledger) { ids = l.NodeIDs() })
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

// Abandon gives up a placement whose holder was certainly not asked to realize
// it: that is for the caller to know. The error is that of a log without a leader.
func (n *Node) Abandon(ctx context.Context, placement string) error {
	_, _, err := n.cfg.Log.Propose(ctx, ledger.Command{Release: &ledger.Release{Placement: placement, Expired: true}})
	if err != nil {
		return fmt.Errorf("release placement %s: %w", placement, err)
	}
	return nil
}
