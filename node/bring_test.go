package node

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/engine"
	"ddocker/image"
	"ddocker/sched"
)

// publish gives the host an image of that name, which the cluster knows then.
func (h *host) publish(name string, layers ...string) (id string) {
	h.w.Helper()
	var content [][]byte
	for _, l := range append([]string{"base"}, layers...) {
		content = append(content, []byte(l))
	}
	id = h.twin.AddLayered(name, content...)
	h.look()
	return id
}

// from reserves a place for a container made from that image.
func (h *host) from(image, container string, r sched.Request) (*ledger.Placement, uint64) {
	h.w.Helper()
	c := h.w.ask(container, r)
	c.Image = image
	p, index, err := h.Place(h.w.Context(), c)
	if err != nil {
		h.w.Fatal("place: ", err)
	}
	return p, index
}

func bodyOf(image string) []byte { return []byte(`{"Image":"` + image + `"}`) }

// makes realizes a placement and returns the container.
func (h *host) makes(p *ledger.Placement, index uint64) engine.Container {
	h.w.Helper()
	status, reply, err := h.Realize(h.w.Context(), p.ID, index, "", bodyOf(p.Image))
	if status != statusCreated || err != nil {
		h.w.Fatalf("create %s: %d %s %v", p.Name, status, reply, err)
	}
	list, err := h.docker.Containers(h.w.Context())
	if err != nil {
		h.w.Fatal(err)
	}
	return list[slices.IndexFunc(list, func(c engine.Container) bool { return c.Name == p.Name })]
}

func TestContainerIsMadeOnAHostWithoutItsImage(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		id := w.hosts[0].publish("web:1", "code")
		h := w.hosts[1]
		p, index := h.from("web:1", "box", sched.Request{Host: "n2"})
		if p.ImageID != id {
			t.Errorf("the placement is of image %q", p.ImageID)
		}
		if c := h.makes(p, index); c.ImageID != id || c.Image != "web:1" {
			t.Errorf("made from %s, %s", c.Image, c.ImageID)
		}
		h.wantTag("web:1", id)
		wantList(t, "holders", w.holders(id), "n1", "n2")
		if copies := h.mover.Copies(); len(copies) != 1 || copies[0].ID != id {
			t.Errorf("copies: %v", copies)
		}
	})
}

func TestImageComesOnceToManyCreates(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].publish("web:1", "code")
		h := w.hosts[1]
		var creates sync.WaitGroup
		for _, name := range []string{"b1", "b2", "b3", "b4"} {
			p, index := h.from("web:1", name, sched.Request{Host: "n2"})
			creates.Go(func() {
				if status, reply, err := h.Realize(w.Context(), p.ID, index, "", bodyOf("web:1")); status != statusCreated || err != nil {
					t.Errorf("%d %s %v", status, reply, err)
				}
			})
		}
		creates.Wait()
		wantList(t, "containers", h.has(), "b1", "b2", "b3", "b4")
	})
}

func TestHostThatHasTheImageIsPreferred(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		w.hosts[2].publish("web:1", "code")
		for range 8 {
			p, _ := w.hosts[0].from("web:1", "box", sched.Request{})
			if p.Node != "id-n3" {
				t.Fatalf("placed on %s", p.Node)
			}
			if err := w.hosts[0].Abandon(w.Context(), p.ID); err != nil {
				t.Fatal(err)
			}
		}
		w.loads["id-n3"] = sched.Load{CPU: 90}
		if p, _ := w.hosts[0].from("web:1", "box", sched.Request{}); p.Node == "id-n3" {
			t.Error("a second of waiting outweighs a busy host")
		}
	})
}

func TestImageThatDoesNotFitGoesElsewhere(t *testing.T) {
	inWorld(t, 3, func(w *world) {
		w.hosts[0].publish("web:1", "code")
		w.loads["id-n1"], w.loads["id-n3"] = sched.Load{CPU: 90}, sched.Load{CPU: 20}
		w.hosts[1].disk.set(1, 1<<30)
		p, index := w.hosts[0].from("web:1", "box", sched.Request{})
		if p.Node != "id-n2" {
			t.Fatalf("placed on %s", p.Node)
		}
		_, _, err := w.hosts[1].Realize(w.Context(), p.ID, index, "", bodyOf("web:1"))
		wantRefusal(t, err, ledger.Busy, "bring image web:1 to host n2: the disk")
		if w.placement(p.ID) != nil {
			t.Error("the placement is still held")
		}
		if p, _ = w.hosts[0].from("web:1", "box", sched.Request{}); p.Node != "id-n3" {
			t.Errorf("the next try is on %s", p.Node)
		}
	})
}

