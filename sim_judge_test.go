package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"

	"ddocker/consensus/ledger"
	"ddocker/engine"
	"ddocker/sched"
)

const (
	// agreeWithin is how soon after the last fault all machines see the same.
	agreeWithin = time.Minute
	// leftWithin is how long what a crash left may stay.
	leftWithin = time.Minute
	// settledWithin is how long the half-made may stay: what an engine that was slow may
	// still bring is waited for.
	settledWithin = 200 * time.Second
	// agreeFor is how long they have to agree then. What one thought of another before all
	// was mended may still come out, and an agent end that had no room for its log.
	agreeFor = 5 * time.Second
	// startWithin is how long an agent may take until it serves clients.
	startWithin = 5 * time.Second
	// listWithin is how long a list may take, whoever does not answer.
	listWithin = 1100 * time.Millisecond
)

// heal ends all faults, waits until the cluster is whole, and says whether it is.
func (s *simulation) heal() bool {
	s.note(-1, "all is mended")
	began := time.Now()
	s.net.Heal()
	s.setWeather(weather{Delay: 200 * time.Microsecond, Jitter: 500 * time.Microsecond})
	for _, m := range s.everyone() {
		m.arm(nil)
		m.disk.Fill(false)
		m.disk.SetClock(0)
		m.twin.Unhang()
		s.slow(m, 0)
		s.wake(m)
	}
	for _, name := range s.drains {
		s.insist(nil, http.MethodPost, "/ddocker/nodes/"+name+"/activate")
	}
	since := time.Now()
	for now := began; now.Sub(since) < agreeFor; now = time.Now() {
		if now.Sub(began) > 5*time.Minute {
			s.wrong("the machines do not agree five minutes after the last fault\n%s", s)
			return false
		}
		for _, m := range s.everyone() {
			s.wake(m) // it may have ended, because there is room again
		}
		if !s.agreed() {
			since = time.Now().Add(time.Second) // when it is looked again
		}
		time.Sleep(time.Second)
	}
	took := since.Sub(began)
	s.note(-1, "they agree after %v", took)
	s.outcome.Agree = took.Seconds()
	if took > agreeWithin {
		s.wrong("they agree %v after the last fault", took)
	}
	return true
}

// agreed says whether all machines are up, know each other, hold the same ledger and list
// the same containers, none of which is unreachable.
func (s *simulation) agreed() bool {
	all := s.everyone()
	s.hosts = s.hosts[:0]
	for _, m := range all {
		s.hosts = append(s.hosts, m.host)
	}
	if slices.ContainsFunc(all, func(m *simHost) bool { return m.alive() == nil }) {
		return false
	}
	for _, m := range all {
		if !m.agrees(len(all)) {
			return false
		}
	}
	var first string
	for i, m := range all {
		rows, err := m.docker().ContainerList(s.soon(), container.ListOptions{All: true})
		if err != nil {
			return false
		}
		var lines []string
		for _, r := range rows {
			if r.State == "unreachable" {
				return false
			}
			lines = append(lines, fmt.Sprint(r.ID, r.Names, r.State))
		}
		slices.Sort(lines)
		if i == 0 {
			first = fmt.Sprint(lines)
		} else if fmt.Sprint(lines) != first {
			return false
		}
	}
	return true
}

// judgeAll waits until nothing is half-made, and says what is wrong.
func (s *simulation) judgeAll() {
	s.stayed()
	s.countLies()
	began := time.Now()
	wrong := s.left()
	for ; len(wrong) > 0 && time.Since(began) < settledWithin; wrong = s.left() {
		if late := slices.DeleteFunc(slices.Clone(wrong), waitedFor); time.Since(began) > leftWithin && len(late) > 0 {
			wrong = late
			break
		}
		time.Sleep(5 * time.Second)
	}
	s.outcome.Orphans = time.Since(began).Seconds()
	for _, w := range slices.Concat(wrong, s.history.judge(), s.judgeWorks()) {
		s.wrong("%s", w)
	}
	for end := time.Now().Add(10 * time.Second); s.differ() != "" && time.Now().Before(end); {
		time.Sleep(200 * time.Millisecond) // something is still on its way
	}
	if differ := s.differ(); differ != "" {
		s.wrong("%s", differ)
	}
	for _, w := range slices.Concat(s.violations(), s.wrongCores()) {
		s.wrong("%s", w)
	}
	s.outcome.Created = len(s.works)
}

