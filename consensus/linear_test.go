package consensus

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// access is one operation on the register: a write of Value, or a read.
type access struct {
	write bool
	value uint16
}

// register is what a linearizable one does.
func register() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return uint16(0) },
		Step: func(state, in, out any) (bool, any) {
			if a := in.(access); a.write {
				return true, a.value
			}
			return state == out, state
		},
	}
}

// history records what clients did, for porcupine.
type history struct {
	began time.Time
	mu    sync.Mutex
	ops   []porcupine.Operation
}

func (h *history) note(client int, in access, out any, call time.Duration, known bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	op := porcupine.Operation{ClientId: client, Input: in, Output: out, Call: int64(call), Return: int64(time.Since(h.began))}
	if !known {
		op.Return = int64(time.Hour) // it may yet take effect
	}
	h.ops = append(h.ops, op)
}

func TestReadsAndWritesAreLinearizableUnderCutsAndCrashes(t *testing.T) {
	for range 2 {
		inCluster(t, 4, func(t *testing.T, c *cluster) {
			h := &history{began: time.Now()}
			c.nodes[0].propose(write(1))
			h.note(0, access{true, 1}, nil, 0, true)
			ctx, end := context.WithTimeout(t.Context(), 40*time.Second)
			defer end()
			var clients sync.WaitGroup
			for i, n := range c.nodes {
				clients.Go(func() { client(ctx, h, i, n) })
			}
			c.disturb(ctx)
			clients.Wait()
			c.net.Heal()
			checkHistory(t, h)
		})
	}
}

func checkHistory(t *testing.T, h *history) {
	if !porcupine.CheckOperations(register(), h.ops) {
		t.Errorf("a history of %d operations is not linearizable", len(h.ops))
	}
	if len(h.ops) < 100 {
		t.Errorf("only %d operations", len(h.ops))
	}
}

// client reads and writes through one node until ctx ends. Every value is
// written once.
func client(ctx context.Context, h *history, id int, n *node) {
	for k := uint16(1); ctx.Err() == nil; k++ {
		once, cancel := context.WithTimeout(ctx, 4*time.Second)
		call := time.Since(h.began)
		if rand.N(2) == 0 {
			in := access{true, uint16(id+1)*1000 + k}
			_, _, err := n.Propose(once, write(in.value))
			h.note(id, in, nil, call, err == nil)
		} else if n.Read(once) == nil {
			h.note(id, access{}, n.value(), call, true)
		}
		cancel()
		time.Sleep(rand.N(200 * time.Millisecond))
	}
}

// disturb cuts and heals until ctx ends, the leader more often than others and
// one way more often than both.
func (c *cluster) disturb(ctx context.Context) {
	for ctx.Err() == nil {
		a := c.nodes[rand.N(len(c.nodes))]
		if l := c.leader(); l != nil && rand.N(2) == 0 {
			a = l
		}
		for _, b := range c.nodes {
			if b == a || rand.N(3) == 0 {
				continue
			}
			c.net.Cut(a.ip, b.ip)
			if rand.N(3) == 0 {
				c.net.Cut(b.ip, a.ip)
			}
		}
		time.Sleep(rand.N(4 * time.Second))
		c.net.Heal()
		time.Sleep(rand.N(3 * time.Second))
	}
}
