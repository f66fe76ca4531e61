package node

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/engine"
	"ddocker/engine/enginetest"
	"ddocker/gpu"
	"ddocker/sched"
)

func card(uuid string, index int, by ...gpu.Process) gpu.Card {
	return gpu.Card{UUID: uuid, Index: fmt.Sprint(index), Model: "TITAN Xp", NUMA: gpu.Unread, Processes: by}
}

// closed returns what the cluster is told of the host's cards, as "UUID: why".
func (h *host) closed() (words []string) {
	for _, c := range h.known().Cards {
		words = append(words, c.UUID+": "+c.Why)
	}
	return words
}

// registered returns the UUIDs of the host's cards.
func (h *host) registered() (uuids []string) {
	h.w.log.Replica().View(func(l *ledger.Ledger) {
		for _, c := range l.Node(h.id).Capacity.Cards {
			uuids = append(uuids, c.UUID)
		}
	})
	return uuids
}

func (h *host) wantCards(d time.Duration, want ...string) {
	h.w.Helper()
	h.w.within(d, fmt.Sprintf("registered are %q", want), func() bool { return slices.Equal(h.registered(), want) })
}

// wantClosed waits for cards to be closed, each "UUID: " and the beginning of its reason.
func (h *host) wantClosed(d time.Duration, want ...string) {
	h.w.Helper()
	for end := time.Now().Add(d); ; time.Sleep(10 * time.Millisecond) {
		synctest.Wait()
		if slices.EqualFunc(h.closed(), want, strings.HasPrefix) {
			return
		}
		if time.Now().After(end) {
			h.w.Fatalf("closed are %q, want %q within %v", h.closed(), want, d)
		}
	}
}

// gpus asks for so many cards.
func gpus(n int) sched.Request { return sched.Request{GPUs: make([]sched.GPUWish, n)} }

// withCards is a world of one host that runs and has registered these cards.
func withCards(t *testing.T, play func(h *host), uuids ...string) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.twin.SetGPUs(uuids...)
		h.plug(uuids...)
		h.run()
		h.wantCards(10*time.Second, uuids...)
		h.wantClosed(time.Second)
		play(h)
	})
}

// plug shows these cards to the node, in the order of their index.
func (h *host) plug(uuids ...string) {
	var cards []gpu.Card
	for i, uuid := range uuids {
		cards = append(cards, card(uuid, i))
	}
	h.machine.Plug(cards...)
}

// start starts a container behind the agent's back.
func (h *host) start(id string) {
	h.w.Helper()
	if err := post(h.w.Context(), h.docker, "/containers/"+id+"/start"); err != nil {
		h.w.Fatal(err)
	}
}

func TestCardsAreRegisteredSoonAndAsTheyChange(t *testing.T) {
	withCards(t, func(h *host) {
		h.plug("GPU-a", "GPU-b")
		h.wantCards(plugEvery+5*time.Second, "GPU-a", "GPU-b")
		h.plug("GPU-b", "GPU-a")
		h.wantCards(plugEvery+5*time.Second, "GPU-b", "GPU-a")
	}, "GPU-a")
}

func TestCardsThatTheEngineDoesNotGiveAreNotOffered(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.twin.SetToolkit(enginetest.None)
		h.plug("GPU-a")
		h.run()
		h.wantClosed(10*time.Second, `GPU-a: withheld: the Docker Engine does not give GPUs to containers: could not select device driver "" with capabilities: [[gpu]]`)
		if got := h.registered(); len(got) > 0 {
			t.Errorf("registered are %q", got)
		}
		before := w.log.Len()
		time.Sleep(time.Hour)
		if now := w.log.Len(); now != before {
			t.Errorf("in an hour %d commands", now-before)
		}
		h.twin.SetToolkit(enginetest.Runtime)
		h.wantCards(10*time.Second, "GPU-a")
		h.wantClosed(reopenAfter + 5*time.Second)
		_, id := h.create("web", gpus(1))
		h.start(id)
		wantList(t, "cards of web", h.twin.Visible()[id], "GPU-a")
		_, id = h.create("none", sched.Request{})
		h.start(id)
		h.twin.SetToolkit(enginetest.None)
		h.wantClosed(10*time.Second, "GPU-a: withheld: ")
		wantList(t, "registered", h.registered(), "GPU-a")
	})
}

func TestTrialThatCannotBeMadeIsMadeAgain(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.twin.SetGPUs("GPU-b") // the driver says a
		h.plug("GPU-a")
		h.run()
		h.wantClosed(10*time.Second, "GPU-a: unknown: the Docker Engine could not be tried for GPUs: nvidia-container-cli: device error")
		h.twin.SetGPUs("GPU-a")
		h.wantCards(time.Minute, "GPU-a")
		h.wantClosed(reopenAfter + 5*time.Second)
	})
}