func TestOnlyHostWithoutRoomIsTriedAgain(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].publish("web:1", "code")
		w.hosts[1].disk.set(1, 1<<30)
		for range 2 {
			p, index := w.hosts[0].from("web:1", "box", sched.Request{Host: "n2"})
			_, _, err := w.hosts[1].Realize(w.Context(), p.ID, index, "", bodyOf("web:1"))
			wantRefusal(t, err, ledger.Busy, "to host n2: the disk")
		}
	})
}

func TestImageOfAHostThatDiedMeanwhileIsRefusedClearly(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].publish("web:1", "code")
		h := w.hosts[1]
		p, index := h.from("web:1", "box", sched.Request{Host: "n2"})
		w.down["id-n1"] = true
		_, _, err := h.Realize(w.Context(), p.ID, index, "", bodyOf("web:1"))
		if err == nil || !contains(err.Error(), "bring image web:1 to host n2: ") || !contains(err.Error(), `host n1, which does not answer: see "ddocker nodes"`) {
			t.Errorf("got %v", err)
		}
		if w.placement(p.ID) != nil {
			t.Error("the placement is still held")
		}
		wantList(t, "containers", h.has())
	})
}

func TestHolderThatHasItNoMoreIsNamed(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		id := w.hosts[0].publish("web:1", "code")
		if _, err := w.hosts[0].docker.RemoveImage(w.Context(), id, true); err != nil {
			t.Fatal(err)
		}
		err := w.hosts[1].Bring(w.Context(), id, "web:1", nil)
		if err == nil || !contains(err.Error(), "bring image web:1 to host n2: no host could give image") || !contains(err.Error(), "host n1: ") {
			t.Errorf("got %v", err)
		}
	})
}

func TestNamesakeStaysAndTheClustersImageIsUsed(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		id := w.hosts[0].publish("web:1", "code")
		h := w.hosts[1]
		own := h.publish("web:1", "other")
		if got := w.named("web:1"); got != id {
			t.Fatalf("web:1 is %s", got)
		}
		p, index := h.from("web:1", "box", sched.Request{Host: "n2"})
		if c := h.makes(p, index); c.ImageID != id {
			t.Errorf("made from %s", c.ImageID)
		}
		h.wantTag("web:1", own)
		p, index = h.from("web:1@n2", "dox", sched.Request{Host: "n1"})
		if c := w.hosts[0].makes(p, index); c.ImageID != own {
			t.Errorf("web:1@n2 on n1 is %s, want %s", c.ImageID, own)
		}
		w.hosts[0].wantTag("web:1", id)
	})
}

func TestOwnTagsOfAJoiningHostArePublishedOrMerged(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		same := w.hosts[0].publish("web:1", "code")
		h := w.add("n2")
		own := h.publish("own:1", "mine")
		if h.publish("web:1", "code") != same {
			t.Fatal("one content is two images")
		}
		if w.named("own:1") != own || w.named("web:1") != same {
			t.Error("names are not the cluster's")
		}
		wantList(t, "holders", w.holders(same), "n1", "n2")
		var layers []ledger.Layer
		w.log.Replica().View(func(l *ledger.Ledger) { layers = l.Image("own:1").Layers })
		if len(layers) != 2 {
			t.Errorf("layers of own:1: %v", layers)
		}
		w.hosts[0].look()
		if n := len(w.hosts[0].tags()); n != 2 {
			t.Errorf("n1 has %d names, of images that it does not have", n)
		}
	})
}

