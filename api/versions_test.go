package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// generations are engines of several ages, oldest and newest version of each.
func generations() map[string][2]string {
	return map[string][2]string{"18.09": {"1.12", "1.39"}, "20.10": {"1.12", "1.41"}, "25": {"1.24", "1.44"}, "29.0": {"1.44", "1.52"}, "29.3": {"1.40", "1.54"}}
}

func TestAnyClientReachesAnyEngineThroughAnyOther(t *testing.T) {
	clients := []string{"", "/v1.24", "/v1.41", "/v1.44", "/v1.52", "/v1.99"}
	for entry, mine := range generations() {
		for holder, other := range generations() {
			t.Run("a "+entry+" before a "+holder, func(t *testing.T) {
				inWorldOf(t, 2, map[string][2]string{"n1": mine, "n2": other}, func(w *world) {
					for i, v := range clients {
						h, name := w.hosts[0], fmt.Sprint("web", i)
						made := read[struct{ ID string }](w, h.want(201, "", post, v+"/containers/create?name="+name,
							`{"Image":"busybox","Cmd":["sleep"],"StopSignal":"SIGINT","Env":["A=1"],"Labels":{"ddocker.node":"n2","k":"v"},"HostConfig":{"NanoCpus":500000000,"Memory":8388608,"Umask":18}}`))
						for _, call := range []string{
							"POST /containers/ID/start", "POST /containers/ID/exec", "GET /containers/ID/logs?stdout=1", "POST /containers/ID/update", "POST /containers/ID/rename?name=r" + name,
							"GET /containers/json?all=1", "GET /containers/ID/json", "GET /images/json", "GET /images/busybox/json", "GET /info", "GET /version", "GET /_ping",
							"POST /commit?container=ID&repo=app&tag=" + name, "POST /images/busybox/tag?repo=tagged&tag=" + name, "POST /containers/prune?filters=%7B%22label%22%3A%5B%22none%22%5D%7D",
							"POST /build/prune", "POST /containers/ID/stop", "DELETE /containers/ID?force=1",
						} {
							method, path, _ := strings.Cut(strings.ReplaceAll(call, "ID", made.ID), " ")
							body := map[bool]string{true: `{"Memory":16777216,"Cmd":["true"]}`}[strings.HasSuffix(path, "/update") || strings.HasSuffix(path, "/exec")]
							got := h.ask(method, v+path, body)
							if got.status >= 300 {
								t.Errorf("%s %s%s: %d %s", method, v, path, got.status, got.body)
							}
							if strings.HasSuffix(call, "ID/json") {
								wantWhole(t, got.body)
							}
						}
					}
				})
			})
		}
	}
}

// wantWhole fails the test unless the container has all that its create said.
func wantWhole(t *testing.T, inspected string) {
	t.Helper()
	for _, field := range []string{`"StopSignal":"SIGINT"`, `"A=1"`, `"k":"v"`, `"NanoCpus":500000000`, `"Memory":16777216`, `"Cmd":["sleep"]`} {
		if !strings.Contains(inspected, field) {
			t.Errorf("%s is lost in %s", field, inspected)
		}
	}
}

func TestTheLowestNewestVersionIsAdvertised(t *testing.T) {
	inWorldOf(t, 3, map[string][2]string{"n1": {"1.24", "1.52"}, "n2": {"1.12", "1.41"}, "n3": {"1.40", "1.54"}}, func(w *world) {
		for _, h := range w.hosts {
			for _, method := range []string{get, head} {
				if got := h.want(http.StatusOK, "", method, "/_ping", "").header.Get("Api-Version"); got != "1.41" {
					t.Errorf("%s advertises %q", h.id, got)
				}
			}
			v := read[struct {
				APIVersion, MinAPIVersion string
				Components                []struct {
					Name    string
					Details map[string]string
				}
			}](w, h.want(http.StatusOK, "", get, "/version", ""))
			if v.APIVersion != "1.41" || v.MinAPIVersion != "1.40" || v.Components[0].Details["ApiVersion"] != "1.41" || v.Components[1].Name != "ddocker" {
				t.Errorf("%s tells %+v", h.id, v)
			}
		}
	})
}

func TestAHungHostSlowsOnePingAtMost(t *testing.T) {
	inWorldOf(t, 3, map[string][2]string{"n1": {"1.24", "1.52"}, "n2": {"1.12", "1.41"}, "n3": {"1.24", "1.40"}}, func(w *world) {
		w.hosts[2].twin.Hang()
		for i, most := range []time.Duration{time.Second, 0, 0} {
			began := time.Now()
			got := w.hosts[0].want(http.StatusOK, "", get, "/_ping", "").header.Get("Api-Version")
			if took := time.Since(began); took > most || got != "1.41" {
				t.Errorf("ping %d took %s and said %q", i, took, got)
			}
		}
		w.hosts[2].twin.Unhang()
		time.Sleep(2 * probeEvery)
		w.hosts[0].want(http.StatusOK, "", get, "/_ping", "")
		w.hosts[2].twin.Hang() // what it once told is not forgotten
		time.Sleep(probeEvery)
		w.hosts[0].twin.Hang()
		began := time.Now()
		if got := w.hosts[0].want(http.StatusOK, "", get, "/_ping", "").header.Get("Api-Version"); got != "1.40" || time.Since(began) > 0 {
			t.Errorf("it says %q after %s", got, time.Since(began))
		}
	})
}