// A slow engine makes what a life of the agent that has ended asked it for.
func TestWhatATrialLeavesTooLateIsRemoved(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.plug("GPU-a")
		h.twin.SetLatency(enginetest.Load, 30*time.Second)
		h.run()
		time.Sleep(time.Second)
		h.end()
		h.twin.SetLatency(enginetest.Load, 0)
		h.run()
		h.wantCards(time.Minute, "GPU-a")
		left := func() int {
			req, err := http.NewRequestWithContext(w.Context(), http.MethodGet, "http://docker/images/json", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := h.docker.RoundTripper().RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			list, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			return strings.Count(string(list), engine.LabelProbe)
		}
		w.within(time.Minute, "the image of the first trial is there", func() bool { return left() == 1 })
		w.within(lateTrial, "it is removed", func() bool { return left() == 0 })
	})
}

func TestCardOutOfOrderIsTriedForNoOther(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.twin.SetGPUs("GPU-b")
		h.plug("GPU-a", "GPU-b")
		h.run()
		h.wantCards(30*time.Second, "GPU-a", "GPU-b")
	})
}

func TestCardThatTheDriverShowsTwiceIsRegisteredOnce(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.plug("GPU-a", "GPU-a")
		h.run()
		h.wantCards(10*time.Second, "GPU-a")
	})
}

func TestUnknownCardsStayAndTakeNothing(t *testing.T) {
	withCards(t, func(h *host) {
		p, index := h.place("late", gpus(1))
		h.machine.Blind("the driver hangs")
		h.wantClosed(3*time.Second, "GPU-a: unknown: the driver hangs")
		wantList(t, "registered", h.registered(), "GPU-a")
		_, _, err := h.Realize(h.w.Context(), p.ID, index, "", []byte(plain))
		wantRefusal(t, err, ledger.Busy, "GPU GPU-a of n1 is unknown: the driver hangs")
		h.plug("GPU-a")
		time.Sleep(reopenAfter - 5*time.Second)
		h.wantClosed(0, "GPU-a: unknown: ")
		h.wantClosed(10 * time.Second)
		h.create("web", gpus(1))
		// Nothing is placed before the first word of a new life's reader.
		h.end()
		h.machine.Blind("not read yet")
		h.run()
		h.wantClosed(3*time.Second, "GPU-a: unknown: not read yet")
		h.plug("GPU-a")
		h.wantClosed(5 * time.Second) // at once: it was not lost
		wantList(t, "registered", h.registered(), "GPU-a")
	}, "GPU-a")
}

// A life that has not yet read what the one before it told takes nothing of that back.
func TestCardsStayWhenTheLedgerIsNotReadYet(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h, behind := w.hosts[0], w.log.Replica()
		behind.Lag()
		h.twin.SetGPUs("GPU-a")
		h.plug("GPU-a")
		h.run()
		h.wantCards(10*time.Second, "GPU-a")
		told := h.known()
		h.end()
		h.machine.Blind("not read yet")
		h.machine.Group(sched.Topology{Nodes: []sched.CPUSet{sched.CPUs(0, 1), sched.CPUs(2, 3)}})
		h.replica = behind
		h.run()
		h.wantClosed(5*time.Second, "GPU-a: unknown: not read yet")
		wantList(t, "registered", h.registered(), "GPU-a")
		if now := h.known(); len(now.Images) != len(told.Images) || now.Store != told.Store {
			t.Errorf("observed is %+v, was %+v", now, told)
		}
	})
}

func TestLostCardStaysAsLongAsSomebodyHoldsIt(t *testing.T) {
	withCards(t, func(h *host) {
		p, id := h.create("web", sched.Request{GPUs: []sched.GPUWish{{UUID: "GPU-b"}}})
		h.plug("GPU-a")
		h.wantClosed(3*time.Second, "GPU-b: lost: the driver does not show it")
		time.Sleep(time.Hour)
		wantList(t, "registered", h.registered(), "GPU-a", "GPU-b")
		if err := h.docker.Remove(h.w.Context(), id, true, true); err != nil {
			t.Fatal(err)
		}
		h.w.within(5*time.Second, "the placement has gone", func() bool { return h.w.placement(p.ID) == nil })
		h.wantCards(15*time.Second, "GPU-a")
		h.wantClosed(reopenAfter + 5*time.Second)
		h.plug("GPU-a", "GPU-b")
		h.wantCards(15*time.Second, "GPU-a", "GPU-b")
	}, "GPU-a", "GPU-b")
}

func TestCardThatIsGoneForAMomentIsClosedOnly(t *testing.T) {
	withCards(t, func(h *host) {
		h.plug()
		h.wantClosed(3*time.Second, "GPU-a: lost: ")
		time.Sleep(lostFor / 2)
		h.plug("GPU-a")
		h.wantClosed(reopenAfter + 5*time.Second)
		wantList(t, "registered", h.registered(), "GPU-a")
	}, "GPU-a")
}

