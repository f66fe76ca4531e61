package identity

import (
	"cmp"
	"sync"
	"time"
)

// Crowd bounds how many guests there are at once. When it is full, room is made by the
// source that has most: its guest that has been idle for longest is shown out. So
// whoever comes often costs himself, and not others. Its methods may be called from any
// goroutine.
//
//	c := NewCrowd(256, 64, time.Second)
//	g := c.Enter("10.0.0.7", func() { conn.Close() })
//	if g == nil { … } // all are busy, or 64 of 10.0.0.7 are
//	defer g.Leave()
type Crowd struct {
	most, each int
	fresh      time.Duration

	mu     sync.Mutex // guards what follows, and all places
	turn   uint64     // counts who came or fell idle
	guests map[*Place]bool
	count  map[string]int // of guests, by source
}

// Place is a guest's in a Crowd.
type Place struct {
	crowd  *Crowd
	source string
	out    func()
	since  uint64 // the turn at which it came or fell idle
	came   time.Time
	busy   bool
}

// NewCrowd returns an empty crowd of at most so many guests in all, and of each source.
// For one more of the same source nobody has to go who is fresh: he may be about to be
// busy.
func NewCrowd(most, each int, fresh time.Duration) *Crowd {
	return &Crowd{most: most, each: each, fresh: fresh, guests: map[*Place]bool{}, count: map[string]int{}}
}

// Enter lets a guest in, who is idle at first. Out is called when he has to make room,
// once, by whoever needs it: it must not block. Enter returns nil when nobody can be
// shown out.
func (c *Crowd) Enter(source string, out func()) *Place {
	g := &Place{crowd: c, source: source, out: out, came: time.Now()}
	leaves, ok := c.admit(g)
	if leaves != nil {
		leaves.out()
	}
	if !ok {
		return nil
	}
	return g
}

func (c *Crowd) admit(g *Place) (leaves *Place, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	full := c.count[g.source] >= c.each
	if full || len(c.guests) >= c.most {
		if leaves = c.longestIdle(g, full); leaves == nil {
			return nil, false
		}
		c.remove(leaves)
	}
	c.turn++
	g.since = c.turn
	c.guests[g] = true
	c.count[g.source]++
	return leaves, true
}

// longestIdle returns who has to make room for another: one of the same source alone, or
// of whoever has most.
func (c *Crowd) longestIdle(other *Place, alone bool) (found *Place) {
	for g := range c.guests {
		if g.busy || alone && (g.source != other.source || other.came.Sub(g.came) < c.fresh) {
			continue
		}
		if found == nil || cmp.Or(cmp.Compare(c.count[found.source], c.count[g.source]), cmp.Compare(g.since, found.since)) < 0 {
			found = g
		}
	}
	return found
}

func (c *Crowd) remove(g *Place) {
	if !c.guests[g] {
		return
	}
	delete(c.guests, g)
	if c.count[g.source]--; c.count[g.source] == 0 {
		delete(c.count, g.source)
	}
}

// Busy says whether the guest may be shown out. It returns false when he has been.
func (g *Place) Busy(busy bool) bool {
	g.crowd.mu.Lock()
	defer g.crowd.mu.Unlock()
	g.busy = busy
	g.crowd.turn++
	g.since = g.crowd.turn
	return g.crowd.guests[g]
}

// Leave ends the guest's stay, however often it is called.
func (g *Place) Leave() {
	g.crowd.mu.Lock()
	defer g.crowd.mu.Unlock()
	g.crowd.remove(g)
}
