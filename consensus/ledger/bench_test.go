package ledger

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"ddocker/sched"
)

// crowd is a ledger of n placements with two ports each, a hundred to a host.
func crowd(b *testing.B, n int) *Ledger {
	b.Helper()
	l := New()
	for i := range (n + 99) / 100 {
		id := fmt.Sprint("n", i)
		must(b, l, Command{Register: &Register{Node: id, Name: "gpu" + id, Capacity: Capacity{Cores: sched.CPUs(0, 1, 2, 3), Memory: 1 << 40}}})
	}
	for i := range n {
		must(b, l, among(i, n))
	}
	return l
}

// among is the i-th placement of n, with five candidates.
func among(i, n int) Command {
	hosts := (n + 99) / 100
	c := place(fmt.Sprint("p", i), fmt.Sprint("c", i), sched.Request{
		MilliCPU: 10, Memory: 1 << 20, Ports: []sched.PortWish{{Proto: "tcp"}, {Proto: "tcp"}},
	})
	c.ID = fmt.Sprint("r", i)
	c.Reserve.Candidates = nil
	for k := range 5 {
		c.Reserve.Candidates = append(c.Reserve.Candidates, fmt.Sprint("n", (i+k)%hosts))
	}
	return c
}

// One placement more beside n, and its release again.
func BenchmarkApply(b *testing.B) {
	for _, n := range []int{100, 10000} {
		b.Run(fmt.Sprintf("reserve+release/%d", n), func(b *testing.B) {
			l := crowd(b, n)
			b.ReportAllocs()
			for i := n; b.Loop(); i++ {
				must(b, l, among(i, n))
				must(b, l, Command{Release: &Release{Placement: fmt.Sprint("p", i)}})
			}
		})
		b.Run(fmt.Sprintf("reserve/%d", n), func(b *testing.B) {
			l := crowd(b, n)
			b.ReportAllocs()
			for i := n; b.Loop(); i++ {
				must(b, l, among(i, n))
				b.StopTimer()
				must(b, l, Command{Release: &Release{Placement: fmt.Sprint("p", i)}})
				b.StartTimer()
			}
		})
	}
}

func BenchmarkSnapshot(b *testing.B) {
	l := crowd(b, 10000)
	whole := saved(b, l)
	b.Run("take", func(b *testing.B) { // the log waits for this
		b.ReportAllocs()
		for b.Loop() {
			l.Snapshot()
		}
	})
	b.Run("write", func(b *testing.B) {
		b.SetBytes(int64(len(whole)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := l.Snapshot().WriteTo(io.Discard); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("restore", func(b *testing.B) {
		b.SetBytes(int64(len(whole)))
		b.ReportAllocs()
		for b.Loop() {
			if err := New().Restore(bytes.NewReader(whole)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
