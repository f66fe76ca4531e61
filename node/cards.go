package node

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/engine"
	"ddocker/gpu"
	"ddocker/sched"
)

const (
	// reopenAfter is how long a card stays closed after the last reason for it. So a
	// card that is used now and then costs the log two commands in that time.
	reopenAfter = 30 * time.Second
	// doubtFor is how long a use must last that may be the end of a container of which
	// the ledger has forgotten already: the reader is a second behind, or two.
	doubtFor = 5 * time.Second
	// endFor is how long a process must be outside any container: as it ends, it may
	// leave its container before its card. The next reading finds it gone.
	endFor = 3 * time.Second
	// lostFor is how long the driver must not show a card, and nobody hold it, until it
	// is no more counted among those of this machine.
	lostFor = time.Minute
	// plugEvery spaces the changes of what is registered.
	plugEvery = 10 * time.Second
)

// Words that begin what a closed card is told to be.
const (
	whyUnknown  = "unknown: " // nobody can say what the card does
	whyLost     = "lost: "    // the driver does not show it
	whyWithheld = "withheld: the Docker Engine does not give GPUs to containers: "
	whyBusy     = "busy: used by "
	whyDoubt    = whyUnknown + "it is not known yet who uses it"
)

// cardMemory is what a node remembers of the host's cards from one look to the next.
type cardMemory struct {
	mu      sync.Mutex           // guards what follows
	known   bool                 // all of it was known once in this life
	closed  map[string]*closure  // by UUID
	doubts  map[string]doubt     // by UUID
	gone    map[string]time.Time // when a registered card was first missing, by UUID
	warned  map[string]string    // the container that was warned of, by UUID
	plugged time.Time            // when other cards were last registered
	trial   trial
	plain   bool // the engine has no runtime of NVIDIA's, as far as is known
}

// closure is a card that takes nothing new.
type closure struct {
	why string
	// told is when these words were first told, seen when there last was a reason.
	told, seen time.Time
	// early closures are from before anything was known in this life of the agent, or of
	// who uses the card, and end with that.
	early bool
}

// use says who uses a card that should not.
type use struct {
	why       string        // after whyBusy
	doubt     time.Duration // it may be over within that time
	container string        // one of the cluster's own
}

// doubt is since when a card is in a use of one kind, which is told by how long it may
// be over already.
type doubt struct {
	kind  time.Duration
	since time.Time
}

// cardView is all that one look at the cards sees.
type cardView struct {
	state      gpu.State
	registered []sched.Card
	names      map[string]string          // of the containers that the ledger knows here, by ID
	placed     map[string]bool            // those of them that are the cluster's own
	holders    map[string]map[string]bool // IDs of containers by the UUID of a card that they were given
}

// viewCards looks at the ledger first: what the reader says then is not older.
func (n *Node) viewCards() *cardView {
	v := &cardView{names: map[string]string{}, placed: map[string]bool{}, holders: map[string]map[string]bool{}}
	hold := func(container, name string, g *sched.Grant) {
		v.names[container] = name
		for _, uuid := range g.GPUs {
			if v.holders[uuid] == nil {
				v.holders[uuid] = map[string]bool{}
			}
			v.holders[uuid][container] = true
		}
	}
	n.cfg.Log.View(func(l *ledger.Ledger) {
		m := l.Node(n.cfg.ID)
		if m == nil {
			return
		}
		v.registered = m.Capacity.Cards
		for i := range m.Observed.Containers {
			o := &m.Observed.Containers[i]
			hold(o.ID, o.Name, &o.Grant)
		}
		for _, p := range l.Placed(n.cfg.ID) {
			hold(p.Container, p.Name, &p.Grant) // under "" where it is not confirmed yet
			v.placed[p.Container] = true
		}
	})
	v.state = n.cfg.Machine.GPUs()
	return v
}

