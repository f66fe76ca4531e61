package api

import (
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"ddocker/consensus/ledger"
)

type volumeRow struct{ Name, Mountpoint string }

func (h *agent) volumes() (names []string) {
	h.w.Helper()
	for _, v := range read[struct{ Volumes []volumeRow }](h.w, h.want(http.StatusOK, "", get, "/volumes", "")).Volumes {
		names = append(names, v.Name)
	}
	slices.Sort(names)
	return names
}

func withVolume(name string) string {
	return `{"Image":"busybox","HostConfig":{"Binds":["` + name + `:/data"]}}`
}

func TestDataStaysWhereItIs(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		w.hosts[0].create("writer", withVolume("data"))
		node := w.placement("writer").Node
		w.hosts[0].want(http.StatusNoContent, "", del, "/containers/writer", "")
		for i := range 3 {
			w.hosts[i].create("reader", withVolume("data"))
			if got := w.placement("reader").Node; got != node {
				t.Errorf("the data is on %s, its reader on %s", node, got)
			}
			w.hosts[i].want(http.StatusNoContent, "", del, "/containers/reader", "")
		}
		wantList(t, "hosts with the volume", w.where("data"), node)
		other := map[bool]string{true: "n2", false: "n1"}[node == "id-n1"]
		w.hosts[0].want(http.StatusServiceUnavailable, "volume data is on host", post, "/containers/create?name=astray",
			`{"Image":"busybox","Labels":{"ddocker.node":"`+other+`"},"HostConfig":{"Binds":["data:/d"]}}`)
	})
}

func TestAVolumeIsMadeOnceAndShownWhenItIsMadeAgain(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		first := read[volumeRow](w, w.hosts[0].want(http.StatusCreated, "", post, "/volumes/create", `{"Name":"data","Labels":{"a":"b"}}`))
		for _, h := range w.hosts {
			if again := read[volumeRow](w, h.want(http.StatusCreated, `"a":"b"`, post, "/volumes/create", `{"name":"data"}`)); again != first {
				t.Errorf("made again as %+v", again)
			}
			wantList(t, "volumes", h.volumes(), "data")
			h.want(http.StatusOK, `"a":"b"`, get, "/volumes/data", "")
		}
		if got := w.where("data"); len(got) != 1 {
			t.Errorf("it is on %v", got)
		}
		w.hosts[1].want(http.StatusNoContent, "", del, "/volumes/data", "")
		w.hosts[2].want(http.StatusNotFound, "no such volume", get, "/volumes/data", "")
		w.hosts[2].want(http.StatusNotFound, "no such volume", del, "/volumes/data", "")
		w.hosts[2].want(http.StatusCreated, "", post, "/volumes/create", "")
		nameless := read[volumeRow](w, w.hosts[2].want(http.StatusCreated, "", post, "/volumes/create", `{}`))
		if len(nameless.Name) != 64 {
			t.Errorf("it is called %q", nameless.Name)
		}
	})
}

func TestAVolumeInUseStays(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].create("db", withVolume("data"))
		w.hosts[1].want(http.StatusConflict, "volume is in use", del, "/volumes/data", "")
		wantList(t, "volumes", w.hosts[0].volumes(), "data")
	})
}

func TestAVolumeThatAPersonMadeTiesToItsHost(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		if _, _, err := w.hosts[1].docker.CreateVolume(w.Context(), []byte(`{"Name":"old"}`)); err != nil {
			t.Fatal(err)
		}
		w.hosts[0].create("db", withVolume("old"))
		if got := w.placement("db").Node; got != "id-n2" {
			t.Errorf("its container is on %s", got)
		}
		w.hosts[0].want(http.StatusCreated, "", post, "/volumes/create", `{"Name":"old"}`)
		wantList(t, "hosts with the volume", w.where("old"), "id-n2")
	})
}

func TestAVolumeMadeWithAContainerIsKnownAtOnce(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].create("db", withVolume("data"))
		node := w.placement("db").Node
		w.hosts[0].want(http.StatusNoContent, "", del, "/containers/db", "")
		w.hosts[1].want(http.StatusNoContent, "", del, "/volumes/data", "")
		time.Sleep(5 * time.Minute)
		wantList(t, "volumes", w.hosts[0].volumes())
		wantList(t, "things of "+node, w.host(node).own())
	})
}

func TestAVolumeIsTiedToNoHostByAContainerThatCameToNothing(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		peer := w.hosts[0].api.cfg.Peer
		w.hosts[0].api.cfg.Peer = func(id string) http.RoundTripper {
			if id == "id-n2" {
				return unplugged{}
			}
			return peer(id)
		}
		body := strings.Replace(withVolume("data"), `"HostConfig"`, `"Labels":{"ddocker.node":"n2"},"HostConfig"`, 1)
		w.hosts[0].want(http.StatusServiceUnavailable, "cannot be reached", post, "/containers/create?name=db", body)
		w.hosts[0].api.cfg.Peer = peer
		w.hosts[0].create("db", strings.Replace(body, "n2", "n1", 1))
		wantList(t, "hosts with the volume", w.where("data"), "id-n1")
	})
}

func TestACreateIsRefusedSoonWhereItsVolumesHostHangs(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].create("db", strings.Replace(withVolume("data"), `"HostConfig"`, `"Labels":{"ddocker.node":"n2"},"HostConfig"`, 1))
		w.hosts[1].twin.Hang()
		w.hosts[0].want(http.StatusOK, "Host down", get, "/containers/json?all=1", "") // noticed
		began := time.Now()
		w.hosts[0].want(http.StatusServiceUnavailable, "n2", post, "/containers/create?name=more", withVolume("data"))
		// Here nobody tells the node that places which hosts cannot be reached: three tries.
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("it took %v", took)
		}
		w.hosts[1].twin.Unhang()
		time.Sleep(time.Minute)
		wantList(t, "containers of n2", w.hosts[1].has(), "db")
	})
}

func TestAPortAtANodesAddressIsPublishedThere(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		var ip string
		w.log.Replica().View(func(l *ledger.Ledger) { ip, _, _ = net.SplitHostPort(l.Node("id-n3").Address) })
		w.hosts[0].create("web", `{"Image":"busybox","HostConfig":{"PortBindings":{"80/tcp":[{"HostIp":"`+ip+`","HostPort":"8080"}]}}}`)
		if got := w.placement("web").Node; got != "id-n3" {
			t.Errorf("it is on %s", got)
		}
	})
}
