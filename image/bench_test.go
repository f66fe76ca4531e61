package image_test

import (
	"context"
	"io"
	"syscall"
	"testing"

	"ddocker/image"
	"ddocker/image/imagetest"
)

// sink is an engine that throws away what it loads.
type sink struct {
	*imagetest.Store
	source *imagetest.Store
	loaded *bool
}

func (s sink) Load(_ context.Context, r io.Reader) error {
	*s.loaded = true
	_, err := io.Copy(io.Discard, r)
	return err
}

func (s sink) Layers(ctx context.Context, ref string) (string, []string, int64, error) {
	if *s.loaded {
		return s.source.Layers(ctx, ref)
	}
	return s.Store.Layers(ctx, ref)
}

// BenchmarkBring moves a layer over plain memory into an engine that throws it
// away: hashing, HTTP and the way through the window. On a machine that does other
// things too, the CPU time tells more than the throughput.
func BenchmarkBring(b *testing.B) {
	const size = 256 * mib
	net := imagetest.NewNet()
	defer net.Close()
	source := imagetest.NewStore()
	id := source.Add(noise(1, size))
	net.Join("source", image.New(image.Config{
		Engine: source, Backend: source, Remove: source.Remove, From: imagetest.From,
		Self: "source", Dir: b.TempDir(), Peer: net.Peer("source"),
	}).Handler())
	b.SetBytes(size)
	b.ReportAllocs()
	peer, dir := net.Peer("b"), b.TempDir()
	var before, after syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	for b.Loop() {
		store := imagetest.NewStore()
		m := image.New(image.Config{
			Engine: sink{store, source, new(bool)}, Backend: store, Remove: store.Remove,
			From: imagetest.From, Self: "b", Dir: dir, Peer: peer,
		})
		if err := m.Bring(b.Context(), image.Want{ID: id, Holders: func() []string { return []string{"source"} }}); err != nil {
			b.Fatal(err)
		}
	}
	syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(cpu)/1e9/(float64(b.N)*size/1e9), "cpu-s/GB")
}
