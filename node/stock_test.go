package node

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"ddocker/consensus/ledger"
)

// What a command of the log may have at most is 1 MiB.
const maxCommand = 1 << 20

func TestNamesOfManyImagesArePublishedInPartsThatTheLogTakes(t *testing.T) {
	var images []ledger.Image
	for i := range 600 {
		image := ledger.Image{Name: fmt.Sprintf("web:%d", i), ID: "sha256:" + hex64}
		for range i % 127 {
			image.Layers = append(image.Layers, ledger.Layer{Chain: "sha256:" + hex64, Size: 1 << 40})
		}
		images = append(images, image)
	}
	list := parts(images)
	if n := len(slices.Concat(list...)); n != len(images) || len(list) > 20 {
		t.Errorf("%d images in %d parts", n, len(list))
	}
	for _, part := range list {
		data, err := ledger.Encode(ledger.Command{Merge: &ledger.Merge{Node: "id-n1", Images: part}})
		if err != nil || len(data) > maxCommand || len(part) > ledger.MaxMerge {
			t.Errorf("%d images in %d bytes, %v", len(part), len(data), err)
		}
	}
	if parts(nil) != nil {
		t.Error("nothing has parts")
	}
}

func TestImagesWithoutATagAreLeftOutWhereThereAreTooMany(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		n := w.hosts[0].Node
		have := &stock{}
		for i := range 10_000 {
			h := ledger.Holding{ID: fmt.Sprintf("sha256:%064d", i), Names: []string{"x@sha256:" + hex64}}
			if i%10 == 0 {
				h.Names = append(h.Names, fmt.Sprintf("web:%d", i))
			}
			have.images = append(have.images, h)
		}
		n.bound(have)
		data, err := ledger.Encode(ledger.Command{Observe: &ledger.Observe{Images: have.told}})
		if err != nil || len(data) > maxCommand/2+1000 {
			t.Errorf("%d bytes, %v", len(data), err)
		}
		if len(tagged(have.told)) != 1000 || n.leftOut != 10_000-len(have.told) || len(have.images) != 10_000 {
			t.Errorf("%d with a tag, %d left out of %d", len(tagged(have.told)), n.leftOut, len(have.images))
		}
	})
}

func TestImagesAreLookedIntoWithNamingFreeAndNotAgainSoonAfterThatFailed(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.blind, h.slow = true, time.Minute
		h.crash()
		done := make(chan struct{})
		go func() {
			defer close(done)
			h.refreshImages(w.Context())
		}()
		time.Sleep(time.Second)
		began := time.Now()
		if err := h.naming.acquire(w.Context()); err != nil || time.Since(began) > 0 || h.looks.Load() != 1 {
			t.Errorf("%v, after %v, %d looks", err, time.Since(began), h.looks.Load())
		}
		h.naming.release()
		<-done
		h.refreshImages(w.Context())
		if n := h.looks.Load(); n != 1 {
			t.Errorf("%d looks", n)
		}
		time.Sleep(lookAgain)
		h.refreshImages(w.Context())
		if n := h.looks.Load(); n != 2 {
			t.Errorf("%d looks after a while", n)
		}
	})
}
