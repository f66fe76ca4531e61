package consensus

import (
	"context"
	"testing"
	"time"
)

func TestEveryReplicaHearsOfACommitAtOnce(t *testing.T) {
	inCluster(t, 4, func(t *testing.T, c *cluster) {
		for i := range 20 {
			began := time.Now()
			index := c.nodes[i%len(c.nodes)].propose(write(uint16(100 + i)))
			soon, cancel := context.WithDeadline(t.Context(), began.Add(30*time.Millisecond))
			for _, n := range c.nodes {
				if err := n.Wait(soon, index); err != nil {
					t.Errorf("%s, %v after the command was proposed: %v", n.id, time.Since(began), err)
				}
			}
			cancel()
			time.Sleep(200 * time.Millisecond) // and no later entry helps
		}
	})
}

func TestADeadFollowerKeepsNoOtherFromHearing(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *cluster) {
		others := c.others(c.leader())
		others[0].crash()
		for i := range 20 {
			index := c.leader().propose(write(uint16(100 + i)))
			soon, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			if err := others[1].Wait(soon, index); err != nil {
				t.Error(err)
			}
			cancel()
		}
		others[0].start()
	})
}
