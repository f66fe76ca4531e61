package sched

import (
	"iter"
	"maps"
	"math"
)

// Core is one whole core in thousandths, the unit of MilliCPU.
const Core = 1000

// Host is what one machine can give and what of it is held.
type Host struct {
	ID, Name string
	// Closed says why the host takes nothing new, such as "drained"; empty: it does.
	Closed string
	// Cores are the cores that containers of this host may use at all.
	Cores CPUSet `json:",omitzero"`
	// Memory is in bytes.
	Memory int64
	Cards  []Card
	// Topology says which cores are near one another; zero: nothing is known of it.
	Topology Topology `json:",omitzero"`
	// Buffer is kept free on every host, for the machine itself.
	Buffer Buffer
	Held   Held
}

// Card is one device that a container can be given: a GPU, or a MIG device of one.
type Card struct {
	UUID string
	// Index is its number on the host, "0", or "0:1" of a MIG device.
	Index string `json:",omitempty"`
	// Model is the driver's name of it, such as "NVIDIA TITAN Xp".
	Model string
	// Profile is that of a MIG device, such as "3g.40gb"; empty: a whole GPU.
	Profile string `json:",omitempty"`
	// Of is the UUID of the GPU that a MIG device is cut from. The two are never held at
	// once, but by one container.
	Of string `json:",omitempty"`
	// Memory is in bytes.
	Memory int64 `json:",omitempty"`
	// Near are the cores of its NUMA node; empty: it is not told.
	Near CPUSet `json:",omitzero"`
	// Far has the distance to each card of the host, in their order, from 0 (one GPU)
	// to 6 (across NUMA nodes); empty: it is not told.
	Far []int `json:",omitempty"`
	// Closed says why the card takes nothing new, such as "used by a process outside
	// any container"; empty: it does. It is no part of what a machine has.
	Closed string `json:"-"`
}

// Topology groups the cores of a machine.
type Topology struct {
	// Nodes are the cores of each NUMA node, by its number: one that has only memory, or
	// whose number is left out, has none.
	Nodes []CPUSet `json:",omitempty"`
	// Physical are the cores of each physical core, in the order of their lowest.
	Physical []CPUSet `json:",omitempty"`
}

// Buffer is what is never granted on a host.
type Buffer struct {
	Cores int
	// Memory is in bytes.
	Memory int64
}

// Port is a port of a host.
type Port struct {
	Number uint16
	// Proto is "tcp", "udp" or "sctp".
	Proto string
}

// Binding is a granted port of the host and the port of the container behind it.
type Binding struct {
	// IP is the address of the host to bind; empty: all.
	IP        string `json:",omitempty"`
	Host      uint16
	Container uint16
	Proto     string
}

// Port returns the port of the host that the binding holds.
func (b Binding) Port() Port { return Port{b.Host, b.Proto} }

// Grant is what one container holds of a host.
type Grant struct {
	// Cores are pinned: no other container has them.
	Cores CPUSet `json:",omitzero"`
	// MilliCPU is a quota on the cores that are not pinned, in thousandths of a
	// core; 0 with no Cores: the container shares them without a limit.
	MilliCPU int64 `json:",omitempty"`
	// Memory is a limit in bytes; 0: none.
	Memory int64 `json:",omitempty"`
	// GPUs are UUIDs.
	GPUs []string `json:",omitempty"`
	// Of are the UUIDs of the GPUs that those of them which are MIG devices are cut from:
	// it is known still when the driver shows the devices no more.
	Of    []string  `json:",omitempty"`
	Ports []Binding `json:",omitempty"`
}

// Shares says whether the container runs on the cores that are not pinned.
func (g *Grant) Shares() bool { return g.Cores.Count() == 0 }

// Held sums up grants. The zero value holds nothing.
type Held struct {
	Cores    CPUSet
	MilliCPU int64
	// Sharers counts the containers that run on the cores that are not pinned.
	Sharers int
	// Containers counts all containers.
	Containers int
	Memory     int64
	gpus       map[string]bool
	ports      map[Port]bool
}

// Add counts a grant as held.
func (h *Held) Add(g *Grant) {
	h.Cores = h.Cores.Union(g.Cores)
	h.MilliCPU = sum(h.MilliCPU, g.MilliCPU)
	h.Memory = sum(h.Memory, g.Memory)
	h.Containers++
	if g.Shares() {
		h.Sharers++
	}
	for _, uuid := range g.GPUs {
		if h.gpus == nil {
			h.gpus = map[string]bool{}
		}
		h.gpus[uuid] = true
	}
	for _, b := range g.Ports {
		h.AddPort(b.Port())
	}
}

// sum adds up amounts, in whatever order, without an overflow: the limit of a
// container that somebody made outside the cluster may be next to infinite.
func sum(a, b int64) int64 { return a + min(max(0, b), math.MaxInt64-a) }

// AddOutside counts what a container holds that the cluster did not make, and
// that therefore is not kept off pinned cores: it needs none left to share.
func (h *Held) AddOutside(g *Grant) {
	h.Add(g)
	if g.Shares() {
		h.Sharers--
	}
}

// Clone returns a copy that can be added to.
func (h *Held) Clone() Held {
	c := *h
	c.gpus, c.ports = maps.Clone(h.gpus), maps.Clone(h.ports)
	return c
}

// AddPort counts a port as held, for example by a process outside any container.
func (h *Held) AddPort(p Port) {
	if h.ports == nil {
		h.ports = map[Port]bool{}
	}
	h.ports[p] = true
}

// Ports walks the ports that are held, in no order.
func (h *Held) Ports() iter.Seq[Port] { return maps.Keys(h.ports) }

// HasPort says whether the port is held.
func (h *Held) HasPort(p Port) bool { return h.ports[p] }

// HasGPU says whether the card is held.
func (h *Held) HasGPU(uuid string) bool { return h.gpus[uuid] }

// Shared returns the cores that are not pinned: where containers run that have
// no cores of their own.
func (h *Host) Shared() CPUSet { return h.Cores.Minus(h.Held.Cores) }

// FreeMilliCPU returns what may still be granted, in thousandths of a core.
func (h *Host) FreeMilliCPU() int64 {
	unpinned := h.Cores.countMinus(h.Held.Cores) - h.Buffer.Cores
	return max(0, int64(max(0, unpinned))*Core-h.Held.MilliCPU)
}

// FreeMemory returns the bytes that may still be granted.
func (h *Host) FreeMemory() int64 {
	return max(0, max(0, h.Memory-h.Buffer.Memory)-h.Held.Memory)
}
