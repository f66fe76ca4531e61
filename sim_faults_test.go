package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ddocker/consensus"
	"ddocker/consensus/ledger"
	"ddocker/engine/enginetest"
)

// turn is when a fault begins or ends.
type turn struct {
	at    time.Duration
	fault *fault
	ends  bool
}

// play lets the faults happen, each at its time, one after another where they take a
// while themselves.
func (s *simulation) play() {
	var turns []turn
	for i := range s.plan.Faults {
		f := &s.plan.Faults[i]
		turns = append(turns, turn{f.At, f, false}, turn{f.At + f.For, f, true})
	}
	slices.SortStableFunc(turns, func(a, b turn) int { return cmp.Compare(a.at, b.at) })
	began := time.Now()
	for _, t := range turns {
		for rest := time.Until(began.Add(t.at)); rest > 0; rest = time.Until(began.Add(t.at)) {
			time.Sleep(min(rest, time.Second))
			s.supervise()
			s.glance()
		}
		what := "begins"
		if t.ends {
			what = "ends"
		}
		s.note(-1, "%s %s: %+v", t.fault.Kind, what, *t.fault)
		if t.ends {
			s.end(t.fault)
			s.active.Add(-1)
		} else {
			s.active.Add(1)
			s.begun.Add(1)
			s.begin(t.fault)
		}
	}
}

// calm says whether nothing is broken, and somebody leads.
func (s *simulation) calm() bool { return s.active.Load() == 0 && s.steady() && s.leads() != nil }

// calmSince returns what says whether it has been calm from now on.
func (s *simulation) calmSince() func() bool {
	begun, calm := s.begun.Load(), s.calm()
	return func() bool { return calm && s.begun.Load() == begun && s.calm() }
}

// steady says whether all agents run for a while, and none may be about to end by itself.
func (s *simulation) steady() bool {
	for _, m := range s.everyone() {
		s.mu.Lock()
		born := s.births[m.name]
		s.mu.Unlock()
		if m.alive() == nil || born.After(time.Now().Add(-startWithin)) {
			return false
		}
	}
	return true
}

// begin breaks something.
func (s *simulation) begin(f *fault) {
	h, other := s.machines[f.Host], s.machines[f.Other]
	did := true
	switch f.Kind {
	case crashed:
		did = h.isUp()
		h.kill()
	case beheaded:
		did = s.behead(f)
	case stopped:
		did = h.isUp()
		s.born(h)
		s.terminate(h)
	case crashedAtStep:
		s.traps[f] = s.crashAt(f.Step, f.Nth, s.hosts...)
		did = false // not yet
	case cutOff, deaf, mute, pairCut, scattered:
		s.cut(f)
		if f.Kind == scattered {
			s.listAlone()
		}
	case reset:
		s.reset(h, other)
	case badWeather:
		s.setWeather(weather{5 * time.Millisecond, 60 * time.Millisecond, 0.3, 0.2})
	case hung:
		h.twin.Hang()
	case slowEngine:
		s.slow(h, 4*time.Second)
	case lying:
		h.twin.FailAfterSuccess(lies()[f.Nth])
		did = false // not yet
	case newEngine:
		h.twin.Restart()
	case diskFull:
		s.excuse(h) // it may end when there is room again
		h.disk.Fill(true)
	case clockJump:
		h.disk.SetClock(time.Duration(f.Nth) * time.Minute)
	case transferred:
		did = s.try(h, http.MethodPost, "/ddocker/raft/transfer-leader") == nil
	case drained:
		did = s.try(other, http.MethodPost, "/ddocker/nodes/"+h.name+"/drain") == nil
	case lostDisk:
		did = s.loseDisk(h)
	case left:
		did = s.leave(h)
	case joined:
		s.join()
	}
	if did {
		s.took(f)
	}
}

// lies are what an engine may do and say that it has not.
func lies() []enginetest.Op {
	return []enginetest.Op{enginetest.Create, enginetest.Remove, enginetest.Start, enginetest.Commit, enginetest.Load, enginetest.Stop}
}

// end mends it.
func (s *simulation) end(f *fault) {
	h, other := s.machines[f.Host], s.machines[f.Other]
	switch f.Kind {
	case crashed, beheaded, stopped:
		s.wake(h)
	case crashedAtStep:
		for _, m := range s.everyone() {
			m.arm(nil)
		}
		s.died(f)
	case cutOff, deaf, mute, pairCut, scattered:
		s.net.Heal() // all cuts: some end early
	case badWeather:
		s.setWeather(s.plan.Net)
	case hung:
		h.twin.Unhang()
	case slowEngine:
		s.slow(h, s.plan.Engine)
	case diskFull:
		h.disk.Fill(false)
		s.wake(h)
		s.born(h) // it may still end over it
	case clockJump:
		h.disk.SetClock(0)
	case drained:
		s.try(other, http.MethodPost, "/ddocker/nodes/"+h.name+"/activate")
		s.drains = append(s.drains, h.name) // it may not have been heard
	}
}

