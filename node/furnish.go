package node

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/engine"
)

// furnish makes what a placement uses and this engine does not have yet: networks and
// volumes of the cluster that were last on another host, or are nowhere yet.
func (n *Node) furnish(p *ledger.Placement) error {
	if len(p.Networks)+len(p.Volumes) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(n.life, furnishTimeout)
	defer cancel()
	if err := n.furnishing.acquire(ctx); err != nil {
		return err
	}
	defer n.furnishing.release()
	for _, o := range n.lacking(p) {
		if err := n.make(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// furnishTimeout bounds the making of networks and volumes for one container.
const furnishTimeout = 3 * time.Minute

// lacking returns what the placement uses and this node is not known to have. A volume
// without a specification is made by the engine, with the container.
func (n *Node) lacking(p *ledger.Placement) (list []*ledger.Object) {
	n.cfg.Log.View(func(l *ledger.Ledger) {
		for kind, names := range map[ledger.Kind][]string{ledger.Network: p.Networks, ledger.Volume: p.Volumes} {
			for _, name := range names {
				o := l.Object(kind, name)
				if o == nil || len(o.Spec) == 0 {
					continue
				}
				if _, ok := o.Instance(n.cfg.ID); !ok {
					list = append(list, o)
				}
			}
		}
	})
	return list
}

// Furnish makes a network of the cluster on this node's engine, unless it is there,
// for a container that is to be connected to it.
func (n *Node) Furnish(ctx context.Context, network string) error {
	if err := n.furnishing.acquire(ctx); err != nil {
		return err
	}
	defer n.furnishing.release()
	for _, o := range n.lacking(&ledger.Placement{Networks: []string{network}}) {
		if err := n.make(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// make has the engine make the object, and tells the ledger. One of that name that is
// there is taken for it, but not for the cluster's to remove: an earlier try may have
// made it, or a person.
func (n *Node) make(ctx context.Context, o *ledger.Object) error {
	create, list := n.cfg.Engine.CreateNetwork, n.cfg.Engine.Networks
	if o.Kind == ledger.Volume {
		create, list = n.cfg.Engine.CreateVolume, n.cfg.Engine.Volumes
	}
	before, err := list(ctx)
	if err != nil {
		return err
	}
	if id := before[o.Name]; id != "" {
		return n.tellMade(ctx, o, id, true)
	}
	status, reply, err := create(ctx, o.Spec)
	switch {
	case err != nil:
		return fmt.Errorf("make %s %s on host %s: %w", o.Kind, o.Name, n.cfg.Name, err)
	case status/100 != 2:
		var refused struct{ Message string }
		json.Unmarshal(reply, &refused) // an empty message is told as such
		return &ledger.Refusal{Code: ledger.Invalid, Message: fmt.Sprintf("make %s %s on host %s: %s", o.Kind, o.Name, n.cfg.Name, refused.Message)}
	}
	ids, err := list(ctx)
	if err != nil {
		return err
	}
	return n.tellMade(ctx, o, ids[o.Name], false)
}

func (n *Node) tellMade(ctx context.Context, o *ledger.Object, id string, found bool) error {
	result, index, err := n.cfg.Log.Propose(ctx, ledger.Command{Made: &ledger.Made{Kind: o.Kind, Name: o.Name, Node: n.cfg.ID, ID: id, Found: found}})
	if err == nil && result.Refusal != nil {
		err = result.Refusal
	}
	if err != nil {
		return fmt.Errorf("record %s %s on host %s: %w", o.Kind, o.Name, n.cfg.Name, err)
	}
	return n.cfg.Log.Wait(ctx, index)
}

// settleObjects makes the ledger and the engine agree on networks and volumes of the
// cluster. What the ledger says is read first, so that what the engine lacks then is
// gone. Nothing that containers of this host use is removed, nor a volume that any ever
// used, unless somebody removed it from the cluster.
func (n *Node) settleObjects(ctx context.Context) error {
	if err := n.furnishing.acquire(ctx); err != nil {
		return err
	}
	defer n.furnishing.release()
	mine, leftovers := n.objectsHere()
	n.nameless = forgetNamed(n.nameless, mine)
	if len(mine)+len(leftovers) == 0 {
		return nil
	}
	networks, err := n.cfg.Engine.Networks(ctx)
	if err != nil {
		return err
	}
	volumes, err := n.cfg.Engine.Volumes(ctx)
	if err != nil {
		return err
	}
	has := map[ledger.Kind]map[string]string{ledger.Network: networks, ledger.Volume: volumes}
	for _, f := range leftovers {
		if err := n.discard(ctx, f); err != nil {
			n.log.Debug("leftover stays", "kind", f.Kind, "name", f.Name, "err", err)
		}
	}
	for _, h := range mine {
		if err := n.settleObject(ctx, h, has[h.Kind][h.Name]); err != nil {
			return err
		}
	}
	return nil
}

// objectHere is an object that this node has, or should have.
type objectHere struct {
	*ledger.Object
	used     bool // by a container of this node
	arriving bool // what moved away with it may still not come to do so
}

func (n *Node) objectsHere() (mine []objectHere, leftovers []ledger.Leftover) {
	n.cfg.Log.View(func(l *ledger.Ledger) {
		leftovers = l.Leftovers(n.cfg.ID)
		for _, kind := range []ledger.Kind{ledger.Network, ledger.Volume} {
			for _, o := range l.Objects(kind) {
				if _, ok := o.Instance(n.cfg.ID); ok || o.Home == n.cfg.ID {
					mine = append(mine, objectHere{o, l.UsedOn(o, n.cfg.ID), l.Arriving(o)})
				}
			}
		}
	})
	return mine, leftovers
}

// nameless are objects that are at home here and not on the engine, by when that was
// first seen: whoever took the name may be making them.
type nameless map[uint64]time.Time

func forgetNamed(seen nameless, mine []objectHere) nameless {
	kept := nameless{}
	for _, o := range mine {
		if at, ok := seen[o.Index]; ok {
			kept[o.Index] = at
		}
	}
	return kept
}

// settleObject makes one agree; id is the engine's own, empty: it has none.
func (n *Node) settleObject(ctx context.Context, o objectHere, id string) error {
	here, known := o.Instance(n.cfg.ID)
	switch {
	case known && id == "" || known && o.Kind == ledger.Network && id != here.ID:
		return n.tellUnmade(ctx, o.Kind, o.Name, here.ID)
	case known && o.Home != n.cfg.ID && !o.used && !o.arriving && !here.Found:
		// It went with its users to another host before any of them ran here.
		if err := n.discard(ctx, ledger.Leftover{Kind: o.Kind, Name: o.Name, Instance: here}); err != nil {
			n.log.Debug("what is of no use here stays for now", "kind", o.Kind, "name", o.Name, "err", err)
		}
		return nil
	case known:
		return nil
	case id != "":
		return n.tellMade(ctx, o.Object, id, true)
	}
	first, waits := n.nameless[o.Index]
	if !waits {
		n.nameless[o.Index] = time.Now()
		return nil
	}
	if o.used || time.Since(first) < inheritedGrace {
		return nil
	}
	return n.tellUnmade(ctx, o.Kind, o.Name, "")
}

func (n *Node) tellUnmade(ctx context.Context, kind ledger.Kind, name, id string) error {
	n.log.Info("the engine does not have it, or not for long", "kind", kind, "name", name)
	_, index, err := n.cfg.Log.Propose(ctx, ledger.Command{Unmade: &ledger.Unmade{Kind: kind, Name: name, Node: n.cfg.ID, ID: id}})
	if err != nil {
		return fmt.Errorf("record that %s %s is gone: %w", kind, name, err)
	}
	return n.cfg.Log.Wait(ctx, index)
}

// discard removes an instance that the cluster has no use for, and tells the ledger.
func (n *Node) discard(ctx context.Context, f ledger.Leftover) error {
	remove := n.cfg.Engine.RemoveNetwork
	if f.Kind == ledger.Volume {
		remove = n.cfg.Engine.RemoveVolume
	}
	if err := remove(ctx, f.ID); err != nil && !engine.IsNotFound(err) {
		return err
	}
	return n.tellUnmade(ctx, f.Kind, f.Name, f.ID)
}

// noteVolumes tells the ledger of volumes that the engine made with a container.
func (n *Node) noteVolumes(p *ledger.Placement) {
	var fresh []*ledger.Object
	n.cfg.Log.View(func(l *ledger.Ledger) {
		for _, name := range p.Volumes {
			if o := l.Object(ledger.Volume, name); o != nil {
				if _, ok := o.Instance(n.cfg.ID); !ok {
					fresh = append(fresh, o)
				}
			}
		}
	})
	ctx, cancel := context.WithTimeout(n.life, proposeTimeout)
	defer cancel()
	for _, o := range fresh {
		if err := n.tellMade(ctx, o, o.Name, false); err != nil {
			n.log.Debug("volume is left to the next reconciliation", "volume", o.Name, "err", err)
			n.Kick()
		}
	}
}

// objectsUnsettled says whether something is to be removed from this engine.
func (n *Node) objectsUnsettled() bool {
	mine, leftovers := n.objectsHere()
	for _, o := range mine {
		if i, here := o.Instance(n.cfg.ID); here && o.Home != n.cfg.ID && !o.used && !o.arriving && !i.Found {
			return true
		}
	}
	return len(leftovers) > 0
}
