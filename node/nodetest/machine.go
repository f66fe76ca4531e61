package nodetest

import (
	"slices"
	"sync"

	"ddocker/gpu"
	"ddocker/sched"
)

// Machine is a machine that is idle and has what it is told to have.
type Machine struct {
	mu        sync.Mutex // guards what follows
	gpus      gpu.Simulated
	topology  sched.Topology
	listening []sched.Port
}

// Plug gives the machine these GPUs.
func (m *Machine) Plug(cards ...gpu.Card) { m.gpus.Set(cards...) }

// Blind makes the GPUs unknown for a reason.
func (m *Machine) Blind(reason string) { m.gpus.Lose(reason) }

// Group gives the cores this topology.
func (m *Machine) Group(t sched.Topology) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.topology = t
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

// GPUs returns the GPUs.
func (m *Machine) GPUs() gpu.State { return m.gpus.State() }

// Topology returns what Group said.
func (m *Machine) Topology() sched.Topology {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.topology
}

// Listening returns the ports that processes listen on.
func (m *Machine) Listening() ([]sched.Port, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.listening), nil
}

// Usage returns nothing in use.
func (m *Machine) Usage() (cpu, memory int) { return 0, 0 }
