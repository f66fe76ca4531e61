package gossip

import (
	"context"
	"time"
)

// Load is how busy a node says it is.
type Load struct {
	FreeMilliCPU  uint32 // unreserved thousandths of a core
	FreeMemoryMiB uint32 // unreserved memory
	FreeGPUs      uint16 // unreserved GPUs
	CPUPercent    uint8  // of all cores, in use, 0 to 100
	MemoryPercent uint8  // of memory, in use, 0 to 100
	Containers    uint16 // running
	AppliedIndex  uint64 // the last raft index that the node has applied
}

// bucket rounds a load to what is worth telling others at once.
func (l Load) bucket() Load {
	l.FreeMilliCPU /= 500
	l.FreeMemoryMiB /= 512
	l.CPUPercent /= 10
	l.MemoryPercent /= 10
	l.AppliedIndex = 0
	return l
}

// SetLoad replaces this node's load. The others hear of it at once if it fell
// into another bucket (half a core, 512 MiB, a GPU, ten percent, a container)
// and the last sending is 2 s ago, longer above 400 nodes; else by then, or
// within 30 s. Until it is called the node has no load.
func (g *Gossip) SetLoad(l Load) {
	g.board.set(l)
	select {
	case g.reloads <- struct{}{}:
	default:
	}
}

// Load returns the last load heard of a live member.
func (g *Gossip) Load(id string) (Load, bool) {
	if m, _ := g.roster.get(id); !m.Alive {
		return Load{}, false
	}
	return g.board.get(id)
}

// Loads returns the last load heard of each live member by its ID, without
// those of whom none was heard.
func (g *Gossip) Loads() map[string]Load {
	loads := map[string]Load{}
	for _, m := range g.roster.all() {
		if l, ok := g.board.get(m.ID); ok && m.Alive {
			loads[m.ID] = l
		}
	}
	return loads
}

// heartbeat is how often an unchanged load is sent.
const heartbeat = 30 * time.Second

// untilDue is how long after its last sending a load must wait for the next.
func untilDue(last, next Load, nodes int) time.Duration {
	if last.bucket() == next.bucket() {
		return heartbeat
	}
	return max(2*time.Second, time.Duration(nodes)*time.Second/200)
}

// announce sends this node's load when it is due.
func (g *Gossip) announce(ctx context.Context) {
	var sent Load
	var due <-chan time.Time
	at := time.Now().Add(-heartbeat)
	for {
		if r, ok := g.board.mine(); ok {
			wait := time.Until(at.Add(untilDue(sent, r.Load, g.roster.alive())))
			if wait <= 0 {
				sent, at = r.Load, time.Now()
				g.queue.QueueBroadcast(broadcast{r})
				continue
			}
			due = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return
		case <-g.reloads:
		case <-due:
		}
	}
}
