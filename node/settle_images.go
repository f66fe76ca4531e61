package node

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/engine"
)

// SettleImages waits for the place in the log and then has the names of this
// engine's images agree with the cluster's: it publishes its own, gives those that
// the cluster has, and takes away those that the cluster took. It returns what was
// removed, with the engine's IDs. What fails here Reconcile does later.
func (n *Node) SettleImages(ctx context.Context, index uint64) ([]engine.RemovedImage, error) {
	if err := n.cfg.Log.Read(ctx); err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	if err := n.cfg.Log.Wait(ctx, index); err != nil {
		return nil, err
	}
	have, err := n.takeNaming(ctx)
	if err != nil {
		return nil, err
	}
	defer n.naming.release()
	if err := n.tellImages(ctx, have); err != nil {
		return nil, err
	}
	return n.settleNames(ctx, have)
}

// settleNames carries out what planNames plans, and tells the cluster what the
// engine has then. The cluster knows the stock that it is given. Its caller holds
// naming from before that was listed: otherwise a name that is taken away
// meanwhile would be published again.
func (n *Node) settleNames(ctx context.Context, have *stock) (removed []engine.RemovedImage, err error) {
	now, err := n.namingNow(ctx, have)
	if err != nil {
		return nil, err
	}
	var steps []nameStep
	n.cfg.Log.View(func(l *ledger.Ledger) { steps = planNames(l, now) })
	n.warnOfNamesakes()
	if len(steps) == 0 {
		return nil, nil
	}
	if err := n.publish(ctx, steps); err != nil {
		return nil, err
	}
	for _, s := range steps {
		gone, err := n.carryOutName(ctx, s, have)
		if err != nil {
			return removed, err
		}
		removed = append(removed, gone...)
	}
	after, err := n.takeStock(ctx)
	if err != nil {
		return removed, err
	}
	n.spread()
	return removed, n.tellImages(ctx, after)
}

// namingNow gathers what planNames goes by.
func (n *Node) namingNow(ctx context.Context, have *stock) (localNames, error) {
	now := localNames{node: n.cfg.ID, images: have.images, used: map[string]bool{}}
	var claims []*ledger.Image
	var removals []ledger.Removal
	n.cfg.Log.View(func(l *ledger.Ledger) { claims, removals = l.Claims(n.cfg.ID), l.Removals(n.cfg.ID) })
	now.making, now.fresh = n.openClaims(claims, time.Now())
	if len(removals) == 0 {
		return now, nil
	}
	list, err := n.cfg.Engine.Containers(ctx)
	if err != nil {
		return now, err
	}
	for _, c := range list {
		now.used[have.id(c.ImageID)] = true
	}
	return now, nil
}

// id returns the cluster's ID of an image, given the engine's.
func (s *stock) id(engine string) string {
	if id, ok := s.cluster[engine]; ok {
		return id
	}
	return engine
}

// publish gives the cluster the names of this engine's that it does not know.
func (n *Node) publish(ctx context.Context, steps []nameStep) error {
	var own []ledger.Image
	for _, s := range steps {
		if s.verb == publish {
			own = append(own, ledger.Image{Name: s.name, ID: s.id, Layers: n.layers(ctx, s.id)})
		}
	}
	for _, part := range parts(own) {
		result, index, err := n.cfg.Log.Propose(ctx, ledger.Command{Merge: &ledger.Merge{Node: n.cfg.ID, Images: part}})
		if err != nil {
			return fmt.Errorf("publish names of images: %w", err)
		}
		if result.Refusal != nil {
			return result.Refusal
		}
		if err := n.cfg.Log.Wait(ctx, index); err != nil {
			return err
		}
	}
	return nil
}

// parts cuts images into what one Merge may carry.
func parts(images []ledger.Image) (list [][]ledger.Image) {
	size := maxTold
	for _, i := range images {
		one := encoded(i)
		if last := len(list) - 1; last >= 0 && size+one <= maxTold && len(list[last]) < ledger.MaxMerge {
			list[last] = append(list[last], i)
			size += one
			continue
		}
		list, size = append(list, []ledger.Image{i}), one
	}
	return list
}

