package consensus

import (
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"
)

// onDisk starts the node anew, on a disk that can be full.
func (nd *node) onDisk() *Disk {
	nd.of.t.Helper()
	nd.halt()
	disk := &Disk{}
	nd.stores = disk.under(nd.stores)
	nd.start()
	nd.of.eventually("it is back", nd.of.complete)
	return disk
}

func TestAVotersFullDiskKeepsNobodyFromWriting(t *testing.T) {
	for _, who := range []string{"a voter", "the leader"} {
		t.Run(who, func(t *testing.T) {
			inCluster(t, 4, func(t *testing.T, c *cluster) {
				var disks []*Disk
				for _, nd := range c.nodes {
					disks = append(disks, nd.onDisk())
				}
				sick := c.leader()
				if who == "a voter" {
					sick = c.others(sick)[0]
				}
				if !sick.votes() {
					t.Fatalf("%s does not vote", sick.id)
				}
				var disk *Disk
				for i, nd := range c.nodes {
					if nd == sick {
						disk = disks[i]
					}
				}
				disk.Fill(true)
				began := time.Now()
				last := uint16(0)
				for i := range 3 {
					for _, nd := range c.nodes {
						last = uint16(100 + 10*i + int(nd.id[1]))
						nd.propose(write(last))
					}
				}
				if took := time.Since(began); took > 20*time.Second {
					t.Errorf("a dozen writes took %v", took)
				}
				if sick.IsLeader() {
					t.Error("who cannot write leads")
				}
				if sick.host == nil || len(sick.ended) > 0 {
					t.Error("it has ended")
				}
				c.within(10*time.Second, "it is fed meanwhile", func() bool { return sick.value() == last })
				// Raft would panic: it cannot keep the term of the next leader.
				c.leader().handOver(c.leader().raft.Load())
				c.eventually("there is another leader", func() bool { return c.leader() != nil && c.leader() != sick })
				last++
				c.leader().propose(write(last))
				c.within(10*time.Second, "it is fed by the next leader", func() bool { return sick.value() == last })
				time.Sleep(time.Minute)
				if len(sick.ended) > 0 {
					t.Error("it has ended")
				}
				disk.Fill(false)
				if err := <-sick.ended; !errors.Is(err, ErrRoomAgain) {
					t.Errorf("when there is room again it ends with: %v", err)
				}
				sick.off()
				sick.start()
				c.eventually("it follows again", func() bool { return sick.value() == last })
				c.eventually("all are in their places", c.complete)
				sick.propose(write(7))
			})
		})
	}
}

func TestANodeOnAFullDiskEnds(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *cluster) {
		sick := c.others(c.leader())[0]
		disk := sick.onDisk()
		disk.Fill(true)
		c.leader().handOver(c.leader().raft.Load())
		time.Sleep(time.Minute)
		sick.halt() // which fails the test with any error

		sick.open()
		sick.run()
		if err := <-sick.ended; !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("it starts on a full disk: %v", err)
		}
		sick.off()
	})
}

// The leader goes on sending after a refusal. Where it does not wait for answers before it
// sends more, it can wait for ever for room in its own queue: hashicorp/raft#612.
func TestAVoterThatRefusesEntriesForAMomentGetsThemAll(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *cluster) {
		sick := c.others(c.leader())[0]
		disk := sick.onDisk()
		leader := c.leader()
		for round := range 30 {
			disk.Fill(true)
			var writers sync.WaitGroup
			for i := range 8 {
				writers.Go(func() {
					for j := range 4 {
						leader.propose(write(uint16(1 + 32*round + 4*i + j)))
						if i+j == 3 {
							disk.Fill(false)
						}
					}
				})
			}
			writers.Wait()
			c.within(20*time.Second, "it has all entries", func() bool {
				return sick.raft.Load().LastIndex() == leader.raft.Load().LastIndex()
			})
		}
	})
}
