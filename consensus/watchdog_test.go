package consensus

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// stallingLog is a log whose disk can stop taking anything.
type stallingLog struct {
	raft.LogStore
	mu      sync.Mutex
	stalled chan struct{} // nil: it works
}

func (l *stallingLog) StoreLogs(entries []*raft.Log) error {
	l.mu.Lock()
	stalled := l.stalled
	l.mu.Unlock()
	if stalled != nil {
		<-stalled
	}
	return l.LogStore.StoreLogs(entries)
}

func (l *stallingLog) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

func (l *stallingLog) stall() (release func()) {
	stalled := make(chan struct{})
	l.mu.Lock()
	l.stalled = stalled
	l.mu.Unlock()
	return func() { close(stalled) }
}

func TestALeaderWhoseDiskStallsGivesUp(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *cluster) {
		old := c.leader()
		rest := c.others(old)
		disk := &stallingLog{LogStore: old.stores.log}
		old.halt()
		old.stores.log = disk
		old.start()
		c.eventually("it leads again", func() bool {
			if l := c.leader(); l != nil && l != old {
				l.TransferLeadership(t.Context(), old.id)
			}
			return old.IsLeader()
		})
		release := disk.stall()
		began := time.Now()
		go rest[0].Propose(context.Background(), write(1)) // nobody notices before somebody writes
		var err error
		select {
		case err = <-old.ended:
		case <-time.After(time.Minute):
		}
		if err == nil || !strings.Contains(err.Error(), "is the disk of this host stalled?") {
			t.Errorf("it ended with %v", err)
		}
		if took := time.Since(began); took < stallTimeout || took > stallTimeout+10*time.Second {
			t.Errorf("it gave up after %v", took)
		}
		old.off()
		rest[0].propose(write(2))
		release()
	})
}

func TestProgressIsStalledAfterTenSecondsWithoutAnAnswer(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer error
		want   bool
	}{
		{"committed", nil, false},
		{"no leader any more", raft.ErrLeadershipLost, false},
		{"a full queue is no progress", raft.ErrEnqueueTimeout, true},
		{"nor is a transfer of leadership", raft.ErrLeadershipTransferInProgress, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var p progress
				p.begin()
				time.Sleep(stallTimeout - time.Second)
				if p.stalled(time.Now()) {
					t.Error("stalled too early")
				}
				p.end(c.answer)
				time.Sleep(2 * time.Second)
				if got := p.stalled(time.Now()); got != c.want {
					t.Errorf("stalled %v, want %v", got, c.want)
				}
			})
		})
	}
}

func TestCallersOfARoundShareTheNextQuestionButNotAnEarlierOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r round
		asked := uint64(0)
		ask := func() (uint64, error) {
			asked++
			n := asked
			time.Sleep(time.Second)
			return n, nil
		}
		got := make([]uint64, 5)
		var callers sync.WaitGroup
		for i := range got {
			time.Sleep(100 * time.Millisecond) // the first question is under way when the second caller comes
			callers.Go(func() { got[i], _ = r.join(t.Context(), ask) })
		}
		callers.Wait()
		for i, n := range got {
			if want := uint64(min(i, 1) + 1); n != want {
				t.Errorf("caller %d was answered by question %d, want %d", i, n, want)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, err := r.join(ctx, ask); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("an impatient caller got %v", err)
		}
		time.Sleep(2 * time.Second)
	})
}
