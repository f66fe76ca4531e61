package main

import "testing"

// Where the time of a list goes: go test ./test/bench -run '^$' -bench Fleet -cpuprofile /tmp/cpu
func BenchmarkListOverFleet(b *testing.B) {
	f, err := newFleet(b.Context(), 0)
	if err != nil {
		b.Fatal(err)
	}
	defer f.stop()
	b.ReportAllocs()
	for b.Loop() {
		if err := f.ps(new(sample)); err != nil {
			b.Fatal(err)
		}
	}
}