// differ names two machines whose ledgers are not the same byte by byte, or none.
func (s *simulation) differ() string {
	first := s.hosts[0].replica()
	for _, h := range s.hosts[1:] {
		if string(h.replica()) != string(first) {
			return fmt.Sprintf("the ledger of %s is not that of %s", h.name, s.hosts[0].name)
		}
	}
	return ""
}

// left says what is held twice, or by nobody, or is there without being held, of
// containers and images.
func (s *simulation) left() []string {
	placed := s.hosts[0].placements()
	removed := s.noImages
	if len(s.reborn) > 0 {
		removed = nil // who joins brings the names of its images along
	}
	return slices.Concat(doubles(placed), s.astray(placed, s.excused()), s.wrongImages(s.images, removed, s.anews), s.halfLeft())
}

// waitedFor says whether what is wrong is only that an answer is still waited for: of an engine
// that makes something, or of a log that may still have a name.
func waitedFor(wrong string) bool {
	return strings.HasSuffix(wrong, " is reserved and was never made") || strings.Contains(wrong, engine.LabelProbe) ||
		strings.HasPrefix(wrong, "image ") && strings.Contains(wrong, ` is "", of which `) ||
		strings.HasPrefix(wrong, "the engine of ") && strings.Contains(wrong, " calls ")
}

// glance looks at the ledgers of all agents: whatever they know by now, nothing in it is
// given twice.
func (s *simulation) glance() {
	for _, m := range s.up() {
		a := m.inside()
		if a == nil {
			continue
		}
		for _, w := range doubles(placedBy(a)) {
			s.wrong("in the ledger of %s %s", m.name, w)
		}
	}
}

// halfLeft names the machines that take nothing or are not to vote: nobody wants that, so
// they have not left after all, and it was not undone. Nor is any card to be out of order.
func (s *simulation) halfLeft() (wrong []string) {
	s.hosts[0].inside().log.View(func(l *ledger.Ledger) {
		for _, n := range l.Nodes() {
			if n.Drained != "" || n.Vote != "" {
				wrong = append(wrong, fmt.Sprintf("%s is drained by %q, and its vote is %q", n.Name, n.Drained, n.Vote))
			}
			for _, c := range n.Observed.Cards {
				wrong = append(wrong, fmt.Sprintf("on %s card %s is %s", n.Name, c.UUID, c.Why))
			}
		}
	})
	return wrong
}

// excused returns the containers of machines that were set up anew or have left and come
// back: they are outsiders now, and known as such.
func (s *simulation) excused() map[string]bool {
	known := map[string]bool{}
	s.hosts[0].inside().log.View(func(l *ledger.Ledger) {
		for _, n := range l.Nodes() {
			for _, c := range n.Observed.Containers {
				known[c.ID] = s.reborn[n.Name]
			}
		}
	})
	return known
}

// wrongCores names the cores that one container was granted alone and another may run on.
func (s *simulation) wrongCores() (wrong []string) {
	for _, h := range s.hosts {
		alone := map[int]*ledger.Placement{}
		s.hosts[0].inside().log.View(func(l *ledger.Ledger) {
			n := l.NodeNamed(h.name)
			if n == nil {
				return // which was said
			}
			for _, p := range l.Placed(n.Node) {
				for _, core := range p.Grant.Cores.List() {
					alone[core] = p
				}
			}
		})
		rows, err := h.engine().ContainerList(s.soon(), container.ListOptions{})
		if err != nil {
			s.wrong("ps of the engine of %s: %v", h.name, err)
		}
		for _, r := range rows {
			in, err := h.engine().ContainerInspect(s.soon(), r.ID)
			if err != nil || in.HostConfig.CpusetCpus == "" {
				continue
			}
			cores, err := sched.ParseCPUSet(in.HostConfig.CpusetCpus)
			if err != nil {
				s.wrong("%s runs on cores %s: %v", in.Name, in.HostConfig.CpusetCpus, err)
			}
			for _, core := range cores.List() {
				if p := alone[core]; p != nil && p.Container != r.ID {
					wrong = append(wrong, fmt.Sprintf("%s runs on core %d of %s, which is %s's alone", in.Name, core, h.name, p.Name))
				}
			}
		}
	}
	return wrong
}

