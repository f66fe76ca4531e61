package node

import (
	"testing"

	"ddocker/consensus/ledger"
)

// stockOf is what the host has, as listed before something happens.
func (h *host) stockOf() *stock {
	h.w.Helper()
	have, err := h.takeNaming(h.w.Context())
	if err != nil {
		h.w.Fatal(err)
	}
	h.naming.release()
	return have
}

func TestRemovalsSpareWhatHappenedSinceTheyWerePlanned(t *testing.T) {
	for _, c := range []struct {
		name string
		verb nameVerb
		then func(h *host, id string) // what happens
		want string                   // the name that is there then
	}{
		{"the name was given to another image with plain docker", untag, func(h *host, _ string) { h.twin.AddLayered("web:1", []byte("mine")) }, "web:1"},
		{"the name is being given to another image", untag, func(h *host, _ string) { h.claim("claim", "web:1") }, "web:1"},
		{"the image was named again", untag, func(h *host, id string) {
			h.w.propose(ledger.Command{NameImage: &ledger.NameImage{Image: ledger.Image{Name: "web:1", ID: id, Node: h.id}}})
		}, "web:1"},
		{"an image without a name got one with plain docker", drop, func(h *host, id string) {
			if err := h.docker.TagImage(h.w.Context(), id, "mine:1"); err != nil {
				h.w.Fatal(err)
			}
			if _, err := h.docker.RemoveImage(h.w.Context(), "web:1", false); err != nil {
				h.w.Fatal(err)
			}
		}, "mine:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, 1, func(w *world) {
				h := w.hosts[0]
				id := h.publish("web:1", "code")
				w.unname("web:1", false)
				have := h.stockOf()
				c.then(h, id)
				if removed, err := h.carryOutName(w.Context(), nameStep{verb: c.verb, name: "web:1", id: id}, have); err != nil || len(removed) > 0 {
					t.Errorf("removed %v, %v", removed, err)
				}
				if h.tags()[c.want] == "" {
					t.Errorf("%s is gone: %v", c.want, h.tags())
				}
			})
		})
	}
}

func TestNameThatPlainDockerGaveMeanwhileIsNotTakenForTheClustersImage(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		id := h.publish("web:1", "code")
		have := h.stockOf()
		own := h.twin.AddLayered("web:2", []byte("mine"))
		if _, err := h.carryOutName(w.Context(), nameStep{verb: tag, name: "web:2", id: id}, have); err != nil {
			t.Error(err)
		}
		h.wantTag("web:2", own)
	})
}

func TestEvictionSparesANameThatMeansAnotherImageByThen(t *testing.T) {
	inWorld(t, 1, func(w *world) {
		h := w.hosts[0]
		id := h.publish("web:1", "code")
		have := h.stockOf()
		own := h.twin.AddLayered("web:1", []byte("mine"))
		h.removeCopy(w.Context(), have, ledger.FindHolding(have.images, id))
		h.wantTag("web:1", own)
	})
}
