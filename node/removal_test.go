package node

import (
	"testing"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/sched"
)

func TestNameTakenAwayGoesOnEveryHostAlsoOneThatWasAway(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		id := w.hosts[0].publish("web:1", "code")
		w.hosts[1].publish("web:1", "code")
		index := w.unname("web:1", false)
		removed, err := w.hosts[0].SettleImages(w.Context(), index)
		if err != nil || len(removed) < 2 || removed[0].Untagged != "web:1" || removed[1].Deleted != id {
			t.Errorf("%v, %v", removed, err)
		}
		wantList(t, "left to do on n1", w.hosts[0].pending())
		wantList(t, "left to do on n2", w.hosts[1].pending(), "web:1")
		w.hosts[1].crash()
		w.hosts[1].look()
		wantList(t, "left to do on n2", w.hosts[1].pending())
		if w.hosts[1].tags()["web:1"] != "" || w.named("web:1") != "" || len(w.holders(id)) > 0 {
			t.Error("the image is back")
		}
	})
}

func TestNameTakenByForceLeavesTheImageToItsContainers(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		id := h.publish("web:1", "code")
		p, index := h.from("web:1", "box", sched.Request{})
		c := h.makes(p, index)
		if err := h.twinStart(c.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := h.SettleImages(w.Context(), w.unname("web:1", true)); err != nil {
			t.Fatal(err)
		}
		if h.tags()["web:1"] != "" {
			t.Error("the name is still there")
		}
		wantList(t, "holders", w.holders(id), "n1")
		wantList(t, "left to do", h.pending())
	})
}

func TestImageOfAContainerMadeWithPlainDockerIsInUse(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		id := h.publish("web:1", "code")
		h.outside("mine", `{"Image":"web:1"}`)
		h.look()
		if got := h.known().Containers[0].ImageID; got != id {
			t.Errorf("mine is made from %q", got)
		}
		r, _, err := w.log.Replica().Propose(w.Context(), ledger.Command{Unname: &ledger.Unname{Name: "web:1", ID: id}})
		if err != nil {
			t.Fatal(err)
		}
		wantRefusal(t, r.Refusal, ledger.Conflict, "container mine on host n1 is using")
	})
}

func TestImageRemovedWithPlainDockerOnItsOnlyHostLosesItsName(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.publish("web:1", "code")
		if _, err := h.docker.RemoveImage(w.Context(), "web:1", false); err != nil {
			t.Fatal(err)
		}
		h.look()
		if w.named("web:1") != "" {
			t.Error("the cluster names an image that nobody has")
		}
		h.wantWarnings(`msg="the last copy of an image was removed from its host: its name is gone from the cluster" name=web:1`)
	})
}

func TestNamesThatDoNotEndUnaskedAreNotWarnedOf(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		h.publish("two:1", "on two hosts")
		w.hosts[1].publish("two:1", "on two hosts")
		h.publish("gone:1", "removed with ddocker")
		if _, err := h.docker.RemoveImage(w.Context(), "two:1", false); err != nil {
			t.Fatal(err)
		}
		w.unname("gone:1", false)
		for range 2 {
			h.look()
		}
		if len(h.tags()) != 1 {
			t.Errorf("n1 has %v", h.tags())
		}
		h.wantWarnings()
	})
}

func TestImageThatOthersWereCommittedFromGoesWithThemWithoutAWord(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		h.publish("web:1", "code")
		box := h.outside("box", `{"Image":"web:1"}`)
		if status, reply, err := h.docker.Commit(w.Context(), "", "container=box&repo=child&tag=1", nil); status != statusCreated || err != nil {
			t.Fatalf("%d %s %v", status, reply, err)
		}
		if err := h.docker.Remove(w.Context(), box, false, true); err != nil {
			t.Fatal(err)
		}
		h.look()
		for _, name := range []string{"web:1", "child:1"} {
			if _, err := h.SettleImages(w.Context(), w.unname(name, false)); err != nil {
				t.Fatal(err)
			}
		}
		if len(h.tags()) != 1 {
			t.Errorf("n1 has %v", h.tags())
		}
		h.wantWarnings()
	})
}

func TestRemovalsAreDoneByARunningAgentWithoutBeingAsked(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[1]
		w.hosts[0].publish("web:1", "code")
		h.publish("web:1", "code")
		h.run()
		time.Sleep(5 * time.Second)
		w.unname("web:1", false)
		w.within(15*time.Second, "the name is taken away", func() bool { return len(h.pending()) == 0 })
	})
}

