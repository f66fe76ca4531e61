package node

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/crash"
	"ddocker/engine"
	"ddocker/sched"
)

// register tells the cluster who this node is and what its machine has but for cards,
// where the ledger says otherwise. The engine is asked at most once a minute.
func (n *Node) register(ctx context.Context) error {
	if time.Since(n.registered) < reconcileEvery && !n.unknown() {
		return nil
	}
	room, err := n.cfg.Engine.Capacity(ctx)
	var known *ledger.Node
	n.cfg.Log.View(func(l *ledger.Ledger) { known = l.Node(n.cfg.ID) })
	if known == nil { // nor may be what the cluster is ready for
		if err := n.cfg.Log.Read(ctx); err != nil {
			return err
		}
	}
	if err != nil && known == nil {
		return fmt.Errorf("ask the Docker Engine what it has: %w", err)
	}
	now := ledger.Register{Node: n.cfg.ID, Name: n.cfg.Name, Address: n.cfg.Address, Version: n.cfg.Version, Speaks: ledger.Version}
	n.cfg.Log.View(func(l *ledger.Ledger) {
		if l.Level() >= 5 { // since then it is kept
			now.Key = n.cfg.Key
		}
	})
	if known != nil {
		now.Engine, now.Capacity = known.Engine, known.Capacity
	}
	if err == nil {
		n.notePlain(!room.NVIDIA)
		now.Engine = room.EngineVersion
		now.Capacity.Cores, now.Capacity.Memory = sched.CPUs(room.Cores...), room.Memory
		now.Capacity.Topology = n.cfg.Machine.Topology()
	}
	if known == nil || !equal(known.Register, now) {
		now.Keep = true // what is seen here of the ledger may be older than its cards
		n.cfg.Crash.At(crash.JoinKnown)
		if err := n.enroll(ctx, now); err != nil {
			return err
		}
		n.cfg.Crash.At(crash.JoinDone)
	}
	n.registered = time.Now()
	return nil
}

// unknown says whether the ledger does not know this node, as one that was restored may
// not, or could know its key and does not.
func (n *Node) unknown() (unknown bool) {
	n.cfg.Log.View(func(l *ledger.Ledger) {
		known := l.Node(n.cfg.ID)
		unknown = known == nil || l.Level() >= 5 && known.Key != n.cfg.Key
	})
	return unknown
}

// enroll has the ledger register this node.
func (n *Node) enroll(ctx context.Context, now ledger.Register) error {
	result, index, err := n.cfg.Log.Propose(ctx, ledger.Command{Register: &now})
	if err != nil {
		return fmt.Errorf("register this node: %w", err)
	}
	if result.Refusal != nil {
		n.log.Error("this node takes no containers", "err", result.Refusal)
		return result.Refusal
	}
	return n.cfg.Log.Wait(ctx, index)
}

// observe tells the cluster what is on this machine beside its own containers, which
// hold some of the cards, and which images those of the list are made from, where the
// ledger says otherwise. It has the names of images agree.
func (n *Node) observe(ctx context.Context, list, outsiders []engine.Container, cards []sched.Card) error {
	store := n.cfg.Library.Name() // which may be tried for a while
	have, err := n.takeNaming(ctx)
	if err != nil {
		return err
	}
	defer n.naming.release()
	if err := n.tellAll(ctx, outsiders, cards, have, store); err != nil {
		return err
	}
	if err := n.tellSources(ctx, list, have); err != nil {
		return err
	}
	_, err = n.settleNames(ctx, have)
	return err
}

// tellAll tells the cluster everything that it should know of this machine.
func (n *Node) tellAll(ctx context.Context, outsiders []engine.Container, cards []sched.Card, have *stock, store string) error {
	ports, err := n.outsidePorts()
	if err != nil {
		return err
	}
	now := ledger.Observe{
		Node: n.cfg.ID, Ports: ports,
		Images: have.told, Seen: have.seen, Store: store,
	}
	for i := range outsiders {
		o := outsider(&outsiders[i], cards)
		o.ImageID = have.id(outsiders[i].ImageID)
		now.Containers = append(now.Containers, o)
	}
	slices.SortFunc(now.Containers, func(a, b ledger.Outsider) int { return strings.Compare(a.ID, b.ID) })
	if err := n.telling.acquire(ctx); err != nil {
		return err
	}
	defer n.telling.release()
	now.Cards = n.closedCards()
	return n.propose(ctx, now)
}

