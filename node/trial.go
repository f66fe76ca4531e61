package node

import (
	"time"

	"ddocker/engine"
)

// trial is what is known of how the engine gives GPUs to containers. It is found out
// once in a life of the engine, and of the agent.
type trial struct {
	way engine.Way
	// why says why there is no way, and err why the trial could not be made.
	why, err string
	// over trials are not made again until the engine may have restarted.
	over, running bool
	failed        int // trials that could not be made, in a row
	next          time.Time
}

// Pauses between trials that could not be made.
const (
	firstTrialPause = 10 * time.Second
	lastTrialPause  = 10 * time.Minute
)

// told says whether anything is known.
func (t *trial) told() bool { return t.way != engine.NoWay || t.why != "" || t.err != "" }

// against says why no card may be given; empty: all may.
func (t *trial) against() string {
	switch {
	case t.way != engine.NoWay:
		return ""
	case t.why != "":
		return whyWithheld + t.why
	case t.err != "":
		return whyUnknown + "the Docker Engine could not be tried for GPUs: " + t.err
	}
	return whyUnknown + "the Docker Engine is being tried for GPUs"
}

// tryGPUs has the engine tried aside, where there is a card and nothing is known. What
// was known before stays true until the engine has answered.
func (n *Node) tryGPUs() {
	state := n.cfg.Machine.GPUs()
	if len(state.Cards) == 0 {
		return
	}
	n.cards.mu.Lock()
	t := &n.cards.trial
	due := !t.over && !t.running && !time.Now().Before(t.next)
	t.running = t.running || due
	with := state.Cards[t.failed%len(state.Cards)].UUID // another one each time: one may be out of order
	n.cards.mu.Unlock()
	if due && !n.begin(func() { n.try(with) }) {
		n.cards.mu.Lock()
		defer n.cards.mu.Unlock()
		t.running = false
	}
}

func (n *Node) try(uuid string) {
	n.cards.mu.Lock()
	before := n.cards.trial
	n.cards.trial.over = true // unless the engine is lost meanwhile
	n.cards.mu.Unlock()
	if err := n.cfg.Engine.Ping(n.life); err != nil {
		n.log.Debug("the Docker Engine is tried for GPUs when it answers", "err", err)
		n.tried(before, time.Now().Add(firstTrialPause))
		return
	}
	way, why, err := n.cfg.Engine.GPUs(n.life, uuid)
	n.begin(n.sweepTrial)
	if err != nil {
		now := before
		now.err, now.failed = err.Error(), before.failed+1
		n.tried(now, time.Now().Add(min(firstTrialPause<<min(before.failed, 10), lastTrialPause)))
	} else {
		n.tried(trial{way: way, why: why, over: true}, time.Time{})
	}
	switch {
	case err != nil && err.Error() != before.err:
		n.log.Warn("it is not known how the Docker Engine gives GPUs to containers", "err", err)
	case err == nil && way == engine.NoWay:
		n.log.Warn("the GPUs of this host are not offered: its Docker Engine does not give them to containers", "why", why)
	}
	n.tellCards(n.life)
	n.Kick()
}

// lateTrial is how long an engine may still be at what a trial asked it for that was not
// seen to its end, mostly in an earlier life of this agent.
const lateTrial = 2 * time.Minute

// sweepTrial removes what came of a trial too late to be seen.
func (n *Node) sweepTrial() {
	for wait(n.life, lateTrial) {
		n.cards.mu.Lock()
		busy := n.cards.trial.running
		n.cards.trial.running = true // none may begin
		n.cards.mu.Unlock()
		if busy { // it sweeps, if it gets that far
			continue
		}
		err := n.cfg.Engine.SweepTrials(n.life)
		n.cards.mu.Lock()
		n.cards.trial.running = false
		n.cards.mu.Unlock()
		if err == nil {
			return
		}
		n.log.Debug("what a trial left stays for now", "err", err)
	}
}

// tried notes what came of a trial. Where the engine may have restarted since it began,
// another is due, and the next one if it could not be made.
func (n *Node) tried(now trial, next time.Time) {
	n.cards.mu.Lock()
	defer n.cards.mu.Unlock()
	lost := !n.cards.trial.over
	n.cards.trial = now
	n.cards.trial.running = false
	n.cards.trial.over = now.over && !lost
	if n.cards.trial.next = next; lost {
		n.cards.trial.next = time.Time{}
	}
}

// tryAgain is called when the engine may have restarted, with another toolkit.
func (n *Node) tryAgain() {
	n.cards.mu.Lock()
	defer n.cards.mu.Unlock()
	n.cards.trial.over, n.cards.trial.next = false, time.Time{}
	n.cards.plain = false
}

// gpuWay returns how GPUs are given here, and whether any may be here that must be kept
// from containers without a grant: whatever is not known speaks for it, and a runtime that
// gives out even cards that the driver does not show yet.
func (n *Node) gpuWay(registered int) (way engine.Way, hide bool) {
	state := n.cfg.Machine.GPUs()
	n.cards.mu.Lock()
	defer n.cards.mu.Unlock()
	return n.cards.trial.way, registered+len(state.Cards) > 0 || !state.Known || !n.cards.plain
}

// notePlain notes whether the engine has no runtime that gives out GPUs.
func (n *Node) notePlain(plain bool) {
	n.cards.mu.Lock()
	defer n.cards.mu.Unlock()
	n.cards.plain = plain
}
