package ledger

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"

	"ddocker/sched"

	"pgregory.net/rapid"
)

// What a node registered stands in snapshots that are being written.
func TestClosingACardWritesNothingToWhatIsRegistered(t *testing.T) {
	l := twoHosts(t)
	before, open := l.Node("n1").Capacity.Cards, l.Host("n1").Cards
	must(t, l, Command{Observe: &Observe{Node: "n1", Cards: []ClosedCard{{"card-n1", "lost: gone"}}}})
	if got := l.Host("n1").Cards[0].Closed; got != "lost: gone" {
		t.Errorf("closed for %q", got)
	}
	for _, cards := range [][]sched.Card{before, open, l.Node("n1").Capacity.Cards} {
		if cards[0].Closed != "" {
			t.Errorf("written to: %+v", cards)
		}
	}
	again := l.Node("n1").Register
	again.Capacity.Cards = []sched.Card{{UUID: "card-n1", Closed: "drained"}}
	must(t, l, Command{Register: &again})
	must(t, l, Command{Observe: &Observe{Node: "n1"}})
	if got := l.Host("n1").Cards[0].Closed; got != "" {
		t.Errorf("the node that registers a card says that it is closed: %q", got)
	}
}

func TestASnapshotHasTheTopologyAndWhatIsClosed(t *testing.T) {
	l := twoHosts(t)
	r := l.Node("n1").Register
	r.Capacity.Topology = sched.Topology{Nodes: []sched.CPUSet{sched.CPUs(0, 1), sched.CPUs(2, 3)}, Physical: []sched.CPUSet{sched.CPUs(0, 2)}}
	r.Capacity.Cards = []sched.Card{
		{UUID: "g0", Index: "0:1", Model: "A100 MIG 3g.40gb", Profile: "3g.40gb", Memory: 40, Near: sched.CPUs(2, 3), Far: []int{0, 6}}, {UUID: "card-n2"},
	}
	must(t, l, Command{Register: &r})
	must(t, l, Command{Observe: &Observe{Node: "n1", Cards: []ClosedCard{{"g0", "lost: gone"}}}})
	for _, id := range []string{"n1", "n2"} {
		got, want := restored(t, l).Host(id), l.Host(id)
		if !reflect.DeepEqual(got, want) || want.Cards[len(want.Cards)-1].Closed == "" {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
}

// A cluster of as many nodes as there may be pays for the cards that two of them claim
// alone.
func TestOnlyCardsOfTwoClaimantsTouchOtherHosts(t *testing.T) {
	l := New()
	for i := range 50 {
		must(t, l, Command{Register: &Register{Node: fmt.Sprint("n", i), Name: fmt.Sprint("h", i), Capacity: Capacity{
			Cores: sched.CPUs(0, 1), Cards: []sched.Card{{UUID: fmt.Sprint("g", i)}, {UUID: fmt.Sprint("x", i/25)}},
		}}})
	}
	closed := func() (n int) {
		for _, h := range l.Hosts() {
			for _, c := range h.Cards {
				if c.Closed != "" {
					n++
				}
			}
		}
		return n
	}
	if n := closed(); n != 50 {
		t.Errorf("%d cards are closed", n)
	}
	untouched := l.Host("n49").Cards
	for i := range 25 {
		r := l.Node(fmt.Sprint("n", i)).Register
		r.Capacity.Cards = r.Capacity.Cards[:1]
		must(t, l, Command{Register: &r})
	}
	if n := closed(); n != 25 || &l.Host("n49").Cards[0] != &untouched[0] || len(l.cards) != 51 {
		t.Errorf("%d cards are closed, %d are known", n, len(l.cards))
	}
	if before := saved(t, l); !bytes.Equal(saved(t, restored(t, l)), before) {
		t.Error("the restored one differs")
	}
}

// GPUs are cut into MIG devices and made whole again, move between two hosts, and are
// held by whoever may have them.
func TestAGPUAndItsPartsAreNeverHeldByTwoAfterAnyHistory(tb *testing.T) {
	uuids := []string{"a", "a.0", "a.1", "b", "b.0"}
	rapid.Check(tb, func(t *rapid.T) {
		r := &replicas{a: twoHosts(tb), b: twoHosts(tb), at: start()}
		t.Repeat(map[string]func(*rapid.T){
			"register": func(t *rapid.T) {
				node := rapid.SampledFrom([]string{"n1", "n1", "n1", "n2"}).Draw(t, "node")
				again := r.a.Node(node).Register
				again.Capacity.Cards = nil
				for _, uuid := range uuids {
					if rapid.Bool().Draw(t, uuid) {
						again.Capacity.Cards = append(again.Capacity.Cards, sched.Card{UUID: uuid, Of: wholeOf(uuid)})
					}
				}
				r.command(t, Command{Register: &again})
			},
			"reserve": func(t *rapid.T) {
				id := pool(t, "placement", "p", 9)
				wishes := rapid.SliceOfNDistinct(rapid.SampledFrom(uuids), 1, 2, rapid.ID).Draw(t, "cards")
				c := Reserve{Placement: id, Name: id, Candidates: []string{"n1", "n2"}}
				for _, uuid := range wishes {
					c.Request.GPUs = append(c.Request.GPUs, sched.GPUWish{UUID: uuid})
				}
				if c.Request.AllGPUs = rapid.IntRange(0, 9).Draw(t, "all") == 0; c.Request.AllGPUs {
					c.Request.GPUs = nil
				}
				r.command(t, Command{Reserve: &c})
			},
			"release": func(t *rapid.T) {
				r.command(t, Command{Release: &Release{Placement: pool(t, "placement", "p", 9)}})
			},
			"outsider": func(t *rapid.T) {
				o := Observe{Node: "n1"}
				if rapid.Bool().Draw(t, "there") {
					g := sched.Grant{GPUs: []string{rapid.SampledFrom(uuids).Draw(t, "card")}}
					if whole := wholeOf(g.GPUs[0]); whole != "" {
						g.Of = []string{whole}
					}
					o.Containers = []Outsider{{ID: "o", Name: "train", Grant: g}}
				}
				r.command(t, Command{Observe: &o})
			},
			"restore": r.restore,
			"":        r.agree,
		})
	})
}