// tellSources tells the cluster what the engine made its containers from. Else their
// images would seem to be used by nobody.
func (n *Node) tellSources(ctx context.Context, list []engine.Container, have *stock) error {
	var steps []step
	n.cfg.Log.View(func(l *ledger.Ledger) {
		for _, c := range list {
			p, id := l.Placement(c.Placement), have.cluster[c.ImageID]
			if p != nil && p.Node == n.cfg.ID && p.Container == c.ID && id != "" && id != p.ImageID {
				steps = append(steps, step{
					why: "image of a container is told", name: p.Name, placement: p.ID,
					command: ledger.Command{Confirm: &ledger.Confirm{Placement: p.ID, Node: n.cfg.ID, Container: c.ID, ImageID: id}},
				})
			}
		}
	})
	for _, s := range steps {
		if err := n.carryOut(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// close tells the cluster to place nothing here.
func (n *Node) close(ctx context.Context, why string) {
	if err := n.amend(ctx, func(o *ledger.Observe) { o.Closed = why }); err != nil {
		n.log.Warn("the cluster could not be told that this node takes no containers", "why", why, "err", err)
	}
}

// tellPorts tells the cluster at once on which ports processes listen, so that
// the next try gets others.
func (n *Node) tellPorts() {
	ctx, cancel := context.WithTimeout(n.life, proposeTimeout)
	defer cancel()
	ports, err := n.outsidePorts()
	if err == nil {
		err = n.amend(ctx, func(o *ledger.Observe) { o.Ports = ports })
	}
	if err != nil {
		n.log.Debug("ports are left to the next reconciliation", "err", err)
		n.Kick()
	}
}

// forgetOutsider tells the cluster that a container has gone that was not its
// own, so that its name is free at once. The rest of what it held follows.
func (n *Node) forgetOutsider(ctx context.Context, container string) error {
	n.Kick()
	return n.amend(ctx, func(o *ledger.Observe) {
		o.Containers = slices.DeleteFunc(slices.Clone(o.Containers), func(c ledger.Outsider) bool { return c.ID == container })
	})
}

// amend changes what the cluster knows of this machine beside its own containers, once it
// knows anything. The first time it reads the ledger: a new life begins with what was known
// at some time.
func (n *Node) amend(ctx context.Context, change func(*ledger.Observe)) error {
	if err := n.telling.acquire(ctx); err != nil {
		return err
	}
	defer n.telling.release()
	if !n.caughtUp {
		if err := n.cfg.Log.Read(ctx); err != nil {
			return fmt.Errorf("read the ledger: %w", err)
		}
		n.caughtUp = true
	}
	var now ledger.Observe
	n.cfg.Log.View(func(l *ledger.Ledger) {
		if m := l.Node(n.cfg.ID); m != nil {
			now = m.Observed
		}
	})
	first := now.Node == ""
	now.Node = n.cfg.ID
	change(&now)
	if first && now.Closed == "" {
		return nil // what runs here is told first, with everything else: until then nothing is placed here
	}
	return n.propose(ctx, now)
}

func (n *Node) propose(ctx context.Context, now ledger.Observe) error {
	known := false
	var ending []*ledger.Image
	n.cfg.Log.View(func(l *ledger.Ledger) { known, ending = knows(l, now), namesGone(l, now) })
	if known {
		return nil
	}
	result, index, err := n.cfg.Log.Propose(ctx, ledger.Command{Observe: &now})
	if err != nil {
		return fmt.Errorf("tell what is on this machine: %w", err)
	}
	if result.Refusal != nil {
		return result.Refusal
	}
	if err := n.cfg.Log.Wait(ctx, index); err != nil {
		return err
	}
	for _, i := range ending {
		if n.meansInCluster(i.Name) != i.ID {
			n.log.Warn("the last copy of an image was removed from its host: its name is gone from the cluster", "name", i.Name, "image", ledger.Short(i.ID))
		}
	}
	return nil
}

// namesGone returns the names of the images that the node had and has no more. With
// the last copy the cluster ends them.
func namesGone(l *ledger.Ledger, now ledger.Observe) (names []*ledger.Image) {
	m := l.Node(now.Node)
	if m == nil {
		return nil
	}
	for _, h := range m.Observed.Images {
		if ledger.FindHolding(now.Images, h.ID) == nil {
			for _, name := range l.ImageNames(h.ID) {
				names = append(names, l.Image(name))
			}
		}
	}
	return names
}

// knows says whether the ledger has nothing to learn from the observation. How far
// the node had seen is news only where a removal waits for it, or an image that the
// ledger was told of before it was listed.
func knows(l *ledger.Ledger, now ledger.Observe) bool {
	m := l.Node(now.Node)
	if m == nil {
		return false
	}
	for _, r := range l.Removals(now.Node) {
		h := ledger.FindHolding(now.Images, r.ID)
		if r.Index <= now.Seen && (h == nil || !slices.Contains(h.Names, r.Name)) {
			return false
		}
	}
	now.Seen = m.Observed.Seen
	return equal(m.Observed, now)
}

// equal compares as the log would carry them, where an empty list is none.
func equal[T any](a, b T) bool {
	left, errLeft := json.Marshal(a)
	right, errRight := json.Marshal(b)
	return errLeft == nil && errRight == nil && bytes.Equal(left, right)
}

// outsider sums up what a container that is not the cluster's holds, running or
// not: it may be started again at any time.
func outsider(c *engine.Container, cards []sched.Card) ledger.Outsider {
	g := sched.Grant{Cores: sched.CPUs(c.Cores...), Memory: c.Memory, GPUs: uuids(c.GPUs, cards)}
	g.Of = sched.CutFrom(cards, g.GPUs)
	if g.Shares() {
		g.MilliCPU = c.NanoCPUs / 1e6
	}
	for _, p := range c.Ports {
		b := sched.Binding{IP: p.IP, Host: p.Host, Container: p.Container, Proto: p.Proto}
		g.Ports = append(g.Ports, b)
	}
	return ledger.Outsider{ID: c.ID, Name: c.Name, Image: c.Image, Created: c.Created.UTC(), Grant: g}
}

// uuids turns what Docker and NVIDIA's toolkit let people write of GPUs, indices,
// beginnings of UUIDs and "all" included, into the UUIDs of this host's cards. The index
// or UUID of a GPU means all its MIG devices, too.
func uuids(asked []string, cards []sched.Card) []string {
	var out []string
	for _, c := range cards {
		if slices.ContainsFunc(asked, func(a string) bool { return means(a, &c) }) {
			out = append(out, c.UUID)
		}
	}
	return out
}

func means(asked string, c *sched.Card) bool {
	const kind = len("GPU-") // or "MIG-"
	whole, _, _ := strings.Cut(c.Index, ":")
	begins := func(uuid string) bool {
		return len(asked) > kind && len(asked) <= len(uuid) && strings.EqualFold(asked, uuid[:len(asked)])
	}
	return asked == "all" || asked != "" && (asked == c.Index || asked == whole) || begins(c.UUID) || begins(c.Of)
}

// outsidePorts returns the ports that processes listen on and that belong to no
// placement: those are the container's own.
func (n *Node) outsidePorts() ([]sched.Port, error) {
	listening, err := n.listening()
	if err != nil {
		return nil, err
	}
	granted := map[sched.Port]bool{}
	n.cfg.Log.View(func(l *ledger.Ledger) {
		for _, p := range l.Placed(n.cfg.ID) {
			for _, b := range p.Grant.Ports {
				granted[b.Port()] = true
			}
		}
	})
	return slices.DeleteFunc(listening, func(p sched.Port) bool { return granted[p] }), nil
}

// portsChanged says whether processes listen on other ports than the cluster knows.
func (n *Node) portsChanged() bool {
	now, err := n.outsidePorts()
	if err != nil {
		return false
	}
	var known []sched.Port
	n.cfg.Log.View(func(l *ledger.Ledger) {
		if m := l.Node(n.cfg.ID); m != nil {
			known = m.Observed.Ports
		}
	})
	return !slices.Equal(now, known)
}

// tellLoad hands on how loaded the machine is.
func (n *Node) tellLoad(ctx context.Context) {
	for {
		n.cfg.Tell(n.load())
		if !wait(ctx, sampleEvery) {
			return
		}
	}
}
