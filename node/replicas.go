package node

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"ddocker/consensus/ledger"
)

const (
	copyEvery = 5 * time.Second
	// watchEvery is how often the host that a copy goes to is looked at.
	watchEvery = 2 * time.Second
)

// planCopy returns a copy that this node should see made, if any. Of the live hosts
// that have an image, the one with the lowest ID acts; it asks the live host that
// lacks the least of it, but none that is put off. Copies on their way count.
func planCopy(l *ledger.Ledger, node string, alive func(node string) bool, c *copies) (replica, bool) {
	live := slices.DeleteFunc(l.Nodes(), func(m *ledger.Node) bool { return !alive(m.Node) })
	wanted := min(l.Settings().ImageReplicas, len(live))
	for _, i := range l.Images() {
		on := slices.DeleteFunc(l.ImageHolders(i.ID), func(m string) bool { return !alive(m) })
		if i.ID == "" || len(on) == 0 || on[0] != node || len(on)+c.coming(i.ID) >= wanted {
			continue
		}
		var targets []replica // by name
		for _, m := range live {
			r := replica{i.ID, i.Name, m.Node}
			if !slices.Contains(on, m.Node) && m.Closed() == "" && !c.putOff(r) {
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
// wants. It returns when the copies that it began have ended.
func (n *Node) copyLoop(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	c, ended := newCopies(), make(chan replica, copiesAtOnce)
	for ctx.Err() == nil {
		for r, found := n.nextCopy(c); found; r, found = n.nextCopy(c) {
			c.begin(r)
			running.Go(func() {
				n.makeCopy(ctx, r)
				ended <- r
			})
		}
		timer := time.NewTimer(copyEvery)
		select {
		case <-timer.C:
		case <-n.copying:
		case r := <-ended:
			c.end(r)
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// nextCopy returns a copy to begin now, if any.
func (n *Node) nextCopy(c *copies) (r replica, found bool) {
	if len(c.open) < copiesAtOnce {
		n.cfg.Log.View(func(l *ledger.Ledger) { r, found = planCopy(l, n.cfg.ID, n.cfg.Peers.Alive, c) })
	}
	return r, found
}

// makeCopy has the copy made and waits until the ledger here tells of it. It gives it
// up when the host is of no use any more: a hung engine would be waited for without
// end.
func (n *Node) makeCopy(ctx context.Context, r replica) {
	var watching sync.WaitGroup
	defer watching.Wait()
	making, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	watching.Go(func() {
		for wait(making, watchEvery) {
			if err := n.useless(r.target); err != nil {
				giveUp(err)
			}
		}
	})
	err := n.cfg.Peers.Bring(making, r.target, r.id, r.name)
	if err == nil {
		err = n.cfg.Log.Read(making)
	}
	if err != nil && making.Err() != nil {
		err = context.Cause(making)
	}
	if err != nil && ctx.Err() == nil {
		n.log.Warn("image is not copied to another host yet", "name", r.name, "image", ledger.Short(r.id), "node", r.target, "err", err)
	}
}

// useless says why a host cannot take a copy now; nil: it can.
func (n *Node) useless(target string) (err error) {
	alive := n.cfg.Peers.Alive(target)
	n.cfg.Log.View(func(l *ledger.Ledger) {
		if m := l.Node(target); !alive {
			err = fmt.Errorf("host %s does not answer: see \"ddocker nodes\"", nodeName(l, target))
		} else if m != nil && m.Closed() != "" {
			err = fmt.Errorf("host %s is %s", m.Name, m.Closed())
		}
	})
	return err
}
