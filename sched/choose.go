package sched

import (
	"math"
	"slices"
)

const (
	// farthest is the largest distance between two cards.
	farthest = 6
	// away is what a card costs that is not near the pinned cores: as much as the
	// distance to another card of one NUMA node.
	away = 5
	// mostTries bounds the search for the best cards. It is exact for up to 12 free
	// cards; where there are more, and nothing rules them out, what is found is the
	// best of those tried and of what grows card by card from each of them.
	mostTries = 1 << 13
)

// choice is the search for the cards that lie closest together, and to the cores.
// Of those as good, it takes those that are close to the fewest of the others that
// are free, which leaves groups whole; then those that come first.
type choice struct {
	host   *Host
	wishes []GPUWish
	free   []int // the cards to choose from, ascending
	alone  []int // what each of them costs by itself
	least  int   // the least of that
	weight int   // of one step of distance
	close  int   // the least distance between two of them
	tries  int
	set    []int // the best so far
	score  int   // what it costs
}

// choose returns the cards for wishes that the host can meet, and what they cost.
func choose(h *Host, r *Request, cores CPUSet) (set []int, score int) {
	s := &choice{host: h, wishes: r.GPUs, tries: mostTries, score: math.MaxInt}
	for i := range h.Cards {
		if c := &h.Cards[i]; h.free(c) && slices.ContainsFunc(r.GPUs, func(w GPUWish) bool { return w.takes(c) }) {
			s.free = append(s.free, i)
		}
	}
	s.weigh(cores)
	for _, seed := range s.free {
		s.grow(seed)
	}
	s.score++ // the search meets the first of equals first
	s.search(0, nil, s.unmet(), 0)
	return s.set, s.score
}

// weigh works out what each card costs by itself.
func (s *choice) weigh(cores CPUSet) {
	s.weight, s.close = 1, farthest
	for _, c := range s.free {
		loss := 0
		for i := range s.host.Cards {
			if d := &s.host.Cards[i]; i != c && s.host.free(d) {
				loss += farthest - s.host.far(c, i)
			}
		}
		for _, d := range s.free {
			if d != c {
				s.close = min(s.close, s.host.far(c, d))
			}
		}
		s.alone, s.weight = append(s.alone, loss), s.weight+loss
	}
	s.least = math.MaxInt
	for i, c := range s.free {
		if near := s.host.Cards[c].Near; cores.Count() > 0 && near.Count() > 0 && !near.Intersects(cores) {
			s.alone[i] += away * s.weight
		}
		s.least = min(s.least, s.alone[i])
	}
}

// adds returns what the i-th of the free cards costs beside those chosen.
func (s *choice) adds(set []int, i int) int {
	cost := s.alone[i]
	for _, d := range set {
		cost += s.host.far(s.free[i], d) * s.weight
	}
	return cost
}

// unmet is the assignment of no card to any wish.
func (s *choice) unmet() []int32 { return slices.Repeat([]int32{-1}, len(s.wishes)) }

// with assigns a card more; ok is false where that is impossible.
func (s *choice) with(assigned []int32, card int) (more []int32, ok bool) {
	m := matching{s.host, s.wishes, slices.Clone(assigned), make([]bool, len(s.wishes))}
	return m.card, m.join(card)
}

// grow adds to a card what costs least, one by one, and keeps what comes of it if it
// is better than what there was.
func (s *choice) grow(seed int) {
	set, score, assigned := []int(nil), 0, s.unmet()
	tried := make([]bool, len(s.free)) // one that cannot be added cannot be later
	for len(set) < len(s.wishes) {
		at, least := -1, math.MaxInt
		for i, c := range s.free {
			if cost := s.adds(set, i); !tried[i] && cost < least && (len(set) > 0 || c == seed) {
				at, least = i, cost
			}
		}
		if at < 0 {
			return // not with this seed
		}
		tried[at] = true
		if more, ok := s.with(assigned, s.free[at]); ok {
			set, score, assigned = append(set, s.free[at]), score+least, more
		}
	}
	if score < s.score {
		slices.Sort(set)
		s.set, s.score = set, score
	}
}

// search tries the sets of free cards in their order, from the from-th on, as long as
// they can still be better than the best so far.
func (s *choice) search(from int, set []int, assigned []int32, score int) {
	left := len(s.wishes) - len(set)
	if left == 0 {
		s.set, s.score = slices.Clone(set), score
		return
	}
	for i := from; i <= len(s.free)-left && s.tries > 0; i++ {
		s.tries--
		cost := score + s.adds(set, i)
		links := (left-1)*(len(set)+1) + (left-1)*(left-2)/2
		if cost+(left-1)*s.least+links*s.close*s.weight >= s.score {
			continue
		}
		if more, ok := s.with(assigned, s.free[i]); ok {
			s.search(i+1, append(set, s.free[i]), more, cost)
		}
	}
}

// far returns the distance between two cards, 0 where it is not told.
func (h *Host) far(i, j int) int {
	if far := h.Cards[min(i, j)].Far; max(i, j) < len(far) {
		return min(max(0, far[max(i, j)]), farthest)
	}
	return 0
}
