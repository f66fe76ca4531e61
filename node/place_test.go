package node

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"ddocker/consensus/ledger"
	"ddocker/node/nodetest"
	"ddocker/sched"
)

func TestPlaceSpreadsOverTheEmptiestHosts(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		w.loads["id-n1"] = sched.Load{CPU: 90}
		on := map[string]int{}
		for i := range 4 {
			p, _ := w.hosts[0].place(fmt.Sprintf("c%d", i), sched.Request{})
			on[p.Node]++
		}
		if on["id-n2"] != 2 || on["id-n3"] != 2 {
			t.Errorf("placed %v", on)
		}
	})
}

func TestFullClusterIsRefusedInOneSentence(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		w.down["id-n3"] = true
		_, _, err := w.hosts[0].Place(w.Context(), w.ask("big", sched.Request{MilliCPU: 3 * sched.Core, Memory: 64 << 30}))
		wantRefusal(t, err, ledger.Full, "")
		for _, words := range []string{"no host has 3 cores, 64 GB free", "n1", "n2", "n3 is unreachable"} {
			if !contains(err.Error(), words) {
				t.Errorf("%q does not say %q", err, words)
			}
		}
	})
}

func TestRefusalForOneHostSpeaksOfNoOther(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		w.hosts[0].twin.AddImage("only:n1") // which the ledger does not know
		c := w.ask("web", sched.Request{Host: "n2"})
		c.Image = "only:n1"
		_, _, err := w.hosts[0].Place(w.Context(), c)
		wantRefusal(t, err, ledger.Full, "n2 is without image only:n1")
		if contains(err.Error(), "n1 is") || contains(err.Error(), "n3") {
			t.Errorf("%q speaks of others", err)
		}
		w.down["id-n3"] = true
		_, _, err = w.hosts[0].Place(w.Context(), w.ask("web", sched.Request{Host: "n9"}))
		wantRefusal(t, err, ledger.Full, "no host is named n9")
	})
}

func TestTakenNameIsRefusedBeforeAFullCluster(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].create("web", sched.Request{})
		_, _, err := w.hosts[1].Place(w.Context(), w.ask("web", sched.Request{Memory: 1 << 50}))
		wantRefusal(t, err, ledger.Conflict, `"/web" is already in use`)
	})
}

// It may have been freed since, by this node itself too.
func TestNameThatMayBeFreeAgainIsNotSaidToBeTaken(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].create("web", sched.Request{})
		h := w.hosts[1]
		h.replica.Cut(true)
		_, _, err := h.Place(w.Context(), w.ask("web", sched.Request{}))
		var refusal *ledger.Refusal
		if err == nil || errors.As(err, &refusal) {
			t.Errorf("without a leader it is said: %v", err)
		}
	})
}

func TestNameOfAContainerOutsideTheClusterIsTaken(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].outside("web", plain)
		w.hosts[0].look()
		_, _, err := w.hosts[1].Place(w.Context(), w.ask("web", sched.Request{}))
		wantRefusal(t, err, ledger.Conflict, "on host n1")
	})
}

// A replica that is behind must look again before it says no.
func TestStaleViewIsNoReasonToRefuse(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h, late := w.hosts[0], w.hosts[1]
		_, web := h.create("web", sched.Request{MilliCPU: 3 * sched.Core})
		_, _ = late.create("full", sched.Request{MilliCPU: 3 * sched.Core})
		late.replica.Lag()
		if err := h.Removed(w.Context(), web); err != nil {
			t.Fatal(err)
		}
		p, _, err := late.Place(w.Context(), w.ask("web", sched.Request{MilliCPU: 3 * sched.Core}))
		if err != nil || p.Node != h.id {
			t.Errorf("got %v, %v: the name and the cores of n1 are free", p, err)
		}
	})
}

func TestStaleViewThatHopesTooMuchIsCorrected(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h, late := w.hosts[0], w.hosts[1]
		late.replica.Lag()
		h.place("a", sched.Request{MilliCPU: 3 * sched.Core, Host: "n1"})
		h.place("b", sched.Request{MilliCPU: 3 * sched.Core, Host: "n2"})
		_, _, err := late.Place(w.Context(), w.ask("box", sched.Request{MilliCPU: 3 * sched.Core}))
		wantRefusal(t, err, ledger.Full, "free")
	})
}