// foreign says who uses the card that was not given it; "" in why: nobody.
func (v *cardView) foreign(c *gpu.Card) use {
	for _, p := range slices.SortedFunc(slices.Values(c.Processes), func(a, b gpu.Process) int { return cmp.Compare(a.PID, b.PID) }) {
		name, known := v.names[p.Container]
		switch {
		case p.Container == "":
			return use{why: fmt.Sprintf("%s (pid %d, %s), outside any container", cmp.Or(p.Command, "a process"), p.PID, cmp.Or(p.User, "of nobody known")), doubt: endFor}
		case v.holders[c.UUID][p.Container]:
		case !known && v.holders[c.UUID][""]: // who has not been confirmed yet
		case !known:
			return use{why: "container " + ledger.Short(p.Container) + ", which the cluster does not know", doubt: doubtFor}
		default:
			u := use{why: "container " + name + ", which was not granted it"}
			if v.placed[p.Container] {
				u.container = name
			}
			return u
		}
	}
	return use{}
}

// taken says who was given the card beside the cluster after the cluster had granted it;
// "": nobody. A container of the cluster is not kept from starting for that.
func (v *cardView) taken(uuid string) string {
	var ours, others []string
	for id := range v.holders[uuid] {
		if v.placed[id] {
			ours = append(ours, v.names[id])
		} else {
			others = append(others, v.names[id])
		}
	}
	if len(ours) == 0 || len(others) == 0 {
		return ""
	}
	return fmt.Sprintf("container %s, made outside the cluster, though %s was granted it", slices.Min(others), slices.Min(ours))
}

// closedCards returns the cards of this host that take nothing new, as the cluster is
// to know them: closed at once, open again after a while without a reason.
func (n *Node) closedCards() []ledger.ClosedCard {
	v, now := n.viewCards(), time.Now()
	n.cards.mu.Lock()
	defer n.cards.mu.Unlock()
	return n.cards.settle(n.reasons(v, now), n.cards.knows(v.state), now)
}

// reasons says why cards are closed now, by UUID. Its caller holds the mutex of cards.
func (n *Node) reasons(v *cardView, now time.Time) map[string]string {
	why, shown := map[string]string{}, map[string]bool{}
	for i := range v.state.Cards {
		c := &v.state.Cards[i]
		shown[c.UUID] = true
		registered := hasCard(v.registered, c.UUID)
		who, doubtful := n.judgeUse(c.UUID, v.foreign(c), now) // also of what is closed for another reason
		was := n.cards.closed[c.UUID]
		if reason := n.cards.trial.against(); reason != "" {
			if n.cards.trial.told() || registered {
				why[c.UUID] = reason
			}
		} else if who != "" {
			why[c.UUID] = whyBusy + who
		} else if both := v.taken(c.UUID); both != "" {
			why[c.UUID] = whyBusy + both
		} else if doubtful && (!registered || !n.cards.known || was != nil && was.early) { // doubt neither closes nor opens
			why[c.UUID] = whyDoubt
		}
	}
	for _, r := range v.registered {
		switch {
		case !v.state.Known:
			why[r.UUID] = whyUnknown + v.state.Reason
		case !shown[r.UUID]:
			why[r.UUID] = whyLost + cmp.Or(v.state.Reason, "the driver does not show it")
		}
	}
	maps.DeleteFunc(n.cards.doubts, func(uuid string, _ doubt) bool { return !shown[uuid] && !hasCard(v.registered, uuid) })
	return why
}

// judgeUse says who uses a card wrongly, beyond doubt; "": nobody, unless it is doubtful
// yet. What a container of the cluster does is warned of once.
func (n *Node) judgeUse(uuid string, u use, now time.Time) (who string, doubtful bool) {
	if n.cards.doubts[uuid].kind != u.doubt {
		n.cards.doubts[uuid] = doubt{u.doubt, now}
	}
	if now.Sub(n.cards.doubts[uuid].since) < u.doubt {
		return "", true
	}
	if u.container != "" && n.cards.warned[uuid] != u.container {
		n.cards.warned[uuid] = u.container
		n.log.Warn("container uses a GPU that it was not granted", "container", u.container, "gpu", uuid)
	}
	return u.why, false
}

