package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/engine/enginetest"
	"ddocker/gpu"
	"ddocker/sched"
)

// card is a GPU of a size in GiB on which nothing was read that a card may not offer.
func card(uuid, index, model string, size int64) gpu.Card {
	return gpu.Card{
		UUID: uuid, Index: index, Model: model, Memory: size << 30, NUMA: gpu.Unread,
		Utilization: gpu.Unread, Temperature: gpu.Unread, Power: gpu.Unread,
	}
}

// plugged gives n1 two cards and n2 one, and waits until the cluster knows.
func (w *world) plugged() {
	w.hosts[0].machine.Plug(card("GPU-n1", "0", "TITAN Xp", 12), card("GPU-n1b", "1", "TITAN Xp", 12))
	w.hosts[1].machine.Plug(card("GPU-n2", "0", "NVIDIA A100-SXM4-80GB", 80))
	time.Sleep(3 * time.Minute)
}

// runtimes gives every engine the runtime nvidia, as a person would.
func (w *world) runtimes() {
	for _, h := range w.hosts {
		h.twin.SetToolkit(enginetest.Runtime)
	}
	w.settle()
}

func asksGPUs(device, more string) string {
	return `{"Image":"busybox"` + more + `,"HostConfig":{"DeviceRequests":[{"Driver":"nvidia",` + device + `}]}}`
}

func (h *agent) cards() []cardRow {
	h.w.Helper()
	return read[[]cardRow](h.w, h.want(http.StatusOK, "", get, "/ddocker/gpus", ""))
}

func TestDeviceRequestsAreMetByTheLedger(t *testing.T) {
	for name, c := range map[string]struct{ body, want string }{
		"a model":                          {asksGPUs(`"Count":1,"Options":{"model":"TITAN Xp"}`, ""), "n1 GPU-n1"},
		"all of a host":                    {asksGPUs(`"Count":-1`, `,"Labels":{"ddocker.node":"n1"}`), "n1 GPU-n1 GPU-n1b"},
		"a UUID":                           {asksGPUs(`"DeviceIDs":["GPU-n1b"]`, ""), "n1 GPU-n1b"},
		"the beginning of a UUID":          {asksGPUs(`"DeviceIDs":["GPU-n2"]`, ""), "n2 GPU-n2"},
		"a whole UUID that begins another": {asksGPUs(`"DeviceIDs":["GPU-n1"]`, ""), "n1 GPU-n1"},
		"said to NVIDIA's runtime":         {`{"Image":"busybox","Env":["NVIDIA_VISIBLE_DEVICES=all","A=b","NVIDIA_VISIBLE_DEVICES=GPU-n1b"],"HostConfig":{"Runtime":"nvidia"}}`, "n1 GPU-n1b"},
		"none, said to the runtime":        {`{"Image":"busybox","Env":["NVIDIA_VISIBLE_DEVICES=none"],"Labels":{"ddocker.node":"n1"},"HostConfig":{"Runtime":"nvidia"}}`, "n1"},
		"said to another runtime":          {`{"Image":"busybox","Env":["NVIDIA_VISIBLE_DEVICES=all"],"Labels":{"ddocker.node":"n1"}}`, "n1"},
		"a request and the runtime":        {`{"Image":"busybox","Env":["NVIDIA_VISIBLE_DEVICES=all"],"HostConfig":{"Runtime":"nvidia","DeviceRequests":[{"Driver":"nvidia","DeviceIDs":["GPU-n2"]}]}}`, "n2 GPU-n2"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 2, func(w *world) {
				if strings.Contains(c.body, "Runtime") {
					w.runtimes()
				}
				w.plugged()
				w.hosts[1].create("web", c.body)
				p := w.placement("web")
				if p == nil {
					t.Fatal("nothing is placed")
				}
				got := strings.Join(append([]string{strings.TrimPrefix(p.Node, "id-")}, p.Grant.GPUs...), " ")
				if got != c.want {
					t.Errorf("got %s, want %s", got, c.want)
				}
			})
		})
	}
}

func TestABeginningOfSeveralUUIDsIsRefused(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.plugged()
		w.hosts[0].want(http.StatusBadRequest, "GPU GPU-n may be GPU-n1 of n1, GPU-n1b of n1, GPU-n2 of n2: give more of its UUID",
			post, "/v1.41/containers/create?name=web", asksGPUs(`"DeviceIDs":["GPU-n"]`, ""))
		w.hosts[0].want(http.StatusServiceUnavailable, "GPU-x", post, "/v1.41/containers/create?name=web", asksGPUs(`"DeviceIDs":["GPU-x"]`, ""))
	})
}

