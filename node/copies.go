package node

import (
	"maps"
	"time"
)

const (
	// copiesAtOnce is how many copies a node sees made at a time, each on another host.
	copiesAtOnce = 2
	// A host is not asked again for a copy of an image for firstPause, and for twice as
	// long after every further try, up to longestPause.
	firstPause   = 5 * time.Second
	longestPause = 2 * time.Minute
)

// replica is one copy to be made: on the host with the ID target, by the name.
type replica struct{ id, name, target string }

func (r replica) key() [2]string { return [2]string{r.id, r.target} }

// copies are those that a node sees made, and those that it tried lately. They
// belong to copyLoop.
type copies struct {
	open  map[string]try    // by target
	tried map[[2]string]try // by the replica's key
}

// try says how many times running a host was asked for a copy of an image, and when
// it may be asked again.
type try struct {
	image string
	times int
	again time.Time
}

func newCopies() *copies {
	return &copies{open: map[string]try{}, tried: map[[2]string]try{}}
}

// coming counts the copies of an image that are on their way.
func (c *copies) coming(image string) (count int) {
	for _, t := range c.open {
		if t.image == image {
			count++
		}
	}
	return count
}

// putOff says whether the copy's host is not to be asked for it now.
func (c *copies) putOff(r replica) bool {
	_, busy := c.open[r.target]
	return busy || time.Now().Before(c.tried[r.key()].again)
}

// begin notes that a copy is on its way.
func (c *copies) begin(r replica) {
	maps.DeleteFunc(c.tried, func(_ [2]string, t try) bool { return time.Since(t.again) >= longestPause })
	c.open[r.target] = try{image: r.id, times: c.tried[r.key()].times + 1}
}

// end notes that a copy was made, or was not: if it was, the ledger tells.
func (c *copies) end(r replica) {
	t := c.open[r.target]
	delete(c.open, r.target)
	pause := firstPause
	for range t.times - 1 {
		pause = min(2*pause, longestPause)
	}
	t.again = time.Now().Add(pause)
	c.tried[r.key()] = t
}