// settle brings the closures up to the reasons of now. Known says whether it is known
// what cards there are, and how they are given.
func (c *cardMemory) settle(why map[string]string, known bool, now time.Time) []ledger.ClosedCard {
	c.known = c.known || known
	for uuid, reason := range why {
		was := c.closed[uuid]
		if was == nil || was.why != reason && (c.known && was.early || now.Sub(was.told) >= reopenAfter) {
			was = &closure{why: reason, told: now}
			c.closed[uuid] = was
		}
		was.seen, was.early = now, !c.known || reason == whyDoubt
	}
	var out []ledger.ClosedCard
	for _, uuid := range slices.Sorted(maps.Keys(c.closed)) {
		was := c.closed[uuid]
		if why[uuid] == "" && (c.known && was.early || now.Sub(was.seen) >= reopenAfter) {
			delete(c.closed, uuid)
			delete(c.warned, uuid)
			continue
		}
		out = append(out, ledger.ClosedCard{UUID: uuid, Why: was.why})
	}
	return out
}

// unusable says which of the granted cards must not be used now, and why.
func (n *Node) unusable(uuids []string) string {
	if len(uuids) == 0 {
		return ""
	}
	for _, c := range n.closedCards() {
		if slices.Contains(uuids, c.UUID) {
			return fmt.Sprintf("GPU %s of %s is %s", c.UUID, n.cfg.Name, c.Why)
		}
	}
	return ""
}

// cardLoop tells the cluster soon what has become of the cards.
func (n *Node) cardLoop(ctx context.Context) {
	for {
		n.tryGPUs()
		n.tellCards(ctx)
		if n.plugs() {
			n.Kick()
		}
		if !wait(ctx, sampleEvery) {
			return
		}
	}
}

// tellCards tells the cluster which cards are closed, where it knows otherwise.
func (n *Node) tellCards(ctx context.Context) {
	known, registered := []ledger.ClosedCard(nil), false
	n.cfg.Log.View(func(l *ledger.Ledger) {
		if m := l.Node(n.cfg.ID); m != nil {
			known, registered = m.Observed.Cards, true
		}
	})
	if !registered || slices.Equal(known, n.closedCards()) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, proposeTimeout)
	defer cancel()
	if err := n.amend(ctx, func(o *ledger.Observe) { o.Cards = n.closedCards() }); err != nil {
		n.log.Debug("the cluster is not yet told of the GPUs", "err", err)
	}
}

// plugs says whether other cards are to be registered than are.
func (n *Node) plugs() bool {
	registered, ok := n.registeredCards()
	return ok && n.mayPlug(registered, n.cardsOf(registered))
}

// mayPlug says whether these cards are now to be registered in the place of those that are.
func (n *Node) mayPlug(registered, cards []sched.Card) bool {
	if !n.knowsCards() || equal(registered, cards) {
		return false
	}
	n.cards.mu.Lock()
	defer n.cards.mu.Unlock()
	return time.Since(n.cards.plugged) >= plugEvery
}

// registeredCards returns the cards that this host has registered, if it is in the
// cluster at all.
func (n *Node) registeredCards() (cards []sched.Card, ok bool) {
	n.cfg.Log.View(func(l *ledger.Ledger) {
		if m := l.Node(n.cfg.ID); m != nil {
			cards, ok = m.Capacity.Cards, true
		}
	})
	return cards, ok
}

