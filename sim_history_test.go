package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// The history of what may be held by one at a time: names, and ports of hosts. Of a
// request whose answer was lost, or was none of those below, nobody knows whether and
// when it took effect.
type (
	holdingVerb string
	holdingSaid string
	holdingAsk  struct {
		what string // "name web", "port 9000 of n1"
		verb holdingVerb
	}
	holdingState struct {
		held   bool
		ghosts bool // somebody of whom nothing was heard may have it, or have had it
	}
)

const (
	acquire holdingVerb = "acquire"
	release holdingVerb = "release"

	granted holdingSaid = "granted"
	denied  holdingSaid = "denied" // acquire: it is taken; release: nobody has it
	unheard holdingSaid = "unheard"
)

// holdings is a history under way.
type holdings struct {
	began time.Time

	mu  sync.Mutex // guards all
	all []porcupine.Operation
}

// now is the time in the history.
func (h *holdings) now() int64 { return int64(time.Since(h.began)) }

func (h *holdings) add(client int, verb holdingVerb, said holdingSaid, call int64, what ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	end := h.now()
	if said == unheard {
		end = math.MaxInt64
	}
	for _, w := range what {
		if w != "" {
			h.all = append(h.all, porcupine.Operation{ClientId: client, Input: holdingAsk{w, verb}, Output: said, Call: call, Return: end})
		}
	}
}

func ofHoldings() porcupine.Model {
	m := porcupine.NondeterministicModel{
		Partition: func(all []porcupine.Operation) (parts [][]porcupine.Operation) {
			of := map[string][]porcupine.Operation{}
			for _, o := range all {
				what := o.Input.(holdingAsk).what
				of[what] = append(of[what], o)
			}
			for _, part := range of {
				parts = append(parts, part)
			}
			return parts
		},
		Init: func() []any { return []any{holdingState{}} },
		Step: func(state, input, output any) []any {
			return stepHolding(state.(holdingState), input.(holdingAsk).verb, output.(holdingSaid))
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprint(input, " ", output) },
	}
	return m.ToModel()
}

func stepHolding(s holdingState, verb holdingVerb, said holdingSaid) []any {
	switch {
	case said == unheard && verb == acquire:
		return []any{holdingState{s.held, true}}
	case said == unheard:
		return []any{s, holdingState{false, s.ghosts}}
	case said == granted && verb == acquire && !s.held:
		return []any{holdingState{true, s.ghosts}}
	case said == granted && verb == release && (s.held || s.ghosts):
		return []any{holdingState{false, s.ghosts}}
	case said == denied && verb == acquire && (s.held || s.ghosts), said == denied && verb == release && !s.held:
		return []any{s}
	}
	return nil
}

// judge says what could not have happened one after another.
func (h *holdings) judge() (wrong []string) {
	result := porcupine.CheckOperationsTimeout(ofHoldings(), h.all, 20*time.Second)
	if result == porcupine.Ok {
		return nil
	}
	for _, part := range ofHoldings().Partition(h.all) {
		if porcupine.CheckOperations(ofHoldings(), part) {
			continue
		}
		slices.SortFunc(part, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
		var lines []string
		for _, o := range part {
			lines = append(lines, fmt.Sprintf("client %d %s %s from %v to %v", o.ClientId, o.Input.(holdingAsk).verb, o.Output,
				time.Duration(o.Call), time.Duration(o.Return)))
		}
		wrong = append(wrong, part[0].Input.(holdingAsk).what+" was held by two, or refused while it was free:\n\t"+strings.Join(lines, "\n\t"))
	}
	if len(wrong) == 0 {
		wrong = append(wrong, fmt.Sprintf("the history of %d operations is %v", len(h.all), result))
	}
	return wrong
}

// What the history is judged by can fail: each of these could not have happened.
func TestHistoriesOfHoldings(t *testing.T) {
	type op struct {
		verb      holdingVerb
		said      holdingSaid
		call, end int64
	}
	for name, c := range map[string]struct {
		ops   []op
		wrong bool
	}{
		"one after another":               {[]op{{acquire, granted, 0, 1}, {release, granted, 2, 3}, {acquire, granted, 4, 5}}, false},
		"granted twice":                   {[]op{{acquire, granted, 0, 1}, {acquire, granted, 2, 3}}, true},
		"granted twice at once":           {[]op{{acquire, granted, 0, 3}, {acquire, granted, 1, 2}}, true},
		"freed meanwhile":                 {[]op{{acquire, granted, 0, 1}, {acquire, granted, 2, 5}, {release, granted, 3, 4}}, false},
		"freed too late":                  {[]op{{acquire, granted, 0, 1}, {acquire, granted, 2, 3}, {release, granted, 4, 5}}, true},
		"refused while it was free":       {[]op{{acquire, denied, 0, 1}}, true},
		"refused while it was held":       {[]op{{acquire, granted, 0, 1}, {acquire, denied, 2, 3}}, false},
		"refused over one never heard of": {[]op{{acquire, unheard, 0, math.MaxInt64}, {acquire, denied, 2, 3}}, false},
		"released, perhaps":               {[]op{{acquire, granted, 0, 1}, {release, unheard, 2, math.MaxInt64}, {acquire, granted, 3, 4}}, false},
		"released later, perhaps":         {[]op{{acquire, granted, 0, 1}, {acquire, granted, 3, 4}, {release, unheard, 5, math.MaxInt64}}, true},
		"nobody has it, but somebody":     {[]op{{acquire, granted, 0, 1}, {release, denied, 2, 3}}, true},
	} {
		h := holdings{}
		for i, o := range c.ops {
			h.all = append(h.all, porcupine.Operation{ClientId: i, Input: holdingAsk{"name web", o.verb}, Output: o.said, Call: o.call, Return: o.end})
		}
		if wrong := h.judge(); len(wrong) > 0 != c.wrong {
			t.Errorf("%s: it says %q", name, wrong)
		}
	}
}