func TestWhatTheImageSaysToTheRuntimeCountsLeast(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.runtimes()
		w.plugged()
		w.hosts[0].exposing("/images/busybox:latest/json", `{"Config":{"Env":["NVIDIA_VISIBLE_DEVICES=GPU-n1"]}}`)
		w.hosts[0].create("web", `{"Image":"busybox","HostConfig":{"Runtime":"nvidia"}}`)
		wantList(t, "cards", w.placement("web").Grant.GPUs, "GPU-n1")
		w.hosts[0].create("db", `{"Image":"busybox","Env":["NVIDIA_VISIBLE_DEVICES="],"HostConfig":{"Runtime":"nvidia"}}`)
		wantList(t, "cards", w.placement("db").Grant.GPUs)
	})
}

func TestCardsOfAllHostsAreListedWithWhatTheyDo(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.plugged()
		id := w.hosts[1].create("web", asksGPUs(`"DeviceIDs":["GPU-n1b"]`, ""))
		busy := card("GPU-n1b", "1", "TITAN Xp", 12)
		busy.Utilization, busy.Used = 87, 3<<30
		busy.Processes = []gpu.Process{
			{PID: 7, User: "root", Command: "python", Memory: 2 << 30, Container: id},
			{PID: 312, User: "bob", Command: "cuda", Memory: gpu.Unread},
		}
		idle := card("GPU-n1", "0", "TITAN Xp", 12)
		idle.Idle = time.Now()
		w.hosts[0].machine.Plug(idle, busy)
		for _, h := range w.hosts {
			rows := h.cards()
			if len(rows) != 3 {
				t.Fatalf("%d rows", len(rows))
			}
			if r := rows[0]; r.State != cardFree || r.Host != "n1" || r.Utilization != nil || r.NUMA != nil || r.Container != nil || !r.Idle.Equal(idle.Idle) {
				t.Errorf("the first is %+v", r)
			}
			r := rows[1]
			if r.Container == nil || *r.Container != (cardUser{id, "web", "alice"}) || *r.Utilization != 87 || r.Idle != nil || *r.Used != 3<<30 {
				t.Errorf("the second is %+v", r)
			}
			if p := r.Processes; len(p) != 2 || p[0].Name != "web" || p[0].Owner != "alice" || *p[0].Memory != 2<<30 || p[1].Name != "" || p[1].User != "bob" || p[1].Memory != nil {
				t.Errorf("its processes are %+v", p)
			}
			if r := rows[2]; r.Host != "n2" || r.State != cardFree || r.Memory != 80<<30 {
				t.Errorf("the third is %+v", r)
			}
		}
		w.hosts[0].want(http.StatusOK, `"Utilization":null,"Temperature":null`, get, "/v1.41/ddocker/gpus", "")
	})
}

func TestCardsOfADeadHostAreTheLedgers(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.plugged()
		id := w.hosts[0].create("far", asksGPUs(`"DeviceIDs":["GPU-n2"]`, ""))
		w.hosts[1].fail()
		began := time.Now()
		rows := w.hosts[0].cards()
		if took := time.Since(began); took > time.Second || len(rows) != 3 {
			t.Fatalf("%d rows after %v", len(rows), took)
		}
		r := rows[2]
		if r.State != cardUnknown || r.Reason != "host n2 does not answer" || r.UUID != "GPU-n2" || r.Used != nil || r.Container == nil || r.Container.ID != id {
			t.Errorf("got %+v", r)
		}
	})
}

func TestCardsThatTheDriverNoLongerTellsOfStayListed(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.plugged()
		w.hosts[1].machine.Blind("the driver hangs")
		w.hosts[0].machine.Plug(card("GPU-n1", "0", "TITAN Xp", 12), card("GPU-new", "1", "TITAN Xp", 12))
		var got []string
		for _, r := range w.hosts[0].cards() {
			got = append(got, fmt.Sprintf("%s %s: %.30s", r.UUID, r.State, r.Reason))
		}
		wantList(t, "cards", got, "GPU-n1 free: ", "GPU-new unknown: not offered to the cluster yet", "GPU-n1b lost: host n1 no longer shows it", "GPU-n2 unknown: the driver hangs")
	})
}