// A name is taken away while its image is on its way.
func TestImageWhoseNameGoesWhileItComesIsNotKept(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		id := w.hosts[0].publish("web:1", "code")
		h := w.hosts[1]
		var once sync.Once
		h.replica.Before(func(c ledger.Command) {
			if c.Observe != nil {
				once.Do(func() { w.unname("web:1", false) })
			}
		})
		err := h.Bring(w.Context(), id, "web:1", nil)
		wantRefusal(t, err, ledger.Unknown, "No such image: web:1")
		for range 2 {
			h.look()
		}
		if tags := h.tags(); len(tags) != 1 {
			t.Errorf("n2 has %v", tags)
		}
		wantList(t, "removals", h.pending())
		if w.named("web:1") != "" {
			t.Error("the name is back")
		}
	})
}

// A name is taken away between the look at the ledger and the tag.
func TestNameThatGoesWhileItIsGivenGoesHereToo(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		id := w.hosts[0].publish("web:1", "code")
		h := w.hosts[1]
		if err := h.Bring(w.Context(), id, "web:1", nil); err != nil {
			t.Fatal(err)
		}
		w.unname("web:1", false) // as if it had come before the tag: n2 had told that it has the image
		wantList(t, "removals", h.pending(), "web:1")
		h.look()
		wantList(t, "removals", h.pending())
		if h.tags()["web:1"] != "" || w.named("web:1") != "" {
			t.Error("the name is back")
		}
	})
}

// The image goes between what the cluster is told of it and its name.
func TestHostThatToldOfAnImageTooEarlyLooksAgain(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		id := w.hosts[0].publish("web:1", "code")
		h := w.hosts[1]
		h.replica.Before(func(c ledger.Command) {
			if c.Observe != nil {
				h.docker.RemoveImage(w.Context(), id, true)
			}
		})
		if err := h.Bring(w.Context(), id, "", nil); err == nil {
			t.Fatal("an image that is gone was named")
		}
		if len(h.kick) != 1 {
			t.Error("nobody looks")
		}
	})
}

func TestContainerDoesNotWaitForOtherImages(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		p, index := h.place("box", sched.Request{})
		if err := h.naming.acquire(w.Context()); err != nil { // as a long removal does
			t.Fatal(err)
		}
		h.makes(p, index)
		h.naming.release()
	})
}

func TestContainerWaitsForAnEvictionOfItsImageOnly(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		id := h.publish("web:1", "code")
		end := h.beginEviction(id)
		h.create("other", sched.Request{})
		p, index := h.from("web:1", "box", sched.Request{})
		var making sync.WaitGroup
		making.Go(func() { h.Realize(w.Context(), p.ID, index, "", bodyOf("web:1")) })
		synctest.Wait()
		wantList(t, "containers", h.has(), "other")
		end()
		making.Wait()
		wantList(t, "containers", h.has(), "box", "other")
	})
}

func TestImageThatDoesNotComeInTimeIsNotWaitedForForEver(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[0].publish("web:1", "code")
		h := w.hosts[1]
		p, index := h.from("web:1", "box", sched.Request{Host: "n2"})
		if err := h.naming.acquire(w.Context()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, _, err := h.Realize(w.Context(), p.ID, index, "", bodyOf("web:1"))
		if err == nil || !contains(err.Error(), "it has not come within 5m0s") || time.Since(began) > bringAtLeast+time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		h.naming.release()
		if w.placement(p.ID) != nil {
			t.Error("the placement is still held")
		}
	})
}

// A host that was away still has what was removed.
func TestNameThatWasTakenAwayIsNotFoundByAsking(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[1].publish("web:1", "code")
		w.unname("web:1", false)
		c := w.ask("box", sched.Request{})
		c.Image = "web:1"
		_, _, err := w.hosts[0].Place(w.Context(), c)
		wantRefusal(t, err, ledger.Unknown, "No such image: web:1")
	})
}

func TestImageThatIsHereOnlyGetsItsName(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		id := h.publish("web:1", "code")
		w.propose(ledger.Command{NameImage: &ledger.NameImage{Image: ledger.Image{Name: "web:2", ID: id, Node: h.id}}})
		told := 0
		if err := h.Bring(w.Context(), id, "web:2", func(p image.Progress) {
			if p.Status == image.StatusComing {
				told++
			}
		}); err != nil || told > 0 {
			t.Errorf("%v, %d", err, told)
		}
		h.wantTag("web:2", id)
	})
}