// carryOutName does one step. That the engine does not do it, or the ledger decided
// otherwise meanwhile, is no error: the next look plans anew.
func (n *Node) carryOutName(ctx context.Context, s nameStep, have *stock) (removed []engine.RemovedImage, err error) {
	if s.verb == publish {
		return nil, nil // all at once, before
	}
	n.log.Info("names of images settled", "step", string(s.verb), "name", s.name, "image", ledger.Short(s.id))
	switch s.verb {
	case fulfil:
		i := ledger.Image{Name: s.name, ID: s.id, Owner: s.claim.Owner, Node: n.cfg.ID, Layers: n.layers(ctx, s.id)}
		return nil, n.proposeName(ctx, ledger.Command{NameImage: &ledger.NameImage{Image: i, Claim: s.claim.Claim}})
	case keepName:
		i := ledger.Image{Name: s.name, ID: s.id, Node: n.cfg.ID, Layers: n.layers(ctx, s.id)}
		return nil, n.proposeName(ctx, ledger.Command{NameImage: &ledger.NameImage{Image: i}})
	case giveUp:
		return nil, n.proposeName(ctx, ledger.Command{Unclaim: &ledger.Unclaim{Claim: s.claim.Claim}})
	case tag:
		err = n.tag(ctx, have.engine[s.id], s.id, s.name)
	case untag:
		if n.meansInCluster(s.name) != s.id { // else it was named again
			removed, err = n.untag(ctx, s.name, s.id, s.force)
		}
	case drop:
		if removed, err = n.drop(ctx, have.engine[s.id], s.id); len(removed) > 0 {
			n.cfg.Images.Forget(s.id)
		}
	}
	if err != nil && !engine.IsNotFound(err) {
		level := slog.LevelWarn
		if strings.Contains(err.Error(), hasChildren) {
			level = slog.LevelDebug
		}
		n.log.Log(ctx, level, "name of an image is not settled", "step", string(s.verb), "name", s.name, "image", ledger.Short(s.id), "err", err)
	}
	return removed, nil
}

// hasChildren is why the engine keeps an image without a name from which it committed
// or built others. It removes it with the last of them.
const hasChildren = "image has dependent child images"

// proposeName has the ledger decide about a name. It may decide otherwise.
func (n *Node) proposeName(ctx context.Context, c ledger.Command) error {
	result, _, err := n.cfg.Log.Propose(ctx, c)
	if err != nil {
		return fmt.Errorf("settle the name of an image: %w", err)
	}
	if result.Refusal != nil {
		n.log.Warn("ledger keeps what it has", "err", result.Refusal)
	}
	return nil
}

// warnOfNamesakes tells, once each, which names mean another image here than in
// the cluster. Its caller holds naming.
func (n *Node) warnOfNamesakes() {
	var now map[string]string
	n.cfg.Log.View(func(l *ledger.Ledger) { now = l.Namesakes(n.cfg.ID) })
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if n.namesakes[name] != now[name] {
			n.log.Warn("an image of this host has a name that another image has in the cluster: it stays, and the cluster calls it by the name with the host",
				"name", name+"@"+n.cfg.Name, "image", ledger.Short(now[name]))
		}
	}
	n.namesakes = now
}

// Graces before a claim is given up: of a commit that this agent has not heard of
// yet, or that ended in doubt; and of a pull or an import, which take their time.
const (
	claimGrace    = grace
	longestMaking = time.Hour
)

// claimSighting is when this agent first saw a claim of its own node, or last did
// something about it, and how long it waits from then.
type claimSighting struct {
	at    time.Time
	grace time.Duration
}

// openClaims returns the claims that a commit is making, and those within their
// grace.
func (n *Node) openClaims(claims []*ledger.Image, now time.Time) (making, fresh map[string]bool) {
	making, fresh = map[string]bool{}, map[string]bool{}
	n.mu.Lock()
	defer n.mu.Unlock()
	seen := map[string]claimSighting{}
	for _, c := range claims {
		making[c.Claim] = n.committing[c.Claim] != nil
		s, known := n.claims[c.Claim]
		switch {
		case making[c.Claim]:
			s = claimSighting{now, claimGrace}
		case !known && n.claims == nil:
			s = claimSighting{now, inheritedGrace}
		case !known && c.Commit: // its holder is asked at once, or never
			s = claimSighting{now, claimGrace}
		case !known:
			s = claimSighting{now, longestMaking}
		}
		seen[c.Claim] = s
		fresh[c.Claim] = now.Sub(s.at) < s.grace
	}
	n.claims = seen
	return making, fresh
}

// doubt begins the grace of a claim whose commit ended without an answer.
func (n *Node) doubt(claim string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.claims != nil { // otherwise its grace begins with the first look
		n.claims[claim] = claimSighting{time.Now(), claimGrace}
	}
}

// namesUnsettled says whether a name waits to be made or taken away here.
func (n *Node) namesUnsettled() (waiting bool) {
	n.cfg.Log.View(func(l *ledger.Ledger) {
		waiting = len(l.Claims(n.cfg.ID)) > 0 || len(l.Removals(n.cfg.ID)) > 0
	})
	return waiting
}
