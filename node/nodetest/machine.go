package nodetest

import (
	"slices"
	"sync"

	"ddocker/sched"
)

// Machine is a machine that is idle and has what it is told to have.
type Machine struct {
	mu        sync.Mutex // guards what follows
	cards     []sched.Card
	listening []sched.Port
}

// Plug gives the machine these GPUs.
func (m *Machine) Plug(cards ...sched.Card) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cards = cards
}

// Listen has processes listen on these TCP ports and no others.
func (m *Machine) Listen(ports ...uint16) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.listening = nil
	for _, p := range ports {
		m.listening = append(m.listening, sched.Port{Number: p, Proto: "tcp"})
	}
}

// Cards returns the GPUs.
func (m *Machine) Cards() ([]sched.Card, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cards, true
}

// Listening returns the ports that processes listen on.
func (m *Machine) Listening() ([]sched.Port, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.listening), nil
}

// Usage returns nothing in use.
func (m *Machine) Usage() (cpu, memory int) { return 0, 0 }
