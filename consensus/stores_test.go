package consensus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"ddocker/test/vnet"
)

// onDisk returns a node that keeps its log in dir, as a cluster of its own.
func onDisk(t *testing.T, dir string) *node {
	c := &cluster{t: t, net: vnet.New(1)}
	n := c.add("n1", "10.0.0.1")
	n.dir = dir
	return n
}

// fill founds a cluster in dir and writes so many entries to its log.
func fill(t *testing.T, dir string, entries int) {
	synctest.Test(t, func(t *testing.T) {
		n := onDisk(t, dir)
		n.open()
		if err := n.Found(t.Context()); err != nil {
			t.Fatal(err)
		}
		n.run()
		for i := range entries {
			n.propose(write(uint16(i + 1)))
		}
		n.halt()
	})
}

// openIn opens a Consensus on a directory. Open uses no network.
func openIn(dir string) (*Consensus, error) {
	stores, err := OpenStores(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	return Open(Config{
		ID: "n1", Stores: stores,
		Address: func() string { return "10.0.0.1:7722" },
		Streams: closedListener{},
		Dial:    func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed },
		Resolve: func(string) (string, bool) { return "", false },
		Forward: func(context.Context, string, []byte) ([]byte, error) { return nil, net.ErrClosed },
		Members: func() []Member { return nil },
	})
}

type closedListener struct{}

func (closedListener) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (closedListener) Close() error              { return nil }
func (closedListener) Addr() net.Addr            { return address("10.0.0.1:7722") }

func TestALogOnDiskSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 20)
	synctest.Test(t, func(t *testing.T) {
		n := onDisk(t, dir)
		n.open()
		if n.Fresh() {
			t.Error("the stores are fresh")
		}
		n.run()
		if err := n.Read(t.Context()); err != nil || n.value() != 20 {
			t.Errorf("value %d, error %v", n.value(), err)
		}
		n.halt()
	})
}

func TestASecondProcessOnTheSameDirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	first, err := openIn(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = openIn(dir)
	want := fmt.Sprintf("another agent runs on %s (pid %d)", dir, os.Getpid())
	if err == nil || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := first.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if second, err := openIn(dir); err != nil {
		t.Errorf("when the first has ended: %v", err)
	} else if err := second.Run(ctx); err != nil {
		t.Error(err)
	}
}

func TestADamagedLogIsSetAside(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(file []byte) []byte
	}{
		{"cut off in the middle", func(b []byte) []byte { return b[:len(b)/2] }},
		{"overwritten at the start", func(b []byte) []byte { clear(b[:8192]); return b }},
		{"overwritten behind the start", func(b []byte) []byte { clear(b[8192:]); return b }},
		{"full of noise", func(b []byte) []byte {
			for i := 8192; i < len(b); i++ {
				b[i] = byte(i * 7)
			}
			return b
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			fill(t, dir, 200)
			harm(t, filepath.Join(dir, logFile), c.damage)
			_, err := openIn(dir)
			var damaged *DamagedError
			if !errors.As(err, &damaged) {
				t.Fatalf("error %v", err)
			}
			if !strings.Contains(err.Error(), "ddocker agent --join") {
				t.Errorf("the error names no next command: %v", err)
			}
			for _, name := range []string{logFile, snapshotsDir} {
				if _, err := os.Stat(filepath.Join(damaged.Aside, name)); err != nil {
					t.Error(err)
				}
			}
			expectFresh(t, dir)
		})
	}
}

// Bolt panics in a goroutine of its own on some damage, which would end the
// test. The seed is fixed because one kind is beyond help: a branch page that
// a flipped bit has made its own child, in which bolt goes round until memory
// is spent (one file in some thousands).
func TestNoDamageEndsTheProcess(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 200)
	whole, err := os.ReadFile(filepath.Join(dir, logFile))
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	const page = 4096
	pages := len(whole) / page
	for trial := range 80 {
		dir, b := t.TempDir(), slices.Clone(whole)
		at := rng.IntN(pages) * page
		switch trial % 4 {
		case 0:
			b = b[:rng.IntN(len(b))]
		case 1:
			copy(b[at:], whole[rng.IntN(pages)*page:][:page])
		case 2:
			for i := range page {
				b[at+i] = byte(rng.IntN(256))
			}
		case 3:
			for range 20 {
				b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, logFile), b, 0o600); err != nil {
			t.Fatal(err)
		}
		opened, err := openIn(dir)
		if damaged := (*DamagedError)(nil); err != nil && !errors.As(err, &damaged) {
			t.Errorf("trial %d: %v", trial, err)
		}
		if err == nil {
			opened.stores.close() // the damage was where nothing is kept
		}
	}
}

