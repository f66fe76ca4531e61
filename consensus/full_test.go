package consensus

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// fillingLog is a log on a disk that may be full, with the votes.
type fillingLog struct {
	raft.LogStore
	raft.StableStore
	full atomic.Bool
}

func (l *fillingLog) StoreLogs(entries []*raft.Log) error {
	if l.full.Load() {
		return fmt.Errorf("write raft.db: %w", syscall.ENOSPC)
	}
	return l.LogStore.StoreLogs(entries)
}

func (l *fillingLog) SetUint64(key []byte, value uint64) error {
	if l.full.Load() {
		return fmt.Errorf("write raft.db: %w", syscall.ENOSPC)
	}
	return l.StableStore.SetUint64(key, value)
}

func (l *fillingLog) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

func TestAVotersFullDiskKeepsNobodyFromWriting(t *testing.T) {
	for _, who := range []string{"a voter", "the leader"} {
		t.Run(who, func(t *testing.T) {
			inCluster(t, 4, func(t *testing.T, c *cluster) {
				var disks []*fillingLog
				for _, nd := range c.nodes { // each is started anew, on such a disk
					nd.halt()
					disk := &fillingLog{LogStore: nd.stores.log, StableStore: nd.stores.stable}
					disks = append(disks, disk)
					nd.stores.log, nd.stores.stable = disk, disk
					nd.start()
					c.eventually("it is back", c.complete)
				}
				sick := c.leader()
				if who == "a voter" {
					sick = c.others(sick)[0]
				}
				if !sick.votes() {
					t.Fatalf("%s does not vote", sick.id)
				}
				var disk *fillingLog
				for i, nd := range c.nodes {
					if nd == sick {
						disk = disks[i]
					}
				}
				disk.full.Store(true)
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
				disk.full.Store(false)
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
		disk := &fillingLog{LogStore: sick.stores.log, StableStore: sick.stores.stable}
		sick.halt()
		sick.stores.log, sick.stores.stable = disk, disk
		sick.start()
		c.eventually("it is back", c.complete)
		disk.full.Store(true)
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
