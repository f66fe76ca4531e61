package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ddocker/crash"
)

// way is one way of which machines die at every step. It is gone by one machine, which is
// asked, for another or for itself.
type way struct {
	machines int
	// commands is how many become known on it.
	commands int
	// begin makes what is there before anybody dies; nil: nothing.
	begin func(m *matrix)
	// ready makes what this passage needs, before steps count; nil: nothing.
	ready func(m *matrix, p passage)
	// walk goes the way once, as a client has it gone, and says what it was told.
	walk func(m *matrix, p passage) error
	// apart are the steps that are reached only where the one that is asked is not the holder.
	apart []crash.Step
}

// passage is one go of a way.
type passage struct {
	step  crash.Step
	nth   int
	name  string // of what is made
	by    *host  // is asked
	on    *host  // holds or receives it
	again bool   // the client has tried before
}

// matrix is a world in which one machine after another dies at a step.
type matrix struct {
	*world
	way
	made   map[string]string // acknowledged containers
	images map[string]string // acknowledged images
	gone   map[string]string // names of containers whose removal was acknowledged, by ID
	doomed string            // the container that is to be removed
	undone []passage         // of which the client was told nothing good
	run    map[string]string // when each bystander has started, by name
}

// ways are those of containers and images, by the first word of their steps.
func ways() map[string]way {
	return map[string]way{
		"create": {machines: 3, commands: 2, ready: (*matrix).readyCreate, walk: (*matrix).create, apart: []crash.Step{crash.CreateUnreached, crash.CreateUnreserved}},
		"rm":     {machines: 3, commands: 1, ready: (*matrix).readyRemove, walk: (*matrix).remove},
		"commit": {machines: 3, commands: 2, begin: (*matrix).beginCommit, walk: (*matrix).commit},
		"image":  {machines: 3, commands: 2, begin: (*matrix).beginCommit, ready: (*matrix).readyImage, walk: (*matrix).createFrom},
	}
}

// steps returns the steps of a way: its own, and those of any command.
func steps(way string) (own []crash.Step) {
	for _, s := range crash.Steps() {
		if first, _, _ := strings.Cut(string(s), "."); first == way || first == "log" {
			own = append(own, s)
		}
	}
	return own
}

func TestWhateverDiesAtWhicheverStepNothingIsLostAndNothingLeft(t *testing.T) {
	t.Parallel()
	for name, of := range ways() {
		t.Run(name, func(t *testing.T) {
			inWorld(t, of.machines, func(t *testing.T, w *world) {
				for _, h := range w.hosts {
					h.plug(cards(h, 24)...)
				}
				m := newMatrix(w, false)
				m.way = of
				if of.begin != nil {
					of.begin(m)
				}
				for i, step := range steps(name) {
					times := 1
					if strings.HasPrefix(string(step), "log.") {
						times = of.commands
					}
					for nth := range times {
						on := m.hosts[(i+nth+1)%3]
						m.die(passage{step: step, nth: nth + 1, by: m.hosts[(i+nth)%3], on: on})
						if !slices.Contains(of.apart, step) {
							m.die(passage{step: step, nth: nth + 1, by: on, on: on})
						}
					}
				}
				m.end()
			})
		})
	}
}

func cards(h *host, n int) (uuids []string) {
	for i := range n {
		uuids = append(uuids, fmt.Sprintf("GPU-%s-%d", h.name, i))
	}
	return uuids
}

func newMatrix(w *world, outside bool) *matrix {
	m := &matrix{world: w, made: map[string]string{}, images: map[string]string{}, gone: map[string]string{}, run: map[string]string{}}
	w.found()
	m.bystanders(outside)
	return m
}

// bystanders are containers that nobody touches, of the cluster or made beside it.
func (m *matrix) bystanders(outside bool) {
	for _, h := range m.hosts {
		name := "bystander-" + h.name
		if outside {
			h.outsider(name, "", "")
		} else {
			m.made[name] = m.hosts[0].mustRun(wanted{name: name, on: h.name, ports: 1})
		}
		m.run[name] = m.since(h, name)
	}
}

// since returns when the container has started, empty if it does not run.
func (m *matrix) since(h *host, name string) string {
	c, err := h.engine().ContainerInspect(m.soon(), name)
	if err != nil || !c.State.Running {
		return ""
	}
	return c.State.StartedAt
}

// patience is how long a step may take to be reached, and away how long a machine is off.
const (
	patience = 30 * time.Second
	away     = 1500 * time.Millisecond
)

// die has one machine die in one passage, and come back.
func (m *matrix) die(p passage) {
	p.name = fmt.Sprintf("%s-%d-by-%s-on-%s", strings.ReplaceAll(string(p.step), ".", "-"), p.nth, p.by.name, p.on.name)
	if m.ready != nil {
		m.ready(m, p)
	}
	dead := m.crashAt(p.step, p.nth, m.hosts...)
	told := make(chan error, 1)
	go func() { told <- m.walk(m, p) }()
	select {
	case h := <-dead:
		time.Sleep(away)
		h.start()
	case <-time.After(patience):
		m.t.Errorf("no machine comes to %s by %s on %s the time no. %d", p.step, p.by.name, p.on.name, p.nth)
	}
	err := <-told
	for _, h := range m.hosts {
		h.arm(nil)
		if !h.isUp() {
			h.start() // it was down for the passage
		}
	}
	m.whole()
	if err == nil {
		return
	}
	m.logs.note("%s: %v", p.name, err)
	p.again = true
	if err := m.walk(m, p); err != nil {
		m.logs.note("%s tried again: %v", p.name, err)
		m.undone = append(m.undone, p)
	}
}

// end has the clients try until they have what they wanted, and judges.
func (m *matrix) end() {
	time.Sleep(150 * time.Second)
	for _, p := range m.undone {
		if err := m.walk(m, p); err != nil {
			m.t.Errorf("%s is never done: %v", p.name, err)
		}
	}
	time.Sleep(90 * time.Second)
	m.whole()
	m.judge(m.made)
	m.judgeImages(m.images, nil)
	m.judgeRest()
}

// judgeRest says what the other judges do not look at: who was removed and is there, who
// ran and does not, and what is left on the disks.
func (m *matrix) judgeRest() {
	for id, name := range m.gone {
		for _, h := range m.hosts {
			if _, err := h.engine().ContainerInspect(m.soon(), id); err == nil {
				m.t.Errorf("%s was removed, and is on %s", name, h.name)
			}
		}
	}
	for _, h := range m.hosts {
		name := "bystander-" + h.name
		if now := m.since(h, name); now != m.run[name] {
			m.t.Errorf("%s ran since %s, now it is %q", name, m.run[name], now)
		}
		for _, left := range remains(h.data) {
			m.t.Errorf("on the disk of %s is left: %s", h.name, left)
		}
	}
}

// remains tells of what is half written in a data directory.
func remains(dir string) (left []string) {
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		base := filepath.Base(path)
		switch text, _ := os.ReadFile(path); {
		case err != nil || d.IsDir():
		case strings.HasSuffix(base, ".new"), strings.HasPrefix(base, "."), halfWritten.MatchString(base):
			left = append(left, path)
		case filepath.Base(filepath.Dir(path)) == dirImages && strings.Contains(string(text), `"loading":true`):
			left = append(left, path+": "+string(text))
		}
		return nil
	})
	return left
}

// halfWritten is how files are called before they are in their place.
var halfWritten = regexp.MustCompile(`\.[0-9]{6,}$`)