func (s *simulation) cut(f *fault) {
	h := s.machines[f.Host]
	for i, o := range s.everyone() {
		if o == h {
			continue
		}
		if f.Kind == cutOff || f.Kind == mute || f.Kind == pairCut && i == f.Other || f.Kind == scattered {
			s.net.Cut(h.ip, o.ip)
		}
		if f.Kind == cutOff || f.Kind == deaf || f.Kind == pairCut && i == f.Other || f.Kind == scattered {
			s.net.Cut(o.ip, h.ip)
		}
		for _, third := range s.everyone() {
			if f.Kind == scattered && third != o {
				s.net.Cut(o.ip, third.ip)
			}
		}
	}
}

// reset breaks the streams between two, and loses what one answers meanwhile, unless other
// cuts go on.
func (s *simulation) reset(h, other *simHost) {
	if s.active.Load() == 1 {
		s.net.Cut(other.ip, h.ip)
		time.Sleep(100 * time.Millisecond)
		defer s.net.Mend(other.ip, h.ip)
	}
	s.net.Reset(h.ip, other.ip)
}

// died starts whoever died at the fault's step.
func (s *simulation) died(f *fault) {
	select {
	case h := <-s.traps[f]:
		s.took(f)
		for _, m := range s.everyone() {
			if m.host == h {
				s.wake(m)
			}
		}
	default:
	}
}

// listAlone has every live agent list while nobody hears another, and no quorum is.
func (s *simulation) listAlone() {
	for _, m := range s.up() {
		s.probes.Go(func() {
			time.Sleep(400 * time.Millisecond)
			s.list(-2, m)
		})
	}
}

func (s *simulation) setWeather(w weather) {
	s.mu.Lock()
	s.weather = w
	s.mu.Unlock()
	s.net.SetDelay(w.Delay, w.Jitter)
	s.net.SetLoss(w.Loss)
	s.net.SetTwice(w.Twice)
}

func (s *simulation) slow(h *simHost, by time.Duration) {
	for _, op := range []enginetest.Op{enginetest.Create, enginetest.Remove, enginetest.Start, enginetest.Stop, enginetest.Rename, enginetest.Commit, enginetest.Load, enginetest.Change} {
		h.twin.SetLatency(op, by)
	}
}

// behead kills the leader, if there is one, and measures how soon another host makes a
// container again if nothing else is broken. Nothing more breaks until it has.
func (s *simulation) behead(f *fault) bool {
	h := s.leads()
	if h == nil || !slices.Contains(s.machines, h) {
		return false
	}
	f.Host = slices.Index(s.machines, h)
	alone := s.active.Load() == 1 && s.steady() && len(h.inside().log.Status().Voters) >= 3
	h.kill()
	if alone {
		s.probe(s.machines[(f.Host+1)%s.plan.Machines], fmt.Sprint("probe", int64(f.At)))
	}
	return true
}

// probe measures how long a create on the spot takes.
func (s *simulation) probe(by *simHost, name string) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	id, err := by.create(ctx, wanted{name: name, on: by.name})
	took := time.Since(began)
	s.note(-2, "create by %s after the leader's death: %.12s %v after %v", by.name, id, err, took)
	if err != nil && slices.ContainsFunc([]string{"no core left to share", "is drained by", "after the fact"}, func(why string) bool { return strings.Contains(err.Error(), why) }) {
		return // it is full or drained, or its engine lies
	}
	s.mu.Lock()
	s.outcome.CreateAfter = append(s.outcome.CreateAfter, took.Seconds())
	s.mu.Unlock()
	if err != nil {
		s.wrong("a create by %s after the leader's death: %v", by.name, err)
		return
	}
	s.keep(&work{id: id, name: name})
}

// insistence is how long an administrator tries again, while other faults wait.
const insistence = 20 * time.Second

// try asks something of an agent that may not be there, and does not insist.
func (s *simulation) try(h *simHost, method, path string) error {
	err := h.ask(method, path, nil)
	s.note(-1, "%s %s by %s: %v", method, path, h.name, err)
	return err
}

// insist asks some live machine other than h until it is done or its patience is over.
func (s *simulation) insist(h *simHost, method, path string) bool {
	for end := time.Now().Add(insistence); time.Now().Before(end); time.Sleep(time.Second) {
		s.supervise()
		for _, o := range s.up() {
			if o != h && s.try(o, method, path) == nil {
				return true
			}
		}
	}
	return false
}

// outing is that a machine may be out of the cluster, and with it what it holds.
type outing struct {
	host      *simHost
	node      string          // what it was
	since, at int64           // when it began, and when that was noted, in the history
	elsewhere map[string]bool // at first, of other machines
	works     []*work
}

// out notes that what the machine holds may be gone from some time on, and what nobody
// knows the place of.
func (s *simulation) out(h *simHost, since int64) {
	elsewhere, node := s.elsewhere(h), s.nodeOf(h)
	s.mu.Lock()
	o := outing{h, node, since, s.history.now(), elsewhere, nil}
	if n := len(s.outs) - 1; n >= 0 && s.outs[n].host == h && s.outs[n].since == since {
		o.elsewhere = s.outs[n].elsewhere
	}
	s.reborn[h.name], s.anews[h.name] = true, time.Now()
	for _, w := range s.works {
		freed := w.gone && w.freed >= since && !o.elsewhere[w.id] // and its name with it, meanwhile
		if w.mayBeOn(h) && !elsewhere[w.id] && (!w.gone || freed) {
			w.out = true
			o.works = append(o.works, w)
		}
	}
	s.outs = append(s.outs, o)
	s.mu.Unlock()
	for _, w := range o.works {
		s.mayReturn(w, since)
	}
}

