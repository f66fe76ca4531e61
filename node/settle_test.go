package node

import (
	"fmt"
	"testing"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/engine"
)

// words writes steps down as "verb subject".
func words(steps []step) []string {
	list := []string{}
	for _, s := range steps {
		switch {
		case s.remove != "":
			list = append(list, "remove "+s.remove)
		case s.command.Confirm != nil:
			list = append(list, fmt.Sprintf("confirm %s=%s", s.command.Confirm.Placement, s.command.Confirm.Container))
		case s.command.Rename != nil:
			list = append(list, fmt.Sprintf("rename %s=%s", s.command.Rename.Placement, s.command.Rename.Name))
		case s.command.Release != nil && s.command.Release.Expired:
			list = append(list, "expire "+s.command.Release.Placement)
		case s.command.Release != nil:
			list = append(list, "release "+s.command.Release.Placement)
		}
	}
	return list
}

func TestSettle(t *testing.T) {
	reserved := &ledger.Placement{ID: "p1", Name: "web"}
	made := &ledger.Placement{ID: "p1", Name: "web", Container: "c1"}
	box := engine.Container{ID: "c1", Name: "web", Placement: "p1"}
	running := func(c engine.Container) engine.Container { c.Running = true; return c }
	named := func(name string, c engine.Container) engine.Container { c.Name = name; return c }
	p1 := map[string]bool{"p1": true}
	for _, c := range []struct {
		name                 string
		placed               *ledger.Placement
		list                 []engine.Container
		open, fresh, expired map[string]bool
		steps                []string
		outsiders            []string
	}{
		{name: "what agrees is left alone", placed: made, list: []engine.Container{box}},
		{name: "a container that was made but not confirmed is confirmed", placed: reserved, list: []engine.Container{box}, steps: []string{"confirm p1=c1"}},
		{name: "while its create is open, its caller confirms it", placed: reserved, list: []engine.Container{box}, open: p1},
		{name: "nobody else does, and that waits for no grace", placed: reserved, list: []engine.Container{box}, fresh: p1, steps: []string{"confirm p1=c1"}},
		{name: "a container that has gone is released", placed: made, steps: []string{"release p1"}},
		{name: "a reservation whose grace is over expires", placed: reserved, steps: []string{"expire p1"}},
		{name: "a reservation within its grace stays", placed: reserved, fresh: p1},
		{name: "so does one whose create is open", placed: reserved, open: p1},
		{name: "a container that came too late is removed", list: []engine.Container{box}, expired: p1, steps: []string{"remove c1"}},
		{name: "unless somebody has started it", list: []engine.Container{running(box)}, expired: p1, outsiders: []string{"c1"}},
		{name: "a container without a placement is somebody's work", list: []engine.Container{box}, outsiders: []string{"c1"}},
		{name: "a container made with plain docker is", list: []engine.Container{{ID: "c2", Name: "db"}}, outsiders: []string{"c2"}},
		{name: "a container renamed on its host keeps its placement", placed: made, list: []engine.Container{named("www", box)}, steps: []string{"rename p1=www"}},
		{name: "not while a call about it is open", placed: made, list: []engine.Container{named("www", box)}, open: p1},
		{
			name: "a container of a committed image has another's label and is an outsider", placed: made,
			list: []engine.Container{box, {ID: "c2", Name: "copy", Placement: "p1"}}, outsiders: []string{"c2"},
		},
		{
			name: "also while the other waits to be confirmed", placed: reserved,
			list: []engine.Container{{ID: "c2", Name: "copy", Placement: "p1"}, box}, steps: []string{"confirm p1=c1"}, outsiders: []string{"c2"},
		},
		{
			name: "also when the other has gone", placed: made,
			list: []engine.Container{{ID: "c2", Name: "copy", Placement: "p1"}}, steps: []string{"release p1"}, outsiders: []string{"c2"},
		},
		{
			name: "a container renamed before it was confirmed is never taken for a late one", placed: reserved,
			list: []engine.Container{named("www", box)}, steps: []string{"release p1"}, outsiders: []string{"c1"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var placed []*ledger.Placement
			if c.placed != nil {
				placed = append(placed, c.placed)
			}
			steps, outsiders := settle(placed, c.list, c.open, c.fresh, c.expired)
			got := []string{}
			for _, o := range outsiders {
				got = append(got, o.ID)
			}
			wantList(t, "steps", words(steps), c.steps...)
			wantList(t, "outsiders", got, c.outsiders...)
		})
	}
}

