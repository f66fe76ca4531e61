package node

import (
	"ddocker/consensus/ledger"
	"ddocker/gossip"
)

// load is what this node tells the others about its use.
func (n *Node) load() gossip.Load {
	cpu, memory := n.cfg.Machine.Usage()
	l := gossip.Load{CPUPercent: uint8(cpu), MemoryPercent: uint8(memory)}
	n.cfg.Log.View(func(led *ledger.Ledger) {
		l.AppliedIndex = led.Index()
		h := led.Host(n.cfg.ID)
		if h == nil {
			return
		}
		l.FreeMilliCPU = uint32(h.FreeMilliCPU())
		l.FreeMemoryMiB = uint32(h.FreeMemory() >> 20)
		l.FreeGPUs = uint16(h.FreeGPUs(""))
		l.Containers = uint16(h.Held.Containers)
	})
	return l
}