// mayBeOn says whether the container's port is not another machine's.
func (w *work) mayBeOn(h *simHost) bool {
	return w.port == "" || strings.HasSuffix(w.port, " of "+h.name)
}

// mayReturn notes that a container is lost from some time on with all that it holds, or has
// that again: on a machine that comes back it is an outsider.
func (s *simulation) mayReturn(w *work, since int64) {
	what := []string{w.port}
	for _, name := range strings.Split(w.name, " or ") {
		what = append(what, "name "+name)
	}
	s.history.add(-1, release, unheard, since, what...)
	s.history.add(-1, acquire, unheard, since, what...)
}

// heardLate is out for a container that was asked for before, and is heard of only now.
func (s *simulation) heardLate(w *work, asked int64) {
	s.mu.Lock()
	outs := slices.Clone(s.outs)
	s.mu.Unlock()
	for i, o := range outs {
		if o.at < asked || !w.mayBeOn(o.host) || s.elsewhere(o.host)[w.id] {
			continue
		}
		s.mu.Lock()
		w.out = true
		s.outs[i].works = append(s.outs[i].works, w)
		s.mu.Unlock()
		s.mayReturn(w, asked)
	}
}

// nodeOf returns the ID under which others know the machine; empty: they do not.
func (s *simulation) nodeOf(h *simHost) (id string) {
	for _, m := range s.up() {
		if a := m.inside(); a != nil && m != h {
			a.log.View(func(l *ledger.Ledger) {
				if n := l.NodeNamed(h.name); n != nil {
					id = n.Node
				}
			})
		}
	}
	return id
}

// stayed takes back what was thought of machines that are the nodes that they were.
func (s *simulation) stayed() {
	left := map[string]bool{}
	for _, o := range s.outs {
		now := o.host.inside().id.NodeID()
		left[o.host.name] = left[o.host.name] || o.node == "" || o.node != now
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.works {
		w.out = false
	}
	for _, o := range s.outs {
		for _, w := range o.works {
			w.out = w.out || left[o.host.name]
		}
		if !left[o.host.name] {
			delete(s.reborn, o.host.name)
			delete(s.anews, o.host.name)
		}
	}
}

// elsewhere returns the containers of other machines, as far as the others know.
func (s *simulation) elsewhere(h *simHost) map[string]bool {
	on := map[string]bool{}
	for _, m := range s.up() {
		a := m.inside()
		if m == h || a == nil {
			continue
		}
		a.log.View(func(l *ledger.Ledger) {
			for _, n := range l.Nodes() {
				for _, p := range l.Placed(n.Node) {
					if n.Name != h.name {
						on[p.Container] = true
					}
				}
			}
		})
	}
	return on
}

// loseDisk lets a machine be set up anew: its agent and all that it kept are gone, an
// administrator removes it, and it joins under its old name.
func (s *simulation) loseDisk(h *simHost) bool {
	h.kill()
	since := s.history.now()
	s.out(h, since)
	if !s.insist(h, http.MethodDelete, "/ddocker/nodes/"+h.name+"?force=1") {
		s.wake(h) // nobody leads: it is not so lost after all
		return false
	}
	s.out(h, since)
	s.anew(h)
	return true
}

// leave has a machine leave for good, and join again.
func (s *simulation) leave(h *simHost) bool {
	if h.alive() == nil {
		return false
	}
	since := s.history.now()
	s.out(h, since)
	s.try(h, http.MethodPost, "/ddocker/leave?force=1")
	select { // whatever the answer
	case <-h.ended:
	case <-time.After(10 * time.Second):
		return false // it stays
	}
	h.forget()
	s.out(h, since)
	if _, err := os.Stat(filepath.Join(h.data, fileParted)); err == nil {
		s.anew(h)
	} else {
		s.wake(h)
	}
	return true
}

// join brings a machine more.
func (s *simulation) join() {
	h := s.more()
	s.mu.Lock()
	s.late = append(s.late, h)
	s.mu.Unlock()
	s.anew(h)
}

// anew lets a machine without a past join the cluster.
func (s *simulation) anew(h *simHost) {
	h.gone()
	h.bare = true
	os.RemoveAll(h.data)
	h.stores = consensus.NewStoresOn(h.disk)
	var reply struct{ Token string }
	for end := time.Now().Add(insistence); time.Now().Before(end); time.Sleep(time.Second) {
		s.supervise()
		for _, o := range s.up() {
			if o != h && o.post("/ddocker/tokens", &reply) == nil {
				s.note(-1, "%s joins by %s", h.name, o.name)
				s.born(h)
				h.start(joining(o.host, reply.Token))
				return
			}
		}
	}
	s.note(-1, "%s finds nobody to join yet", h.name)
}