func TestCardThatOthersUseIsClosedAndSaysByWhom(t *testing.T) {
	withCards(t, func(h *host) {
		h.create("other", sched.Request{})
		_, other := h.create("mine", sched.Request{})
		_, holder := h.create("holder", gpus(1))
		alice := gpu.Process{PID: 312, User: "alice", Command: "python"}
		for _, c := range []struct {
			by   gpu.Process
			want string
		}{
			{alice, "busy: used by python (pid 312, alice), outside any container"},
			{gpu.Process{PID: 7, Container: other, User: "root", Command: "x"}, "busy: used by container mine, which was not granted it"},
			{gpu.Process{PID: 9, Container: h.outside("theirs", plain), User: "root", Command: "x"}, "busy: used by container theirs, which was not granted it"},
		} {
			h.machine.Plug(card("GPU-a", 0, c.by), card("GPU-b", 1))
			h.wantClosed(8*time.Second, "GPU-a: "+c.want)
			h.plug("GPU-a", "GPU-b")
			h.wantClosed(reopenAfter + 5*time.Second)
		}
		h.machine.Plug(card("GPU-a", 0, gpu.Process{PID: 7, Container: holder, User: "root", Command: "x"}), card("GPU-b", 1))
		time.Sleep(time.Minute)
		h.wantClosed(0)
		h.wantWarnings("container uses a GPU that it was not granted")
	}, "GPU-a", "GPU-b")
}

