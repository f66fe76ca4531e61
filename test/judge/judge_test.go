package judge

import (
	"slices"
	"strings"
	"testing"
)

// Each thing that the judge is there for is found, and found alone.
func TestTheJudgeFinds(t *testing.T) {
	fine := func() ([]Placement, map[string]Container) {
		return []Placement{
				{ID: "p1", Host: "h1", Name: "a", Container: "c1", Cores: []int{0}, Ports: []string{"25000/tcp"}, GPUs: []string{"GPU-1"}},
				{ID: "p2", Host: "h1", Name: "b", Container: "c2", Cores: []int{1}, Ports: []string{"25001/tcp"}, GPUs: []string{"GPU-2"}},
			}, map[string]Container{
				"c1": {ID: "c1", Name: "a", Host: "h1", Placement: "p1", Running: true, Process: 7, Cores: "0", Ports: []string{"25000/tcp"}},
				"c2": {ID: "c2", Name: "b", Host: "h1", Placement: "p2", Running: true, Process: 8, Cores: "1", Ports: []string{"25001/tcp"}},
				"c3": {ID: "c3", Name: "outsider", Host: "h1", Running: true, Process: 9, Ports: []string{"25001/tcp"}},
			}
	}
	for _, test := range []struct {
		name   string
		damage func(p []Placement, c map[string]Container) []Placement
		finds  string
	}{
		{"nothing", func(p []Placement, _ map[string]Container) []Placement { return p }, ""},
		{"a name twice", func(p []Placement, c map[string]Container) []Placement {
			p[1].Name = "a"
			c["c2"] = Container{ID: "c2", Name: "a", Host: "h1", Placement: "p2", Running: true, Process: 8, Cores: "1", Ports: []string{"25001/tcp"}}
			return p
		}, "the name a is held by p1 and by p2"},
		{"a port twice", func(p []Placement, _ map[string]Container) []Placement {
			p[1].Ports = append(p[1].Ports, "25000/tcp")
			return p
		}, "port 25000/tcp of h1 is held by a and by b"},
		{"a core twice", func(p []Placement, c map[string]Container) []Placement {
			p[1].Cores = p[0].Cores
			return p
		}, "core 0 of h1 is held by a and by b"},
		{"a card twice", func(p []Placement, _ map[string]Container) []Placement { p[1].GPUs = p[0].GPUs; return p }, "GPU GPU-1 is held"},
		{"a reservation that was forgotten", func(p []Placement, _ map[string]Container) []Placement {
			return append(p, Placement{ID: "p3", Host: "h2", Name: "c"})
		}, "c is reserved on h2 and was never made"},
		{"a placement without a container", func(p []Placement, c map[string]Container) []Placement { delete(c, "c2"); return p }, "b is held on h1 for a container that is gone"},
		{"a container without a placement", func(p []Placement, _ map[string]Container) []Placement { return p[:1] }, "has b of placement p2"},
		{"a container with another's port", func(p []Placement, c map[string]Container) []Placement {
			c["c2"] = Container{ID: "c2", Name: "b", Host: "h1", Placement: "p2", Cores: "1", Ports: []string{"25000/tcp"}}
			return p
		}, "b was given ports"},
		{"a container on another's core", func(p []Placement, c map[string]Container) []Placement {
			c["c2"] = Container{ID: "c2", Name: "b", Host: "h1", Placement: "p2", Cores: "0-1", Ports: []string{"25001/tcp"}}
			return p
		}, "b was given cores [1]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, c := fine()
			p = test.damage(p, c)
			wrong := slices.Concat(Books{Placements: p}.twice(), twiceIn(c), astray(p, c))
			if test.finds == "" && len(wrong) == 0 {
				return
			}
			if test.finds == "" || !strings.Contains(strings.Join(wrong, "\n"), test.finds) {
				t.Errorf("found %q, want %q", wrong, test.finds)
			}
		})
	}
}

func TestTheJudgeFindsWhatWasTouchedOrLost(t *testing.T) {
	ran := Container{ID: "c1", Name: "a", Host: "h1", Running: true, Process: 7, Started: "then"}
	again := ran
	again.Process, again.Started = 8, "now"
	ended := ran
	ended.Running = false
	for name, test := range map[string]struct {
		now   map[string]Container
		finds int
	}{
		"it runs on":     {map[string]Container{"c1": ran}, 0},
		"it was started": {map[string]Container{"c1": again}, 1},
		"it has ended":   {map[string]Container{"c1": ended}, 1},
		"it is gone":     {nil, 1},
	} {
		if wrong := Touched(map[string]Container{"c1": ran}, test.now); len(wrong) != test.finds {
			t.Errorf("%s: %q", name, wrong)
		}
	}
	if wrong := Missing(map[string]string{"a": "c1"}, map[string]Container{"c1": ran}); len(wrong) != 0 {
		t.Errorf("what is there is missing: %q", wrong)
	}
	if wrong := Missing(map[string]string{"a": "c2", "b": "c1"}, map[string]Container{"c1": ran}); len(wrong) != 2 {
		t.Errorf("of two that are missing: %q", wrong)
	}
}
