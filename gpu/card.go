// Package gpu says which NVIDIA cards this host has and what they do.
//
//	reader := gpu.New(gpu.Config{})
//	go reader.Run(ctx)
//	cards, known, reason := reader.Cards()
//
// NVML is never called in the process of the agent: where the driver lacks a
// symbol, a call ends the whole process, past any recover. So a child of the
// same binary, which runs [Child], prints what it reads once a second, and when
// it dies or falls silent the cards read as unknown and the agent lives.
//
// [Simulated] stands in for a [Reader] where there is no card.
package gpu

import (
	"slices"
	"sync"
)

// Card is one GPU as NVML describes it. A reading that the card does not offer
// is 0.
type Card struct {
	// UUID names the card for good: "GPU-5c2f…".
	UUID string `json:"uuid"`
	// Index is the card's number on this host since its last start.
	Index int `json:"index"`
	// Model is as NVML has it: "NVIDIA TITAN Xp", or "TITAN Xp" of old drivers.
	Model string `json:"model"`
	// Memory and Used are in bytes.
	Memory int64 `json:"memory"`
	Used   int64 `json:"used"`
	// Utilization is the per cent of the last second in which a kernel ran.
	Utilization int `json:"utilization"`
	// Temperature is in degrees Celsius.
	Temperature int `json:"temperature"`
	// Power is in milliwatts.
	Power int `json:"power"`
}

// Source is who knows the cards: a [Reader], or a [Simulated].
type Source interface {
	// Cards returns the cards in the order of their index; the slice is the
	// caller's own. known is false when nobody can tell, and then reason says
	// why and there are no cards. With known, a reason tells of a card that
	// could not be read and is left out. Cards does not block.
	Cards() (cards []Card, known bool, reason string)
}

// state is the last word about the cards.
type state struct {
	mu     sync.Mutex
	cards  []Card
	known  bool
	reason string
}

// Cards implements [Source].
func (s *state) Cards() (cards []Card, known bool, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.cards), s.known, s.reason
}

func (s *state) set(cards []Card, known bool, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cards, s.known, s.reason = slices.Clone(cards), known, reason
}

// Simulated is a [Source] in memory. The zero value has no cards, and knows it
// not; it is safe for concurrent use.
type Simulated struct {
	state state
}

// Cards returns what was last set.
func (s *Simulated) Cards() (cards []Card, known bool, reason string) {
	return s.state.Cards()
}

// Set makes the host have these cards.
func (s *Simulated) Set(cards ...Card) { s.state.set(cards, true, "") }

// Lose makes the cards unknown for a reason.
func (s *Simulated) Lose(reason string) { s.state.set(nil, false, reason) }
