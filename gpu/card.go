// Package gpu says which NVIDIA cards this host has and what they do.
//
//	reader := gpu.New(gpu.Config{})
//	go reader.Run(ctx)
//	state := reader.State()
//
// NVML is never called in the process of the agent: where the driver lacks a
// symbol, a call ends the whole process, past any recover. So a child of the
// same binary, which runs [Child], prints what it reads every two seconds, and when
// it dies, hangs or falls silent the cards read as unknown and the agent lives. A
// function that an old driver's library lacks is looked up and not called: its
// reading is left out.
//
// NVML counts processes as the host does, whatever PID namespace asks. So the agent
// must run in the host's own: in another one the processes of the cards are not
// found in its /proc and not told, or a namesake of the same number is told instead.
// With a /proc that is the host's and mounted with hidepid it must run as root.
//
// [Simulated] stands in for a [Reader] where there is no card.
package gpu

import (
	"sync"
	"time"
)

// Unread is a reading that a card does not offer.
const Unread = -1

// Card is one device that a container can be given: a GPU, or a MIG device of
// one. A GPU that is cut into MIG devices is none itself.
type Card struct {
	// UUID names the card for good: "GPU-5c2f…", "MIG-…".
	UUID string `json:"uuid"`
	// Index is its number on this host since the host's last start, as nvidia-smi and
	// Docker's "device=" have it: "0", or "0:1" of a MIG device.
	Index string `json:"index"`
	// Model is as NVML has it: "NVIDIA TITAN Xp", or "TITAN Xp" of old drivers.
	Model string `json:"model"`
	// Profile is that of a MIG device, such as "3g.40gb"; empty: a whole GPU.
	Profile string `json:"profile,omitempty"`
	// Of is the UUID of the GPU that a MIG device is cut from; empty: a whole GPU.
	Of string `json:"of,omitempty"`
	// Bus is the PCI address, "00000000:3B:00.0"; NUMA the node that it hangs on,
	// Unread where that is not told.
	Bus  string `json:"bus,omitempty"`
	NUMA int    `json:"numa"`
	// Far has the distance to each card of the host, in their order, from Self to
	// System; empty: it is not told.
	Far []int `json:"far,omitempty"`
	// Memory and Used are in bytes; without Memory neither is told.
	Memory int64 `json:"memory"`
	Used   int64 `json:"used"`
	// Utilization is the per cent of the last sample in which a kernel ran, 0 to 100, or
	// Unread.
	Utilization int `json:"utilization"`
	// Temperature is in degrees Celsius, Power in milliwatts; either may be Unread.
	Temperature int `json:"temperature"`
	Power       int `json:"power"`
	// Processes are those that use the card, by PID.
	Processes []Process `json:"processes,omitempty"`
	// Idle is since when no process was on the card and nothing ran, as far as this
	// reader knows; zero: something does. What ran between two readings is not seen,
	// and a child that is started again within half a minute changes nothing.
	Idle time.Time `json:"idle,omitzero"`
}

// Process is a process that uses a card.
type Process struct {
	PID int `json:"pid"` // as the host counts
	// Container is the engine's full ID of the container that it runs in; empty: none.
	Container string `json:"container,omitempty"`
	// User is the name, or the number, of whom it runs as on the host.
	User    string `json:"user"`
	Command string `json:"command"` // the program's name alone
	// Memory is in bytes of the card, or Unread.
	Memory int64 `json:"memory"`
}

// Distances between two cards, as NVML's topology has them.
const (
	Self     = 0 // one GPU, or MIG devices of one
	NVLink   = 1
	Switch   = 2 // one PCIe switch (PIX)
	Switches = 3 // several (PXB)
	Bridge   = 4 // the host bridge (PHB)
	Node     = 5 // one NUMA node (NODE)
	System   = 6 // between NUMA nodes (SYS)
)

// State is what is known of the cards of this host.
type State struct {
	// Cards are in the order of their index. Whoever gets them does not change them.
	Cards []Card
	// Driver and CUDA are versions, such as "550.54.15" and "12.4".
	Driver, CUDA string
	// Known is false when nobody can tell, and then Reason says why and there are no
	// cards. With Known, a Reason tells of a card that could not be read and is left out.
	Known  bool
	Reason string
}

// Source is who knows the cards: a [Reader], or a [Simulated].
type Source interface {
	// State returns what was last heard. It does not block.
	State() State
}

// word is the last word about the cards.
type word struct {
	mu    sync.Mutex
	state State
}

func (w *word) get() State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state
}

func (w *word) set(s State) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state = s
}

// Simulated is a [Source] in memory. The zero value has no cards, and knows it
// not; it is safe for concurrent use.
type Simulated struct{ word word }

// State returns what was last set.
func (s *Simulated) State() State { return s.word.get() }

// Set makes the host have these cards.
func (s *Simulated) Set(cards ...Card) { s.word.set(State{Cards: cards, Known: true}) }

// Lose makes the cards unknown for a reason.
func (s *Simulated) Lose(reason string) { s.word.set(State{Reason: reason}) }