// plug registers the cards, where these are not. They are those that the outsiders of
// the last observation were looked up among: who holds a card, and what closes it, is
// told before it can be given.
func (n *Node) plug(ctx context.Context, cards []sched.Card) error {
	if registered, ok := n.registeredCards(); !ok || !n.mayPlug(registered, cards) {
		return nil
	}
	var now ledger.Register
	n.cfg.Log.View(func(l *ledger.Ledger) { now = l.Node(n.cfg.ID).Register })
	now.Capacity.Cards = cards
	if err := n.enroll(ctx, now); err != nil {
		return err
	}
	n.cards.mu.Lock()
	defer n.cards.mu.Unlock()
	n.cards.plugged = time.Now()
	return nil
}

// cardsOf returns the cards to register, where the known ones are. Unknown ones stay. New ones
// come when the engine was found to give them. One that the driver shows no more is
// closed and stays, at the end, as long as somebody holds it, and a minute.
func (n *Node) cardsOf(known []sched.Card) []sched.Card {
	state, t := n.cfg.Machine.GPUs(), n.cfg.Machine.Topology()
	if !state.Known {
		return known
	}
	held := map[string]bool{}
	n.cfg.Log.View(func(l *ledger.Ledger) {
		for _, c := range known {
			held[c.UUID] = l.Host(n.cfg.ID).Held.HasGPU(c.UUID)
		}
	})
	n.cards.mu.Lock()
	defer n.cards.mu.Unlock()
	given := n.cards.trial.way != engine.NoWay
	out := cards(state.Cards, t, func(c *gpu.Card) bool { return given || hasCard(known, c.UUID) })
	for _, c := range known {
		switch since, missing := n.cards.gone[c.UUID]; {
		case hasCard(out, c.UUID):
			delete(n.cards.gone, c.UUID)
			continue
		case !missing:
			n.cards.gone[c.UUID] = time.Now()
		case time.Since(since) >= lostFor && !held[c.UUID]:
			continue
		}
		out = append(out, sched.Card{UUID: c.UUID, Model: c.Model, Profile: c.Profile, Of: c.Of, Memory: c.Memory})
	}
	maps.DeleteFunc(n.cards.gone, func(uuid string, _ time.Time) bool { return !hasCard(known, uuid) })
	for i := range out { // what the driver does not show is near to nothing
		for out[i].Far != nil && len(out[i].Far) < len(out) {
			out[i].Far = append(out[i].Far, gpu.System)
		}
	}
	return out
}

// knowsCards says whether this life of the agent has found out what cards there are and
// how they are given. Before that, what it sees of the ledger may be older than they are.
func (n *Node) knowsCards() bool {
	state := n.cfg.Machine.GPUs()
	n.cards.mu.Lock()
	defer n.cards.mu.Unlock()
	return n.cards.knows(state)
}

// knows says whether all is known of the cards: which there are, and how they are given.
func (c *cardMemory) knows(state gpu.State) bool {
	return state.Known && (len(state.Cards) == 0 || c.trial.told())
}

func hasCard(list []sched.Card, uuid string) bool {
	return slices.ContainsFunc(list, func(c sched.Card) bool { return c.UUID == uuid })
}

// cards says what those cards of a machine that are wanted are to whoever places, each
// once: the cluster takes none of a host that has a UUID twice.
func cards(list []gpu.Card, t sched.Topology, wanted func(*gpu.Card) bool) (out []sched.Card) {
	var at []int // in the list
	for i := range list {
		if wanted(&list[i]) && !slices.ContainsFunc(at, func(j int) bool { return list[j].UUID == list[i].UUID }) {
			at = append(at, i)
		}
	}
	for _, i := range at {
		c := &list[i]
		s := sched.Card{UUID: c.UUID, Index: c.Index, Model: c.Model, Profile: c.Profile, Of: c.Of, Memory: c.Memory}
		for _, j := range at {
			if j < len(c.Far) {
				s.Far = append(s.Far, c.Far[j])
			}
		}
		if c.NUMA >= 0 && c.NUMA < len(t.Nodes) {
			s.Near = t.Nodes[c.NUMA]
		}
		out = append(out, s)
	}
	return out
}
