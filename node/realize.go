package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/crash"
	"ddocker/engine"
	"ddocker/sched"
)

// Statuses of Docker's create that matter here.
const (
	statusCreated = 201
	statusFailed  = 500
)

func busy(format string, args ...any) error {
	return &ledger.Refusal{Code: ledger.Busy, Message: fmt.Sprintf(format, args...)}
}

// call is a create or a commit under way. Whoever asks for the same meanwhile waits
// for its outcome.
type call struct {
	done   chan struct{}
	status int
	reply  []byte
	err    error
}

// Realize makes the container of a placement on this node, as the given body of
// Docker's create says (in API version, "" for the engine's own) and with what
// the ledger granted written into it. Index is the placement's place in the log.
// When it returns a 201, the container exists and the ledger knows it. A refusal
// by the engine releases the placement first, and a *ledger.Refusal of code Busy
// means that another place may be found. The work goes on when ctx ends: a
// later call for the same placement gets its outcome.
func (n *Node) Realize(ctx context.Context, placement string, index uint64, version string, body []byte) (status int, reply []byte, err error) {
	return n.once(ctx, n.creating, placement, func() (int, []byte, error) { return n.realize(placement, index, version, body) })
}

// once has do done aside, and returns its outcome, or ctx's error while it goes on.
// Calls of one key at the same time share one; an empty key is shared by none.
func (n *Node) once(ctx context.Context, calls map[string]*call, key string, do func() (int, []byte, error)) (status int, reply []byte, err error) {
	n.mu.Lock()
	c := calls[key]
	if c == nil {
		if n.life.Err() != nil {
			n.mu.Unlock()
			return 0, nil, fmt.Errorf("host %s: the agent stops", n.cfg.Name)
		}
		c = &call{done: make(chan struct{})}
		if key != "" {
			calls[key] = c
		}
		n.calls.Go(func() {
			c.status, c.reply, c.err = do()
			n.mu.Lock()
			delete(calls, key)
			delete(n.seen, key) // what was seen before it says nothing any more
			n.mu.Unlock()
			close(c.done)
		})
	}
	n.mu.Unlock()
	select {
	case <-c.done:
		return c.status, c.reply, c.err
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	}
}

func (n *Node) realize(id string, index uint64, version string, body []byte) (status int, reply []byte, err error) {
	n.cfg.Crash.At(crash.CreateBegun)
	given, err := n.await(id, index)
	if err != nil {
		return 0, nil, fmt.Errorf("wait for the reservation: %w", err)
	}
	p, _, _ := n.granted(id)
	if p != nil && p.Node == n.cfg.ID && p.Container != "" { // made by an earlier try
		reply, err := json.Marshal(map[string]any{"Id": p.Container, "Warnings": []string{}})
		return statusCreated, reply, err
	}
	image := ""
	if p != nil && p.Node == n.cfg.ID {
		if given {
			return 0, nil, n.elsewhere(id, "the reservation was given up before the container was asked for")
		}
		if image, err = n.provide(p); err != nil {
			return 0, nil, err
		}
		if err := n.furnish(p); err != nil {
			n.release(id)
			return 0, nil, err
		}
	}
	p, shared, cards := n.granted(id) // an image may have been long on its way
	if p == nil || p.Node != n.cfg.ID {
		return 0, nil, busy("the reservation was released before the container was made")
	}
	if err := n.prepare(p); err != nil {
		return 0, nil, err
	}
	way, hide := n.gpuWay(cards)
	full, err := writeGrant(body, p, shared, gpuMeans{way, hide})
	if err == nil {
		full, err = writeImage(full, image)
	}
	if err != nil {
		n.release(id)
		return 0, nil, &ledger.Refusal{Code: ledger.Invalid, Message: err.Error()}
	}
	status, reply, err = n.create(p, version, full)
	if _, now, _ := n.granted(id); status == statusCreated && p.Grant.Shares() && !now.Equal(shared) {
		// Cores were pinned or freed meanwhile, by somebody who could not move
		// this container yet.
		if err := n.movePinned(n.life); err != nil {
			n.log.Warn("container runs on cores that others have", "container", p.Name, "err", err)
			n.Kick()
		}
	}
	return status, reply, err
}

// await returns when this replica has the reservation, and says whether this node is about
// to release it for want of a container. Then it has also what was decided meanwhile.
func (n *Node) await(id string, index uint64) (given bool, err error) {
	n.mu.Lock()
	given = n.givingUp[id]
	n.mu.Unlock()
	ctx, cancel := context.WithTimeout(n.life, proposeTimeout)
	defer cancel()
	if given {
		return true, n.cfg.Log.Read(ctx)
	}
	return false, n.cfg.Log.Wait(ctx, index)
}

// granted returns the placement, or nil; the cores that containers without their
// own must keep to, none for all; and how many GPUs this host has registered.
func (n *Node) granted(id string) (p *ledger.Placement, shared sched.CPUSet, cards int) {
	n.cfg.Log.View(func(l *ledger.Ledger) {
		h := l.Host(n.cfg.ID)
		if h == nil {
			return
		}
		p, cards = l.Placement(id), len(h.Cards)
		if shared = h.Shared(); shared.Equal(h.Cores) {
			shared = sched.CPUSet{} // nothing is pinned: nothing to keep off
		}
	})
	return p, shared, cards
}

// prepare makes sure that the host really has free what was granted.
func (n *Node) prepare(p *ledger.Placement) error {
	if taken := n.busyPorts(p); taken != "" {
		why := n.elsewhere(p.ID, "port %s of %s is in use by a process of the host", taken, n.cfg.Name)
		n.tellPorts()
		return why
	}
	if why := n.unusable(p.Grant.GPUs); why != "" {
		err := n.elsewhere(p.ID, "%s", why)
		n.tellCards(n.life)
		return err
	}
	if p.Grant.Shares() {
		return nil
	}
	if err := n.movePinned(n.life); err != nil {
		n.release(p.ID)
		return fmt.Errorf("free cores %s of %s: %w", p.Grant.Cores, n.cfg.Name, err)
	}
	return nil
}

