package node

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/gpu"

	"pgregory.net/rapid"
)

// deed is one step of a history: what is done to which host, card or container.
type deed struct {
	Verb      string
	Host, One int
	Wait      time.Duration
}

func deeds() *rapid.Generator[[]deed] {
	one := rapid.Custom(func(t *rapid.T) deed {
		return deed{
			rapid.SampledFrom([]string{
				"create", "create", "create", "burst", "remove", "remove", "stop", "start",
				"lose", "show", "move", "blind", "see", "use", "leave", "agent", "engine",
			}).Draw(t, "verb"),
			rapid.IntRange(0, 2).Draw(t, "host"), rapid.IntRange(0, 5).Draw(t, "one"),
			time.Duration(rapid.IntRange(0, 20).Draw(t, "wait")) * time.Second,
		}
	})
	return rapid.SliceOfN(one, 5, 20)
}

// histories is how many are played, and as many more as rapid needs to make one that
// fails short.
const histories = 8

// Whatever becomes of cards, agents and engines, no card is in two running containers,
// each of which sees its own; and when all is well again, so is every card.
func TestCardsInRandomHistories(t *testing.T) {
	played := 0
	rapid.Check(t, func(r *rapid.T) {
		history := deeds().Draw(r, "history")
		if played++; played > histories && !t.Failed() {
			return // a cluster is dearer than what rapid has its hundred checks for
		}
		if !t.Run("one", func(t *testing.T) {
			inWorld(t, 3, func(w *world) { newCardWorld(w).play(history) })
		}) {
			r.Fatal("see above")
		}
	})
}

// cardWorld is where cards really are, and who has them.
type cardWorld struct {
	*world
	at   map[string]int  // the host that a card is in
	lost map[string]bool // the driver does not show it
	used map[string]bool // by a process outside any container
	dark [3]bool         // the host's reader knows nothing
	mu   sync.Mutex      // guards what follows
	made []madeBox
	next int
}

type madeBox struct {
	host      *host
	container string
}

func newCardWorld(w *world) *cardWorld {
	c := &cardWorld{world: w, at: map[string]int{}, lost: map[string]bool{}, used: map[string]bool{}}
	for i := range 6 {
		c.at[fmt.Sprint("GPU-", i)] = i % 3
	}
	c.show()
	for _, h := range w.hosts {
		h.run()
		h.wantCards(10*time.Second, c.on(h)...)
		h.wantClosed(time.Second)
	}
	return c
}

// on returns the cards that are in the host, in their order.
func (c *cardWorld) on(h *host) (uuids []string) {
	for i := range 6 {
		if uuid := fmt.Sprint("GPU-", i); c.hosts[c.at[uuid]] == h {
			uuids = append(uuids, uuid)
		}
	}
	return uuids
}

// show has the machines and engines have what they really have.
func (c *cardWorld) show() {
	for i, h := range c.hosts {
		var shown []string
		var cards []gpu.Card
		for _, uuid := range c.on(h) {
			if c.lost[uuid] {
				continue
			}
			var by []gpu.Process
			if c.used[uuid] {
				by = append(by, gpu.Process{PID: 312, User: "alice", Command: "python"})
			}
			for id, seen := range h.twin.Visible() {
				if slices.Contains(seen, uuid) {
					by = append(by, gpu.Process{PID: 7, Container: id, User: "root", Command: "x"})
				}
			}
			cards, shown = append(cards, card(uuid, len(shown), by...)), append(shown, uuid)
		}
		h.twin.SetGPUs(shown...)
		if c.dark[i] {
			h.machine.Blind("the driver hangs")
		} else {
			h.machine.Plug(cards...)
		}
	}
}

func (c *cardWorld) play(history []deed) {
	for _, d := range history {
		c.do(d)
		c.show()
		c.judge(fmt.Sprint(d))
		time.Sleep(d.Wait)
		c.show()
		c.judge(fmt.Sprint("after ", d))
	}
	c.recover()
}

