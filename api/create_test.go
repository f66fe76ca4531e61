package api

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"ddocker/settings"
)

const busybox = `{"Image":"busybox"}`

// inspection is what of an inspect tests look at.
type inspection struct {
	ID, Name string
	Config   struct {
		Labels       map[string]string
		Env          []string
		ExposedPorts map[string]struct{}
	}
	HostConfig struct {
		NanoCpus, Memory    int64
		CPUQuota, CPUPeriod int64
		CpusetCpus          string
		Binds               []string
		PortBindings        map[string][]struct{ HostPort string }
	}
}

func (h *agent) inspect(name string) inspection {
	h.w.Helper()
	return read[inspection](h.w, h.want(http.StatusOK, "", get, "/containers/"+name+"/json", ""))
}

func TestContainerIsMadeOnTheHostThatTheLedgerChose(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		for i := range 3 {
			w.hosts[0].create(fmt.Sprintf("c%d", i), busybox)
		}
		for i := range 3 { // spread, and each where the ledger says
			p := w.placement(fmt.Sprintf("c%d", i))
			if p.Owner != "alice" || p.Container == "" {
				t.Errorf("the ledger has %+v", p)
			}
			for _, h := range w.hosts {
				if h.id == p.Node {
					wantList(t, "containers of "+h.id, h.has(), p.Name)
				}
			}
		}
	})
}

func TestGrantArrivesAtTheEngine(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.configure(offers())
		w.hosts[0].create("web", `{"image":"busybox","Labels":{"ddocker.type":"0","ddocker.ports":"2","ddocker.node":"n2"}}`)
		got := w.hosts[0].inspect("web")
		if got.HostConfig.CpusetCpus != "0-1" || got.HostConfig.Memory != 4<<30 || got.HostConfig.PortBindings["25001/tcp"][0].HostPort != "25001" {
			t.Errorf("got %+v", got.HostConfig)
		}
		if got.Config.Labels["ddocker.placement"] != w.placement("web").ID {
			t.Errorf("labels are %v", got.Config.Labels)
		}
	})
}

func TestAdditionalOptionsAreForContainersOfATypeAlone(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		s := offers()
		s.Options = []string{"-v /home:/home"}
		w.configure(s)
		w.hosts[0].create("typed", `{"Image":"busybox","Labels":{"ddocker.type":"0"},"hostconfig":{"binds":["/home/a:/a"]}}`)
		wantList(t, "binds", w.hosts[0].inspect("typed").HostConfig.Binds, "/home/a:/a", "/home:/home")
		w.hosts[0].create("plain", busybox)
		wantList(t, "binds", w.hosts[0].inspect("plain").HostConfig.Binds)
	})
}

func TestCreateIsRefusedInOneSentence(t *testing.T) {
	for _, c := range []struct {
		query, body string
		status      int
		words       string
	}{
		{"?name=a", busybox, 400, "Invalid container name (a)"},
		{"?name=../etc", busybox, 400, "Invalid container name"},
		{"?name=web", `[]`, 400, "no JSON object"},
		{"?name=web", ``, 400, "no JSON object"},
		{"?name=web", `{"Image":"none:1"}`, 404, "No such image: none:1"},
		{"?name=taken", busybox, 409, "already in use"},
		{"?name=web", `{"Image":"busybox","HostConfig":{"Memory":1099511627776}}`, 503, "no host has 1 TB free"},
		{"?name=web", on("n9"), 503, "no host is named n9"},
		{"?name=web", `{"Image":"busybox","image":"other"}`, 400, "the same to Docker"},
		{"?name=web", `{"Image":"busybox","memory":1073741824}`, 400, "stand in HostConfig"},
		{"?name=web", `{"Image":"busybox","HostConfig":{"CpusetCpus":"9"}}`, 503, "cores 9"},
		{"?name=web", strings.Repeat(" ", maxBody+1), 400, "too large"},
	} {
		t.Run(c.words, func(t *testing.T) {
			inWorld(t, 2, func(w *world) {
				w.hosts[1].create("taken", busybox)
				got := w.hosts[0].want(c.status, c.words, post, "/v1.41/containers/create"+c.query, c.body)
				if m := read[map[string]string](w, got); m["message"] == "" || got.header.Get("Content-Type") != "application/json" || got.header.Get(headerBusy) != "" {
					t.Errorf("the answer is %+v", got)
				}
			})
		})
	}
}