// busyPorts names the granted ports that something listens on already.
func (n *Node) busyPorts(p *ledger.Placement) string {
	if len(p.Grant.Ports) == 0 {
		return ""
	}
	n.relay() // yields them
	listening, err := n.listening()
	if err != nil {
		n.log.Warn("listening ports cannot be read", "err", err)
		return ""
	}
	var busy []string
	before := n.heldBefore(p)
	for _, b := range p.Grant.Ports {
		if slices.Contains(listening, b.Port()) && !before[b.Port()] {
			busy = append(busy, fmt.Sprintf("%d/%s", b.Host, b.Proto))
		}
	}
	return strings.Join(busy, ", ")
}

// heldBefore returns the ports of the container that this one replaces: it may still
// listen on them.
func (n *Node) heldBefore(p *ledger.Placement) map[sched.Port]bool {
	ports := map[sched.Port]bool{}
	n.cfg.Log.View(func(l *ledger.Ledger) {
		if old := l.Placement(p.Replaces); old != nil {
			for _, b := range old.Grant.Ports {
				ports[b.Port()] = true
			}
		}
	})
	return ports
}

// create asks the engine, and records its answer in the ledger before anybody
// hears of it. No answer leaves the reservation as it is: the container may
// still come. Reconcile settles it.
func (n *Node) create(p *ledger.Placement, version string, body []byte) (status int, reply []byte, err error) {
	n.cfg.Crash.At(crash.CreateMaking)
	status, reply, err = n.cfg.Engine.Create(n.life, p.Name, version, body)
	switch {
	case err != nil:
		return 0, nil, fmt.Errorf("create %s: the Docker Engine of %s did not answer: %w", p.Name, n.cfg.Name, err)
	case status == statusCreated:
		var made struct{ ID string }
		if err := json.Unmarshal(reply, &made); err != nil {
			return 0, nil, fmt.Errorf("create %s: read the engine's reply: %w", p.Name, err)
		}
		n.cfg.Crash.At(crash.CreateMade)
		n.noteVolumes(p)
		err := n.confirm(p, made.ID)
		n.cfg.Crash.At(crash.CreateConfirmed)
		return status, reply, err
	case status >= statusFailed && !n.withdraw(p):
		return status, reply, nil
	}
	n.cfg.Crash.At(crash.CreateRefused)
	n.release(p.ID)
	n.cfg.Crash.At(crash.CreateReleased)
	return status, reply, nil
}

// confirm records the new container, and what it was made from. Without a quorum the
// reservation stands in for it, and Reconcile confirms it later; if the placement was
// released meanwhile, nobody was told of the container, and it goes. So does one that
// was made from another image, which took the name meanwhile.
func (n *Node) confirm(p *ledger.Placement, container string) error {
	ctx, cancel := context.WithTimeout(n.life, proposeTimeout)
	defer cancel()
	from := n.madeFrom(ctx, p, container)
	if from != "" && p.ImageID != "" && from != p.ImageID {
		// Where the container stays, Reconcile removes it: the placement expires.
		if err := errors.Join(n.cfg.Engine.Remove(ctx, container, false, true), n.Abandon(ctx, p.ID)); err != nil {
			n.Kick()
			return fmt.Errorf("container %s of %s was made of another image, and is left to the next reconciliation: %w", p.Name, n.cfg.Name, err)
		}
		return busy("image %s came to mean another on %s while the container was made", p.Image, n.cfg.Name)
	}
	confirm := &ledger.Confirm{Placement: p.ID, Node: n.cfg.ID, Container: container, ImageID: from}
	result, _, err := n.cfg.Log.Propose(ctx, ledger.Command{Confirm: confirm})
	if err != nil {
		n.log.Warn("container is made but not yet confirmed", "container", p.Name, "err", err)
		return nil
	}
	if result.Refusal != nil {
		err := n.cfg.Engine.Remove(n.life, container, false, true)
		return errors.Join(busy("the reservation was released while the container was made"), err)
	}
	return nil
}

// lookTimeout bounds what is asked about a container that somebody waits for.
const lookTimeout = 2 * time.Second

// madeFrom returns the image that a new container was made from; empty: the engine
// does not tell at once, and Reconcile tells the ledger. A name that meant the right image before means it now: then it did
// all the while.
func (n *Node) madeFrom(ctx context.Context, p *ledger.Placement, container string) string {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	means, err := n.meaning(ctx, p.Image)
	if err != nil || p.ImageID == "" || means == p.ImageID {
		return means
	}
	list, err := n.cfg.Engine.Containers(ctx)
	at := slices.IndexFunc(list, func(c engine.Container) bool { return c.ID == container })
	if err != nil || at < 0 {
		return ""
	}
	id, err := n.identify(ctx, list[at].ImageID)
	if err != nil {
		return ""
	}
	return id
}

// withdraw removes what a failed create may have left all the same, and says
// whether nothing is left of it. It was never started, and nobody was told of it.
func (n *Node) withdraw(p *ledger.Placement) bool {
	list, err := n.cfg.Engine.Containers(n.life)
	if err != nil {
		return false
	}
	for _, c := range list {
		if c.Placement == p.ID && c.Name == p.Name && !c.Running {
			n.cfg.Crash.At(crash.CreateSpoiled)
			if n.cfg.Engine.Remove(n.life, c.ID, false, true) != nil {
				return false
			}
			n.cfg.Crash.At(crash.CreateWithdrawn)
		}
	}
	return true
}
