package api

import (
	"net/http"
	"testing"
)

func TestInfoSumsUpAndWarns(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		w.hosts[0].create("web", on("n2"))
		w.hosts[2].fail()
		got := read[struct {
			Name             string
			NCPU, Containers int
			NGoroutines, NFd int
			SystemStatus     [][2]string
			Warnings         []string
		}](w, w.hosts[0].want(http.StatusOK, "", get, "/info", ""))
		if got.Name != "n1" || got.NCPU != 8 || got.Containers != 1 || got.SystemStatus[2] != [2]string{"n3", "unreachable"} {
			t.Errorf("got %+v", got)
		}
		if got.NGoroutines < 1 || got.NFd < 1 {
			t.Errorf("the agent has %d goroutines and %d descriptors", got.NGoroutines, got.NFd)
		}
		wantList(t, "warnings", got.Warnings, "WARNING: host n3 is unreachable")
		w.hosts[0].want(http.StatusOK, `"Name":"ddocker"`, get, "/version", "")
		w.hosts[0].twin.Hang()
		w.hosts[0].want(http.StatusBadGateway, "the Docker Engine of n1 does not answer", get, "/version", "")
	})
}