func TestImageThatIsNotObservedYetIsAskedFor(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[1].twin.AddImage("new:1")
		c := w.ask("web", sched.Request{})
		c.Image = "new:1"
		p, _, err := w.hosts[0].Place(w.Context(), c)
		if err != nil || p.Node != "id-n2" {
			t.Errorf("got %v, %v", p, err)
		}
	})
}

func TestNameThatIsGivenToAnotherImageMeanwhileIsLookedUpAgain(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h, late := w.hosts[0], w.hosts[1]
		h.publish("web:1", "old")
		late.replica.Lag()
		if _, err := h.SettleImages(w.Context(), w.unname("web:1", false)); err != nil {
			t.Fatal(err)
		}
		id := h.publish("web:1", "new")
		if p, _ := late.from("web:1", "box", sched.Request{}); p.ImageID != id {
			t.Errorf("placed with image %s", p.ImageID)
		}
	})
}

func TestImageThatNobodyHasIsUnknown(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		c := w.ask("web", sched.Request{})
		c.Image = "none:1"
		_, _, err := w.hosts[0].Place(w.Context(), c)
		wantRefusal(t, err, ledger.Unknown, "No such image: none:1")
	})
}

func TestRaceForTheLastCoresHasAsManyWinnersAsThereIsRoom(t *testing.T) {
	inWorld(t, 4, func(w *world) {
		for _, h := range w.hosts[1:] {
			h.replica.Lag()
		}
		var mu sync.Mutex
		won := map[string]int{}
		var racers sync.WaitGroup
		for i := range 40 {
			c := w.ask(fmt.Sprintf("c%d", i), sched.Request{MilliCPU: 2 * sched.Core})
			racers.Go(func() {
				p, _, err := w.hosts[i%4].Place(w.Context(), c)
				if err != nil {
					wantRefusal(t, err, ledger.Full, "")
					return
				}
				mu.Lock()
				defer mu.Unlock()
				won[p.Node]++
			})
		}
		racers.Wait()
		for _, h := range w.hosts {
			if won[h.id] != 2 {
				t.Errorf("%s got %d containers of 2 of its 4 cores", h.id, won[h.id])
			}
		}
	})
}

func TestWithoutAQuorumNothingIsPlaced(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		w.hosts[0].replica.Cut(true)
		_, _, err := w.hosts[0].Place(w.Context(), w.ask("web", sched.Request{}))
		if err == nil || !contains(err.Error(), nodetest.ErrCut.Error()) {
			t.Errorf("got %v", err)
		}
	})
}

func TestImageOfADeadHostIsNoUnknownImage(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[1].twin.AddImage("only:n2")
		w.hosts[1].look()
		w.down["id-n2"] = true
		c := w.ask("web", sched.Request{})
		c.Image = "only:n2"
		_, _, err := w.hosts[0].Place(w.Context(), c)
		wantRefusal(t, err, ledger.Unknown, `image only:n2 is on host n2, which does not answer: see "ddocker nodes"`)
	})
}

// A host that comes back as another node may have containers of its earlier life. What else
// it tells of itself first does not say that there is none.
func TestNothingIsPlacedOnAHostBeforeItHasToldWhatRunsThere(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.boot("n2")
		h.outside("db", `{"Image":"busybox","HostConfig":{"CpusetCpus":"0-1"}}`)
		if err := h.register(w.Context()); err != nil {
			t.Fatal(err)
		}
		h.tellPorts()
		h.tellCards(w.Context())
		if _, err := h.SettleImages(w.Context(), 0); err != nil {
			t.Error(err)
		}
		_, _, err := w.hosts[0].Place(w.Context(), w.ask("web", sched.Request{Host: "n2", MilliCPU: sched.Core}))
		wantRefusal(t, err, ledger.Full, "n2 is just joining: it has not told yet what is there")
		h.look()
		wantList(t, "outsiders", h.outsiders(), "db")
		p, _ := h.create("web", sched.Request{MilliCPU: sched.Core})
		if cores := w.placement(p.ID).Grant.Cores.String(); cores != "2" {
			t.Errorf("it got cores %s", cores)
		}
	})
}
