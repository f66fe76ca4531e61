package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
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