func (c *cardWorld) do(d deed) {
	h, uuid := c.hosts[d.Host], fmt.Sprint("GPU-", d.One)
	switch d.Verb {
	case "create":
		c.ask(h, d.One/3+1)
	case "burst":
		var all sync.WaitGroup
		for _, by := range c.hosts {
			all.Go(func() { c.ask(by, 1) })
		}
		all.Wait()
	case "lose":
		c.lost[uuid] = true
	case "show":
		c.lost[uuid] = false
	case "move":
		c.carry(uuid, d.Host)
	case "blind", "see":
		c.dark[d.Host] = d.Verb == "blind"
	case "use", "leave":
		c.used[uuid] = d.Verb == "use"
	case "agent":
		h.end()
		h.run()
	case "engine":
		h.twin.Restart()
	default:
		c.treat(d)
	}
}

// ask makes a container with so many cards, wherever there are any, and starts it.
func (c *cardWorld) ask(by *host, cards int) {
	c.mu.Lock()
	c.next++
	order := ledger.Reserve{Placement: fmt.Sprint("p", c.next), Name: fmt.Sprint("c", c.next), Image: busybox, Request: gpus(cards)}
	c.mu.Unlock()
	p, index, err := by.Place(c.Context(), order)
	if err != nil {
		return
	}
	h := peers{c.world}.host(p.Node)
	status, reply, err := h.Realize(c.Context(), p.ID, index, "", []byte(plain))
	if status != statusCreated || err != nil {
		return
	}
	id := idIn(c.T, reply)
	post(c.Context(), h.docker, "/containers/"+id+"/start") // whose card is lost does not start
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made = append(c.made, madeBox{h, id})
}

// treat does what docker's verbs do to a container.
func (c *cardWorld) treat(d deed) {
	if len(c.made) == 0 {
		return
	}
	at := (3*d.One + d.Host) % len(c.made)
	b := c.made[at]
	switch d.Verb {
	case "remove":
		b.host.docker.Remove(c.Context(), b.container, true, true) // a restart may cut it off
		c.made = slices.Delete(c.made, at, at+1)
	case "stop", "start":
		post(c.Context(), b.host.docker, "/containers/"+b.container+"/"+d.Verb)
	}
}

// carry takes a card out of its machine, which nobody does while somebody works on it.
func (c *cardWorld) carry(uuid string, to int) {
	for _, h := range c.hosts {
		for id, seen := range h.twin.Visible() {
			if slices.Contains(seen, uuid) {
				post(c.Context(), h.docker, "/containers/"+id+"/stop")
			}
		}
	}
	c.at[uuid] = to
}

// judge compares what running containers see with what they were granted.
func (c *cardWorld) judge(when string) {
	c.Helper()
	granted, holder := map[string][]string{}, map[string]string{}
	c.log.Replica().View(func(l *ledger.Ledger) {
		for _, id := range l.NodeIDs() {
			for _, p := range l.Placed(id) {
				granted[p.Container] = p.Grant.GPUs
			}
		}
	})
	for _, h := range c.hosts {
		for id, seen := range h.twin.Visible() {
			if !slices.Equal(seen, granted[id]) {
				c.Errorf("%s: %.12s sees %q, and was granted %q", when, id, seen, granted[id])
			}
			for _, uuid := range seen {
				if holder[uuid] != "" {
					c.Errorf("%s: %s is in %.12s and in %.12s", when, uuid, holder[uuid], id)
				}
				holder[uuid] = id
			}
		}
	}
}

// recover has all be well again: then no card is closed, and each that nobody holds is
// given to the next who asks.
func (c *cardWorld) recover() {
	clear(c.lost)
	clear(c.used)
	c.dark = [3]bool{}
	c.show()
	time.Sleep(5 * time.Minute)
	for _, b := range c.made {
		if err := b.host.docker.Remove(c.Context(), b.container, true, true); err != nil {
			c.Error(err)
		}
	}
	c.made = nil
	c.show()
	time.Sleep(5 * time.Minute)
	for _, h := range c.hosts {
		got := h.registered()
		slices.Sort(got)
		wantList(c.T, "registered in the end", got, c.on(h)...)
		if closed := h.closed(); len(closed) > 0 {
			c.Errorf("closed in the end: %s", strings.Join(closed, "; "))
		}
	}
	for range 6 {
		c.ask(c.hosts[0], 1)
	}
	if len(c.made) != 6 {
		c.Errorf("%d of six cards are given in the end", len(c.made))
	}
	c.judge("in the end")
	if _, _, err := c.hosts[1].Place(c.Context(), ledger.Reserve{Placement: "p", Name: "more", Image: busybox, Request: gpus(1)}); err == nil {
		c.Error("a seventh card is given")
	}
}