func TestStateOfACardIsWhatItsHostToldUnlessSomebodyHasIt(t *testing.T) {
	for _, c := range []struct {
		closed      string
		held        bool
		state, want string
	}{
		{"", false, cardFree, ""},
		{"", true, cardHeld, ""},
		{"busy: used by python (pid 312, alice), outside any container", false, cardBusy, "used by python (pid 312, alice), outside any container"},
		{"busy: used by container web, which was not granted it", true, cardHeld, "used by container web, which was not granted it"},
		{"lost: it is gone", true, cardLost, "it is gone"},
		{"unknown: no answer: for long", false, cardUnknown, "no answer: for long"},
		{"drained", false, cardUnknown, "drained"},
		{"registered by host n2 too: a card is in one machine", false, cardUnknown, "registered by host n2 too: a card is in one machine"},
		{"registered by host n2 too: a card is in one machine", true, cardHeld, "registered by host n2 too: a card is in one machine"},
	} {
		var r cardRow
		if c.held {
			r.Container = &cardUser{}
		}
		if r.settle(c.closed); r.State != c.state || r.Reason != c.want {
			t.Errorf("%q, held %v: got %s: %q", c.closed, c.held, r.State, r.Reason)
		}
	}
}

func TestListSaysHowBusyTheCardsOfAContainerAre(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		if got := w.hosts[0].want(http.StatusOK, "", get, "/containers/json", "").header.Get(headerGPUs); got != "" {
			t.Errorf("a cluster without GPUs has %q", got)
		}
		w.plugged()
		w.hosts[1].create("both", asksGPUs(`"DeviceIDs":["GPU-n1","GPU-n1b"]`, ""))
		w.hosts[1].create("far", asksGPUs(`"Count":1,"Options":{"model":"A100-SXM4-80GB"}`, ""))
		first := card("GPU-n1", "0", "TITAN Xp", 12)
		first.Utilization = 87
		w.hosts[0].machine.Plug(first, card("GPU-n1b", "1", "TITAN Xp", 12))
		words := func() []string {
			var words []string
			for _, r := range w.hosts[1].ps("all=1") {
				for _, g := range r.Ddocker.GPUs {
					busy := "-"
					if g.Utilization != nil {
						busy = fmt.Sprint(*g.Utilization)
					}
					words = append(words, fmt.Sprintf("%s %s %s %s", r.Names[0], g.Index, g.UUID, busy))
				}
			}
			slices.Sort(words)
			return words
		}
		wantList(t, "cards", words(), "/both 0 GPU-n1 87", "/both 1 GPU-n1b -", "/far 0 GPU-n2 -")
		w.hosts[0].fail()
		wantList(t, "cards", words(), "/both 0 GPU-n1 -", "/both 1 GPU-n1b -", "/far 0 GPU-n2 -")
		if got := w.hosts[1].want(http.StatusOK, "", get, "/containers/json", "").header.Get(headerGPUs); got != "3" {
			t.Errorf("the cluster has %q GPUs", got)
		}
	})
}

func TestBusyCardsComeThroughAHeader(t *testing.T) {
	h := http.Header{}
	if tellBusy(h, gpu.State{}); len(h) > 0 || readBusy(h) != nil {
		t.Errorf("no card is told as %v", h)
	}
	a, b := card("GPU-a", "0", "", 1), card("MIG-b", "1:0", "", 1)
	a.Utilization, b.Utilization = 0, 100
	tellBusy(h, gpu.State{Cards: []gpu.Card{a, card("GPU-c", "2", "", 1), b}})
	if got := fmt.Sprint(readBusy(h)); got != "map[GPU-a:0 MIG-b:100]" {
		t.Errorf("got %s from %v", got, h)
	}
	h.Set(headerBusyGPUs, "x,=,GPU-a=x,GPU-b=3")
	if got := fmt.Sprint(readBusy(h)); got != "map[GPU-b:3]" {
		t.Errorf("got %s of garbage", got)
	}
}

func TestNodesSayWhichCardsAreFree(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.plugged()
		w.hosts[0].create("web", asksGPUs(`"DeviceIDs":["GPU-n1b"]`, ""))
		rows := read[[]nodeRow](w, w.hosts[0].want(http.StatusOK, "", get, "/ddocker/nodes", ""))
		want := []gpuRow{{UUID: "GPU-n1", Index: "0", Model: "TITAN Xp", Memory: 12 << 30, Free: true}, {UUID: "GPU-n1b", Index: "1", Model: "TITAN Xp", Memory: 12 << 30}}
		if !slices.Equal(rows[0].GPUs, want) {
			t.Errorf("got %+v", rows[0].GPUs)
		}
	})
}

