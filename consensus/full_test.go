package consensus

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// fillingLog is a log on a disk that may be full.
type fillingLog struct {
	raft.LogStore
	full atomic.Bool
}

func (l *fillingLog) StoreLogs(entries []*raft.Log) error {
	if l.full.Load() {
		return fmt.Errorf("write raft.db: %w", syscall.ENOSPC)
	}
	return l.LogStore.StoreLogs(entries)
}

func (l *fillingLog) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

func TestAVotersFullDiskKeepsNobodyFromWriting(t *testing.T) {
	for _, who := range []string{"a voter", "the leader"} {
		t.Run(who, func(t *testing.T) {
			inCluster(t, 4, func(t *testing.T, c *cluster) {
				var disks []*fillingLog
				for _, nd := range c.nodes { // each is started anew, on such a disk
					nd.halt()
					disk := &fillingLog{LogStore: nd.stores.log}
					disks, nd.stores.log = append(disks, disk), disk
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
				time.Sleep(time.Minute)
				disk.full.Store(false)
				c.eventually("it follows again", func() bool { return sick.value() == last })
				c.eventually("all are in their places", c.complete)
				sick.propose(write(7))
			})
		})
	}
}
