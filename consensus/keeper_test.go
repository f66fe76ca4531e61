package consensus

import (
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// What raft cannot do without, and cannot keep, is not kept late: raft may have moved on.
func TestWhatRaftCouldNotKeepIsNotKeptLate(t *testing.T) {
	entries := func(term uint64, indexes ...uint64) (all []*raft.Log) {
		for _, i := range indexes {
			all = append(all, &raft.Log{Index: i, Term: term})
		}
		return all
	}
	for what, keep := range map[string]func(k *keeper) error{
		"a term":                             func(k *keeper) error { return k.SetUint64(keyTerm, 7) },
		"entries in the place of other ones": func(k *keeper) error { return k.StoreLogs(entries(9, 2)) },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := &Disk{}
				k := newKeeper(NewStoresOn(disk), slog.New(slog.NewTextHandler(io.Discard, nil)))
				for _, err := range []error{k.SetUint64(keyTerm, 6), k.StoreLogs(entries(6, 1, 2, 3)), k.DeleteRange(2, 3)} {
					if err != nil {
						t.Fatal(err)
					}
				}
				disk.Fill(true)
				returned := make(chan error, 1)
				go func() { returned <- keep(k) }()
				time.Sleep(time.Minute)
				if len(k.anew) > 0 {
					t.Error("there is no room, and the agent is to start anew")
				}
				disk.Fill(false)
				time.Sleep(time.Minute)
				if len(returned) > 0 || len(k.anew) == 0 {
					t.Error("raft goes on with it when there is room")
				}
				term, err := k.GetUint64(keyTerm)
				last, err2 := k.LastIndex()
				if term != 6 || last != 1 || err != nil || err2 != nil {
					t.Errorf("kept are term %d, %v, and entries up to %d, %v", term, err, last, err2)
				}
				close(k.ended)
			})
		})
	}
}

// What is only added is refused, and may come again.
func TestEntriesThatFollowAreRefusedWhileThereIsNoRoom(t *testing.T) {
	disk := &Disk{}
	k := newKeeper(NewStoresOn(disk), slog.New(slog.NewTextHandler(io.Discard, nil)))
	disk.Fill(true)
	if err := k.StoreLog(&raft.Log{Index: 1, Term: 1}); err == nil {
		t.Error("it is kept on a full disk")
	}
	disk.Fill(false)
	if err := k.StoreLog(&raft.Log{Index: 1, Term: 1}); err != nil {
		t.Error(err)
	}
}