func TestCardsThatAreNotOfferedSayWhy(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.twin.SetToolkit(enginetest.None)
		h.machine.Plug(card("GPU-a", "0", "TITAN Xp", 12), card("GPU-b", "1", "TITAN Xp", 12))
		time.Sleep(20 * time.Second)
		why := `withheld: the Docker Engine does not give GPUs to containers: could not select device driver "" with capabilities: [[gpu]]`
		rows := read[[]nodeRow](w, h.want(http.StatusOK, "", get, "/ddocker/nodes", ""))
		if got := rows[0].Reason; got != "2 GPUs "+why {
			t.Errorf("nodes say %q", got)
		}
		for _, c := range h.cards() {
			if c.State != cardUnknown || c.Reason != why {
				t.Errorf("%s is %s: %s", c.UUID, c.State, c.Reason)
			}
		}
	})
}

func TestArgumentsOfSMIArriveAtTheHost(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[1].api.local.smi = func(_ context.Context, args []string) (string, error) { return fmt.Sprint("cards of n2 ", args), nil }
		w.hosts[0].want(http.StatusOK, "cards of n2 [-q -d MEMORY]", get, "/ddocker/nvidia-smi?host=n2&arg=-q&arg=-d&arg=MEMORY", "")
	})
}

func TestFindCardPrefersAWholeUUID(t *testing.T) {
	hosts := []*sched.Host{{Name: "a", Cards: []sched.Card{{UUID: "GPU-12"}, {UUID: "GPU-1"}}}, {Name: "b", Cards: []sched.Card{{UUID: "GPU-34"}}}}
	for begin, want := range map[string]string{"GPU-1": "GPU-1", "GPU-3": "GPU-34", "GPU-5": "GPU-5", "GPU-12": "GPU-12"} {
		if got, err := findCard(hosts, begin); got != want || err != nil {
			t.Errorf("%s is %s, %v", begin, got, err)
		}
	}
	if _, err := findCard(hosts, "GPU-"); err == nil {
		t.Error("any card will do for the beginning of all")
	}
}

func TestUsersWithTheirOwnInSightSeeNoOthersOnCards(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.plugged()
		w.see("own")
		cards := map[string]string{"carol": "GPU-n1", "bob": "GPU-n1b"}
		var ids []string
		for _, who := range []string{"carol", "bob"} {
			w.as(who, ledger.Member)
			ids = append(ids, w.hosts[0].create(who, asksGPUs(`"DeviceIDs":["`+cards[who]+`"]`, "")))
		}
		busy := func(uuid, index, box string, pid int) gpu.Card {
			c := card(uuid, index, "TITAN Xp", 12)
			c.Processes = []gpu.Process{{PID: pid, User: "x", Command: "train", Container: box, Memory: gpu.Unread}, {PID: pid + 1, Command: "outside", Memory: gpu.Unread}}
			return c
		}
		w.hosts[0].machine.Plug(busy("GPU-n1", "0", ids[0], 10), busy("GPU-n1b", "1", ids[1], 20))
		w.settle()
		words := func() (words []string) {
			for _, r := range w.hosts[1].cards() {
				word := r.UUID + " " + r.State
				if r.Container != nil {
					word += " of " + r.Container.Owner + r.Container.Name
				}
				for _, p := range r.Processes {
					word += fmt.Sprint(" ", p.PID, p.Owner)
				}
				words = append(words, word)
			}
			return words
		}
		wantList(t, "bob sees", words(), "GPU-n1 held of ", "GPU-n1b held of bobbob 20bob", "GPU-n2 free")
		w.hosts[0].want(http.StatusForbidden, "nvidia-smi shows everybody's processes", get, "/ddocker/nvidia-smi?host=n1", "")
		w.as("alice", ledger.Admin)
		wantList(t, "an admin sees", words(), "GPU-n1 held of carolcarol 10carol 11", "GPU-n1b held of bobbob 20bob 21", "GPU-n2 free")
		w.hosts[0].want(http.StatusOK, "cards of n1", get, "/ddocker/nvidia-smi?host=n1", "")
	})
}