func TestNameThatAHostNeverGaveIsTakenAwayThere(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		id := w.hosts[0].publish("web:1", "code")
		w.hosts[1].publish("x:1", "code")
		w.hosts[1].look()
		w.propose(ledger.Command{NameImage: &ledger.NameImage{Image: ledger.Image{Name: "web:2", ID: id, Node: "id-n1"}}})
		w.unname("web:2", false)
		wantList(t, "left to do", w.hosts[1].pending(), "web:2")
		w.hosts[1].look()
		wantList(t, "left to do", w.hosts[1].pending())
	})
}

func TestEngineThatForOnceDoesNotTellWhatItsImagesAreLosesNoName(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		id := h.publish("web:1", "code")
		h.blind = true
		time.Sleep(2 * time.Minute) // until what was found out about it is forgotten
		h.look()
		if w.named("web:1") != id {
			t.Error("the name is lost")
		}
		h.crash()
		h.look()
		if w.named("web:1") != id {
			t.Error("the name is lost by an agent that knows nothing yet")
		}
		wantList(t, "holders", w.holders(id), "n1")
	})
}

func TestAgentThatNeverLearntOfItsImagesDoesNotTellThatThereAreNone(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		w.propose(ledger.Command{Observe: &ledger.Observe{Node: h.id, Seen: uint64(w.log.Len()) + 1}})
		h.blind = true
		h.crash()
		if err := h.reconcile(w.Context()); err == nil {
			t.Error("it tells that there are none")
		}
	})
}

func TestImageWithoutATagIsNotLostToAnEngineThatForOnceDoesNotTell(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		id := h.publish("web:1", "code")
		h.publish("web:1", "newer") // takes the tag
		h.blind = true
		h.crash()
		time.Sleep(2 * time.Minute)
		h.look()
		wantList(t, "holders", w.holders(id), "n1")
	})
}

// asked makes a container whose image the ledger did not know when it was placed.
func (h *host) asked(container, image string) (placement string) {
	h.w.Helper()
	c := h.w.ask(container, sched.Request{Host: h.id})
	c.Image, c.Candidates = image, []string{h.id}
	index := h.w.propose(ledger.Command{Reserve: &c})
	status, reply, err := h.Realize(h.w.Context(), c.Placement, index, "", bodyOf(image))
	if status != statusCreated || err != nil {
		h.w.Fatalf("create %s: %d %s %v", container, status, reply, err)
	}
	return c.Placement
}

func TestImageOfAContainerThatWasAskedForByNameIsInUse(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		id := h.publish("web:1", "code")
		if p := h.asked("box", "web:1"); w.placement(p).ImageID != id {
			t.Errorf("made from %q", w.placement(p).ImageID)
		}
		r, _, err := w.log.Replica().Propose(w.Context(), ledger.Command{Unname: &ledger.Unname{Name: "web:1", ID: id}})
		if err != nil {
			t.Fatal(err)
		}
		wantRefusal(t, r.Refusal, ledger.Conflict, "container box on host n1 is using")
	})
}

// An older ddocker did not tell what its containers were made from.
func TestLedgerLearnsWhatOlderContainersWereMadeFrom(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		id := h.publish("web:1", "code")
		c := w.ask("box", sched.Request{})
		c.Candidates = []string{h.id}
		w.propose(ledger.Command{Reserve: &c})
		made := h.outside("box", `{"Image":"web:1","Labels":{"ddocker.placement":"`+c.Placement+`"}}`)
		w.propose(ledger.Command{Confirm: &ledger.Confirm{Placement: c.Placement, Container: made}})
		h.look()
		if got := w.placement(c.Placement).ImageID; got != id {
			t.Errorf("the ledger has it made from %q", got)
		}
		before := w.log.Len()
		h.look()
		if w.log.Len() != before {
			t.Error("it is told again and again")
		}
	})
}

func TestNameOfAnImageWhoseContainerNobodyKnewOfComesBack(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		h := w.hosts[0]
		id := h.publish("web:1", "code")
		h.outside("mine", `{"Image":"web:1"}`) // which the ledger has not heard of
		for range 2 {
			if _, err := h.SettleImages(w.Context(), uint64(w.log.Len())); err != nil {
				t.Fatal(err)
			}
			if w.named("web:1") == id {
				w.unname("web:1", false)
			}
		}
		h.look()
		h.wantTag("web:1", id)
		if w.named("web:1") != id {
			t.Error("the name is gone")
		}
		wantList(t, "left to do", h.pending())
		wantList(t, "containers", h.has(), "mine")
	})
}