func TestEndOfAContainerIsNoForeignUse(t *testing.T) {
	withCards(t, func(h *host) {
		_, id := h.create("web", gpus(1))
		h.machine.Plug(card("GPU-a", 0, gpu.Process{PID: 7, Container: id, Command: "x"}))
		time.Sleep(time.Minute)
		before := h.w.log.Len()
		if err := h.docker.Remove(h.w.Context(), id, true, true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(sampleEvery) // the reader is behind
		h.machine.Plug(card("GPU-a", 0, gpu.Process{PID: 7, User: "root", Command: "x"}))
		time.Sleep(sampleEvery / 2)
		h.plug("GPU-a")
		time.Sleep(time.Minute)
		if now := h.w.log.Len(); now != before+1 {
			t.Errorf("%d commands, want one that releases", now-before)
		}
		h.machine.Plug(card("GPU-a", 0, gpu.Process{PID: 7, Container: id, Command: "x"}))
		h.wantClosed(doubtFor+5*time.Second, "GPU-a: busy: used by container "+ledger.Short(id)+", which the cluster does not know")
	}, "GPU-a")
}

func TestUseNowAndThenCostsTheLogLittle(t *testing.T) {
	withCards(t, func(h *host) {
		before := h.w.log.Len()
		for i := range 300 { // ten minutes
			if i%2 == 0 {
				h.machine.Plug(card("GPU-a", 0, gpu.Process{PID: i, User: "alice", Command: "python"}))
			} else {
				h.plug("GPU-a")
			}
			time.Sleep(sampleEvery)
		}
		if got := h.w.log.Len() - before; got > 40 {
			t.Errorf("%d commands in ten minutes, want two in half a minute at most", got)
		}
	}, "GPU-a")
}

func TestContainersHoldWhatTheyWereGivenWhateverRestarts(t *testing.T) {
	withCards(t, func(h *host) {
		ids := map[string]string{}
		for _, uuid := range []string{"GPU-a", "GPU-b", "GPU-c"} {
			_, ids[uuid] = h.create("on-"+uuid, sched.Request{GPUs: []sched.GPUWish{{UUID: uuid}}})
			h.start(ids[uuid])
		}
		same := func(when string) {
			for uuid, id := range ids {
				wantList(t, when, h.twin.Visible()[id], uuid)
			}
			_, _, err := h.Place(h.w.Context(), h.w.ask("more", gpus(1)))
			wantRefusal(t, err, ledger.Full, "")
		}
		for _, id := range ids {
			post(h.w.Context(), h.docker, "/containers/"+id+"/stop")
			h.start(id)
		}
		same("after stop and start")
		h.end()
		h.run()
		same("after a new life of the agent")
		h.twin.Restart()
		time.Sleep(10 * time.Second)
		same("after a new life of the engine")
		h.wantClosed(0)
		wantList(t, "registered", h.registered(), "GPU-a", "GPU-b", "GPU-c")
	}, "GPU-a", "GPU-b", "GPU-c")
}

func TestWhatDockerLetsPeopleWriteOfGPUsMeansCards(t *testing.T) {
	cards := []sched.Card{{UUID: "GPU-0a1", Index: "1"}, {UUID: "GPU-0b2", Index: "0"}, {UUID: "MIG-c", Index: "2:0", Of: "GPU-cut"}, {UUID: "MIG-d", Index: "2:1", Of: "GPU-cut"}, {UUID: "GPU-lost"}}
	for asked, want := range map[string]string{
		"":        "",
		"all":     "GPU-0a1 GPU-0b2 MIG-c MIG-d GPU-lost",
		"0":       "GPU-0b2",
		"1":       "GPU-0a1",
		"2":       "MIG-c MIG-d",
		"2:1":     "MIG-d",
		"GPU-0b2": "GPU-0b2",
		"gpu-0A":  "GPU-0a1",
		"GPU-":    "",
		"7":       "",
		"GPU-cut": "MIG-c MIG-d",
		"0,1":     "GPU-0a1 GPU-0b2",
	} {
		if got := strings.Join(uuids(strings.Split(asked, ","), cards), " "); got != want {
			t.Errorf("%q means %q, want %q", asked, got, want)
		}
	}
}

// The driver shows a GPU or its MIG devices, and the ledger knows those that are held.
func TestAGPUIsOneThingHoweverItIsCut(t *testing.T) {
	withCards(t, func(h *host) {
		why := func(want ...string) {
			h.w.Helper()
			time.Sleep(3 * time.Minute)
			var got []string
			h.w.log.Replica().View(func(l *ledger.Ledger) {
				for _, c := range l.Host(h.id).Cards {
					got = append(got, c.UUID+": "+c.Closed)
				}
			})
			wantList(t, "cards", got, want...)
		}
		part := func(i int) gpu.Card {
			return gpu.Card{UUID: fmt.Sprint("MIG-", i), Index: fmt.Sprint("0:", i), Of: "GPU-a", Model: "A100 MIG 3g.40gb", Profile: "3g.40gb", NUMA: gpu.Unread}
		}
		_, web := h.create("web", gpus(1))
		h.machine.Plug(part(0), part(1))
		why("MIG-0: held by web as a whole", "MIG-1: held by web as a whole", "GPU-a: lost: the driver does not show it")
		if err := h.docker.Remove(h.w.Context(), web, true, true); err != nil {
			t.Fatal(err)
		}
		why("MIG-0: ", "MIG-1: ")
		h.twin.SetGPUs("MIG-0", "MIG-1")
		h.create("part", sched.Request{GPUs: []sched.GPUWish{{Profile: "3g.40gb"}}})
		h.plug("GPU-a")
		why("GPU-a: parts of it are held by part", "MIG-0: lost: the driver does not show it")
	}, "GPU-a")
}

func TestOutsidersHoldTheCardsThatTheyName(t *testing.T) {
	for asked, want := range map[string]string{
		`{"Count":-1,"Capabilities":[["gpu"]]}`:            "GPU-a GPU-b",
		`{"Count":1,"Capabilities":[["gpu"]]}`:             "GPU-a",
		`{"DeviceIDs":["1"],"Capabilities":[["gpu"]]}`:     "GPU-b",
		`{"DeviceIDs":["GPU-b"],"Capabilities":[["gpu"]]}`: "GPU-b",
	} {
		withCards(t, func(h *host) {
			id := h.outside("theirs", `{"Image":"busybox:latest","HostConfig":{"DeviceRequests":[`+asked+`]}}`)
			h.start(id)
			time.Sleep(5 * time.Second)
			o := h.known().Containers
			if len(o) != 1 || strings.Join(o[0].Grant.GPUs, " ") != want {
				t.Errorf("%s holds %+v, want %s", asked, o, want)
			}
			h.machine.Plug(card("GPU-a", 0, use1(h, id, "GPU-a")...), card("GPU-b", 1, use1(h, id, "GPU-b")...))
			time.Sleep(time.Minute)
			h.wantClosed(0)
		}, "GPU-a", "GPU-b")
	}
}

func TestCardThatWasGrantedAndIsTakenBesideTheClusterIsTold(t *testing.T) {
	withCards(t, func(h *host) {
		h.create("ours", gpus(1))
		theirs := h.outside("theirs", `{"Image":"busybox:latest","HostConfig":{"DeviceRequests":[{"DeviceIDs":["GPU-a"],"Capabilities":[["gpu"]]}]}}`)
		h.wantClosed(15*time.Second, "GPU-a: busy: used by container theirs, made outside the cluster, though ours was granted it")
		if err := h.docker.Remove(h.w.Context(), theirs, true, true); err != nil {
			h.w.Fatal(err)
		}
		h.wantClosed(reopenAfter + 15*time.Second)
	}, "GPU-a", "GPU-b")
}

// use1 is a process of the container on the card, if it was given that.
func use1(h *host, id, uuid string) []gpu.Process {
	if slices.Contains(h.twin.Visible()[id], uuid) {
		return []gpu.Process{{PID: 7, Container: id, User: "root", Command: "x"}}
	}
	return nil
}