func TestContainerWithoutANameGetsAFreeOne(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		made := w.hosts[0].want(http.StatusCreated, "", post, "/containers/create", busybox)
		id := read[struct{ ID string }](w, made).ID
		if name := w.hosts[1].inspect(id).Name; !strings.Contains(name, "_") {
			t.Errorf("it is called %s", name)
		}
	})
}

func TestPortThatTurnsOutTakenIsFoundElsewhere(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.configure(settings.Settings{StartPort: 25000})
		h := w.hosts[0]
		h.machine.Listen(25000, 25001) // nobody has told the ledger yet
		id := h.create("web", `{"Image":"busybox","Labels":{"ddocker.ports":"1"}}`)
		if b := w.placement(id).Grant.Ports; len(b) != 1 || b[0].Host != 25002 {
			t.Errorf("granted are %v", b)
		}
	})
}

func TestEveryPortThatTheImageExposesIsPublished(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		// The twin's images expose nothing: an engine of our own stands in front.
		w.hosts[0].exposing("/images/busybox:latest/json", `{"Config":{"ExposedPorts":{"80/tcp":{}}}}`)
		id := w.hosts[0].create("web", `{"Image":"busybox","ExposedPorts":{"81/tcp":{}},"HostConfig":{"PublishAllPorts":true}}`)
		var ports []string
		for _, b := range w.placement(id).Grant.Ports {
			ports = append(ports, fmt.Sprintf("%d->%d", b.Host, b.Container))
		}
		wantList(t, "ports", ports, "25000->80", "25001->81")
	})
}

// exposing has the host's Local answer one path so.
func (h *agent) exposing(path, body string) {
	local := h.api.local.proxy
	h.api.local.proxy = forward(only{path, body, local.Transport}, "the Docker Engine", h.api.log, new(buffers))
}

type only struct {
	path, body string
	rest       http.RoundTripper
}

func (o only) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path != o.path {
		return o.rest.RoundTrip(r)
	}
	w := &record{header: http.Header{}, status: http.StatusOK}
	w.body.WriteString(o.body)
	return w.response(r), nil
}

func TestFilesOfTheEntryHostKeepAContainerThere(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].create("other", on("n2"))
		w.hosts[1].create("mine", `{"Image":"busybox","HostConfig":{"Binds":["/srv:/srv"]}}`)
		wantList(t, "containers of n2", w.hosts[1].has(), "mine", "other")
		w.hosts[0].want(http.StatusServiceUnavailable, "only n1 will do: volume /srv", post, "/containers/create?name=big",
			`{"Image":"busybox","HostConfig":{"Binds":["/srv:/srv"],"Memory":1099511627776}}`)
	})
}

func TestContainerGoesWhereItsCompanionIs(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].create("web", on("n2"))
		w.hosts[0].create("side", `{"Image":"busybox","HostConfig":{"NetworkMode":"container:web"}}`)
		wantList(t, "containers of n2", w.hosts[1].has(), "side", "web")
		w.hosts[0].want(http.StatusBadRequest, "host n1 is asked for, but only n2 will do: container web is there", post, "/containers/create?name=no",
			`{"Image":"busybox","Labels":{"ddocker.node":"n1"},"HostConfig":{"PidMode":"container:web"}}`)
	})
}

func TestEnginesOwnRefusalIsPassedOn(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].want(http.StatusBadRequest, "Minimum memory limit allowed is 6MB", post, "/containers/create?name=web",
			`{"Image":"busybox","HostConfig":{"Memory":1}}`)
		if w.placement("web") != nil {
			t.Error("the placement is still held")
		}
	})
}

func TestManyCreatesAtOnceShareTheClusterWithoutANameTwice(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		for _, h := range w.hosts[1:] {
			h.replica.Lag()
		}
		var mu sync.Mutex
		made := map[int]int{}
		var clients sync.WaitGroup
		for i := range 24 {
			clients.Go(func() {
				body := `{"Image":"busybox","HostConfig":{"NanoCpus":1000000000}}`
				got := w.hosts[i%3].ask(post, fmt.Sprintf("/containers/create?name=c%d", i/2), body)
				mu.Lock()
				defer mu.Unlock()
				made[got.status]++
			})
		}
		clients.Wait()
		// Of each name one, of which each has one of twelve cores. Who comes last
		// hears of the name or of the full cluster.
		if made[http.StatusCreated] != 12 || made[http.StatusConflict]+made[http.StatusServiceUnavailable] != 12 {
			t.Errorf("answers are %v", made)
		}
	})
}