// What a node reads of a file in which single bytes were changed is what was written, or it
// is told that it is damaged.
func TestAFlippedByteIsNeverBelieved(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 100)
	whole, err := os.ReadFile(filepath.Join(dir, logFile))
	if err != nil {
		t.Fatal(err)
	}
	want := contents(t, dir)
	rng := rand.New(rand.NewPCG(3, 4))
	told := 0
	for trial := range 300 {
		dir, b := t.TempDir(), slices.Clone(whole)
		var flipped []int
		for range 1 + trial%3 {
			at := rng.IntN(len(b))
			b[at] ^= byte(1 + rng.IntN(255))
			flipped = append(flipped, at)
		}
		if err := os.WriteFile(filepath.Join(dir, logFile), b, 0o600); err != nil {
			t.Fatal(err)
		}
		stores, err := OpenStores(dir, slog.New(slog.DiscardHandler))
		if damaged := (*DamagedError)(nil); errors.As(err, &damaged) {
			told++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		stores.Close()
		if got := contents(t, dir); got != want {
			t.Errorf("trial %d: with %x changed a node reads\n%s\nand not\n%s", trial, flipped, got, want)
		}
	}
	if told == 0 {
		t.Error("nothing was ever found")
	}
	t.Logf("%d of 300 were found, the others changed nothing that is kept", told)
}

// A log of a ddocker that knew no sums is read as it is.
func TestALogWithoutSumsIsRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, logFile)
	old, err := raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: boltOptions(), MsgpackUseNewTimeFormat: true})
	if err != nil {
		t.Fatal(err)
	}
	const vote = "n1@10.0.0.1:7722"
	err = errors.Join(
		old.SetUint64(keyTerm, 7), old.SetUint64(keyVoteTerm, 6), old.Set(keyVote, []byte(vote)),
		old.StoreLog(&raft.Log{Index: 1, Term: 7, Data: []byte("said")}), old.Close(),
	)
	if err != nil {
		t.Fatal(err)
	}
	if got := contents(t, dir); !strings.HasPrefix(got, "1 1 7 6 "+vote) || !strings.Contains(got, "said") {
		t.Errorf("what is read is %s", got)
	}
}

// contents is all that a log holds, and its votes.
func contents(t *testing.T, dir string) string {
	stores, err := OpenStores(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer stores.Close()
	var all strings.Builder
	first, err := stores.log.FirstIndex()
	last, err2 := stores.log.LastIndex()
	term, err3 := stores.stable.GetUint64(keyTerm)
	voteTerm, err4 := stores.stable.GetUint64(keyVoteTerm)
	vote, err5 := stores.stable.Get(keyVote)
	fmt.Fprintln(&all, first, last, term, voteTerm, string(vote), err, err2, err3, err4, err5)
	for i := first; i <= last; i++ {
		var entry raft.Log
		err := stores.log.GetLog(i, &entry)
		fmt.Fprintln(&all, entry.Index, entry.Term, entry.Type, entry.AppendedAt.UnixNano(), string(entry.Data), err)
	}
	return all.String()
}

func harm(t *testing.T, path string, damage func([]byte) []byte) {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, damage(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

func expectFresh(t *testing.T, dir string) {
	again, err := openIn(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !again.Fresh() {
		t.Error("the new stores are not fresh")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := again.Run(ctx); err != nil {
		t.Error(err)
	}
}

func TestALogWithAGapIsWholeOnlyWhereASnapshotHasIt(t *testing.T) {
	store, err := openBolt(filepath.Join(t.TempDir(), logFile), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := store.SetUint64([]byte("CurrentTerm"), 1); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(5) {
		if err := store.StoreLog(&raft.Log{Index: i + 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.DeleteRange(3, 3); err != nil {
		t.Fatal(err)
	}
	for covered, whole := range map[uint64]bool{0: false, 2: false, 3: true, 5: true} {
		if err := readAll(store, covered); (err == nil) != whole || !whole && !isDamage(err) {
			t.Errorf("with a snapshot up to %d: %v", covered, err)
		}
	}
}
