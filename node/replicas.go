package node

import (
	"cmp"
	"context"
	"slices"
	"time"

	"ddocker/consensus/ledger"
)

const (
	copyEvery = 10 * time.Second
	// copyPause is how long a host is not asked again for a copy of one image.
	copyPause = 2 * time.Minute
)

// replica is one copy to be made: on the host with the ID target, by the name.
type replica struct{ id, name, target string }

// planCopy returns a copy that this node should see made, if any. Of the live hosts
// that have an image, the one with the lowest ID acts; it asks the live host that
// lacks the least of it, but none that the caller puts off.
func planCopy(l *ledger.Ledger, node string, alive func(node string) bool, putOff func(replica) bool) (replica, bool) {
	live := slices.DeleteFunc(l.Nodes(), func(m *ledger.Node) bool { return !alive(m.Node) })
	wanted := min(l.Settings().ImageReplicas, len(live))
	last := ""
	for _, i := range l.Images() {
		on := slices.DeleteFunc(l.ImageHolders(i.ID), func(m string) bool { return !alive(m) })
		if i.ID == "" || i.ID == last || len(on) == 0 || len(on) >= wanted || on[0] != node {
			continue
		}
		last = i.ID           // names of one image often stand together
		var targets []replica // by name
		for _, m := range live {
			r := replica{i.ID, i.Name, m.Node}
			if !slices.Contains(on, m.Node) && m.Observed.Closed == "" && !putOff(r) {
				targets = append(targets, r)
			}
		}
		if len(targets) == 0 {
			continue
		}
		missing := l.Missing(i.ID) // which looks at all images
		return slices.MinFunc(targets, func(a, b replica) int { return cmp.Compare(missing(a.target), missing(b.target)) }), true
	}
	return replica{}, false
}

// spread asks for a look at which images want another copy. It never blocks.
func (n *Node) spread() {
	select {
	case n.copying <- struct{}{}:
	default:
	}
}

// copyLoop sees to it that as many live hosts have each named image as the cluster
// wants, one copy at a time.
func (n *Node) copyLoop(ctx context.Context) {
	tried := map[replica]time.Time{}
	for ctx.Err() == nil {
		if n.copyNext(ctx, tried) {
			continue
		}
		timer := time.NewTimer(copyEvery)
		select {
		case <-timer.C:
		case <-n.copying:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// copyNext has one copy made and says whether there was one to make. A host that was
// just asked is passed over, whatever came of it: the ledger tells if it has the
// image.
func (n *Node) copyNext(ctx context.Context, tried map[replica]time.Time) bool {
	var r replica
	found := false
	n.cfg.Log.View(func(l *ledger.Ledger) {
		r, found = planCopy(l, n.cfg.ID, n.cfg.Peers.Alive, func(r replica) bool { return time.Since(tried[r]) < copyPause })
	})
	if !found {
		return false
	}
	err := n.cfg.Peers.Bring(ctx, r.target, r.id, r.name)
	for old, at := range tried {
		if time.Since(at) >= copyPause {
			delete(tried, old)
		}
	}
	tried[r] = time.Now()
	if err == nil {
		err = n.cfg.Log.Read(ctx)
	}
	if err != nil && ctx.Err() == nil {
		n.log.Warn("image is not copied to another host yet", "name", r.name, "image", ledger.Short(r.id), "node", r.target, "err", err)
	}
	return true
}