// judgeWorks holds what clients were told to what is there.
func (s *simulation) judgeWorks() (wrong []string) {
	held, lost := map[string]string{}, s.losts()
	for _, p := range s.hosts[0].placements() {
		held[p.Container] = p.Name
	}
	for _, w := range s.works {
		name, there := held[w.id]
		switch {
		case w.gone && there:
			wrong = append(wrong, fmt.Sprintf("%s (%.12s) was removed, and is held", w.name, w.id))
		case w.going || w.gone:
		case w.out && !there && !lost[w.id] && !lost[w.name] && len(s.having(w.id)) == 0:
			wrong = append(wrong, fmt.Sprintf("%s (%.12s) was acknowledged, its machine was out of the cluster, and it is nowhere", w.name, w.id))
		case w.out:
		case !there && !lost[w.id] && !lost[w.name]:
			wrong = append(wrong, fmt.Sprintf("%s (%.12s) was acknowledged, and is not held: %s", w.name, w.id, strings.Join(append(s.having(w.id), "no other engine has it"), ", ")))
		case there && !slices.Contains(strings.Split(w.name, " or "), name):
			wrong = append(wrong, fmt.Sprintf("%s (%.12s) is called %s", w.name, w.id, name))
		}
		if there && (w.running != "" || w.halted) && !w.going && !w.out {
			wrong = append(wrong, s.judgeLife(w)...)
		}
	}
	return wrong
}

// having says which engines have a container.
func (s *simulation) having(id string) (has []string) {
	for _, h := range s.hosts {
		if in, err := h.engine().ContainerInspect(s.soon(), id); err == nil {
			has = append(has, h.name+" has it "+in.State.Status)
		}
	}
	return has
}

// countLies notes those that were told.
func (s *simulation) countLies() {
	rest := 0
	for _, m := range s.machines {
		rest += m.twin.Lies()
	}
	for i := range s.plan.Faults {
		if f := &s.plan.Faults[i]; f.Kind == lying {
			if rest--; rest < 0 {
				s.took(f)
			}
		}
	}
}

// judgeLife says whether a container that nobody stopped ran all the time.
func (s *simulation) judgeLife(w *work) []string {
	in, err := s.hosts[0].docker().ContainerInspect(s.soon(), w.id)
	switch {
	case err != nil:
		return []string{fmt.Sprintf("inspect %s: %v", w.name, err)}
	case w.halted && in.State.Running:
		return []string{fmt.Sprintf("%s was stopped, was started by nobody, and runs", w.name)}
	case w.halted:
		return nil
	case !in.State.Running:
		return []string{fmt.Sprintf("%s ran since %s, was stopped by nobody, and is %s", w.name, w.running, in.State.Status)}
	case in.State.StartedAt != w.running:
		return []string{fmt.Sprintf("%s ran since %s, and was started again at %s by nobody", w.name, w.running, in.State.StartedAt)}
	}
	return nil
}

// losts returns the containers that are listed as lost, by name those of which the ledger
// has no ID.
func (s *simulation) losts() map[string]bool {
	rows, err := s.hosts[0].docker().ContainerList(s.soon(), container.ListOptions{All: true})
	if err != nil {
		s.wrong("ps after all: %v", err)
	}
	lost := map[string]bool{}
	for _, r := range rows {
		if r.State == "lost" {
			lost[r.ID] = true
			if strings.HasSuffix(r.Status, "may not have been made") {
				lost[strings.TrimPrefix(r.Names[0], "/")] = true
			}
		}
	}
	return lost
}
