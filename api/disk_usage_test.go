package api

import (
	"testing"
	"time"
)

func TestDiskUsageCountsEveryImageOnce(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		for _, h := range w.hosts {
			h.twin.AddLayered("shared:1", []byte("0123456789"))
		}
		w.hosts[2].twin.AddLayered("rare:1", []byte("0123456789"), []byte("01234"))
		time.Sleep(2 * time.Minute) // until the layers of all names are known
		w.hosts[0].create("aa", on("n2"))
		w.hosts[0].create("bb", on("n3"))
		type usage struct {
			LayersSize int64
			Images     []struct {
				ID         string
				RepoTags   []string
				Size       int64
				Containers int
			}
			Containers []struct{ ID string }
		}
		got := read[usage](w, w.hosts[0].want(200, "", get, "/system/df", ""))
		users, names := map[string]int{}, map[string]int64{}
		for _, i := range got.Images {
			users[i.RepoTags[0]], names[i.RepoTags[0]] = i.Containers, i.Size
		}
		if len(got.Images) != 3 || len(got.Containers) != 2 || users["busybox:latest"] != 2 || names["rare:1"] != 15 {
			t.Errorf("got %+v", got)
		}
		// Rare's lowest layer is shared's, where the store tells the sizes of layers. A
		// layer on three hosts counts once in any case.
		if least := names["busybox:latest"] + 15; got.LayersSize < least || got.LayersSize > least+10 {
			t.Errorf("all layers have %d bytes, want %d or 10 more", got.LayersSize, least)
		}
		w.hosts[1].twin.Hang()
		if got := read[usage](w, w.hosts[0].want(200, "", get, "/system/df", "")); len(got.Containers) != 1 || len(got.Images) != 3 {
			t.Errorf("without n2: %+v", got)
		}
	})
}