// A grace begins when a reservation is first seen without an open create, and is
// longer for what an earlier life of the agent may have begun.
func TestGraces(t *testing.T) {
	reserved := []*ledger.Placement{{ID: "p1", Name: "web"}}
	start := time.Now()
	open := map[string]*call{"p1": {}}
	type look struct {
		after  time.Duration // since the first look
		open   bool
		placed bool
		held   bool
	}
	for _, c := range []struct {
		name  string
		fresh bool // the agent has looked before, and saw nothing
		looks []look
	}{
		{"a new reservation has half a minute", true, []look{{0, false, true, true}, {grace - 1, false, true, true}, {grace, false, true, false}}},
		{"one from an earlier life has two", false, []look{{0, false, true, true}, {inheritedGrace - 1, false, true, true}, {inheritedGrace, false, true, false}}},
		{"an open create is waited for as long as it takes", true, []look{{0, true, true, true}, {time.Hour, true, true, true}}},
		{"the grace begins when the create is seen to have ended", true, []look{
			{0, true, true, true}, {59 * time.Second, false, true, true}, {59*time.Second + grace - 1, false, true, true}, {59*time.Second + grace, false, true, false},
		}},
		{"a create of this life is not inherited", false, []look{{0, true, true, true}, {time.Second, false, true, true}, {time.Second + grace, false, true, false}}},
		{"a reservation that has gone is forgotten", true, []look{{0, false, true, true}, {grace - 1, false, false, false}, {grace, false, true, true}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := New(Config{})
			if c.fresh {
				n.openOrFresh(nil, start)
			}
			for i, l := range c.looks {
				n.creating = map[string]*call{}
				if l.open {
					n.creating = open
				}
				var placed []*ledger.Placement
				if l.placed {
					placed = reserved
				}
				open, fresh := n.openOrFresh(placed, start.Add(l.after))
				if got := open["p1"] || fresh["p1"]; got != l.held {
					t.Errorf("look %d, after %v: held is %v, want %v", i, l.after, got, l.held)
				}
			}
		})
	}
}

func TestAGraceBeginsAnewWithTheEndOfACreate(t *testing.T) {
	reserved := []*ledger.Placement{{ID: "p1", Name: "web"}}
	n, start := New(Config{}), time.Now()
	n.openOrFresh(nil, start)
	n.openOrFresh(reserved, start)
	if _, _, err := n.once(t.Context(), n.creating, "p1", func() (int, []byte, error) { return statusCreated, nil, nil }); err != nil {
		t.Fatal(err)
	}
	if _, fresh := n.openOrFresh(reserved, start.Add(time.Hour)); !fresh["p1"] {
		t.Error("a container that may have landed since the engine was asked is none")
	}
	if _, fresh := n.openOrFresh(reserved, start.Add(time.Hour+grace)); fresh["p1"] {
		t.Error("a reservation without a container is held for ever")
	}
}

func TestConfirmedPlacementIsHeldOnlyByAnOpenCall(t *testing.T) {
	n := New(Config{})
	placed := []*ledger.Placement{{ID: "p1", Container: "c1"}, {ID: "p2", Container: "c2"}}
	n.creating = map[string]*call{"p1": {}}
	open, fresh := n.openOrFresh(placed, time.Now())
	if !open["p1"] || open["p2"] || len(fresh) > 0 {
		t.Errorf("open are %v, fresh %v", open, fresh)
	}
}
