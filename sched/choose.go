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
	// mostSteps bounds the search for the best cards, on all NUMA nodes together, so that
	// no request keeps the log for longer than some milliseconds. The search is exact for
	// up to 12 free cards on 8 nodes; where there are more, and nothing rules them out,
	// what is found is the best of those tried and of what grows card by card from some
	// of them.
	mostSteps = 1 << 18
)

// choice is the search for the cards that lie closest together, and to the cores.
// Of those as good, it takes those that are close to the fewest of the others that
// are free, which leaves groups whole; then those that come first.
type choice struct {
	host   *Host
	wishes int
	takers []wishSet // of each card of the host
	free   []int     // the cards to choose from, ascending
	loss   []int     // what each of them costs by itself wherever the cores are
	alone  []int     // and beside the cores
	least  int       // the least of that
	weight int       // of one step of distance
	close  int       // the least distance between two of them
	steps  int       // that are left
	set    []int     // the best so far
	score  int       // what it costs
	rows   [][]int32 // an assignment for each depth of the search
}

// newChoice begins the search for the cards for wishes that the host can meet.
func newChoice(h *Host, wishes []GPUWish) *choice {
	s := &choice{host: h, wishes: len(wishes), takers: make([]wishSet, len(h.Cards)), weight: 1, close: farthest}
	fillTakers(s.takers, h, wishes)
	for i := range h.Cards {
		if h.free(&h.Cards[i]) && s.takers[i] != (wishSet{}) {
			s.free = append(s.free, i)
		}
	}
	for _, c := range s.free {
		loss := 0
		for i := range h.Cards {
			if i != c && h.free(&h.Cards[i]) {
				loss += farthest - h.far(c, i)
			}
		}
		for _, d := range s.free {
			if d != c {
				s.close = min(s.close, h.far(c, d))
			}
		}
		s.loss, s.weight = append(s.loss, loss), s.weight+loss
	}
	return s
}

// beside returns the cards to take beside the cores, and what they cost. It takes no
// more than so many steps, but for the first set of cards.
func (s *choice) beside(cores CPUSet, steps int) (set []int, score int) {
	s.weigh(cores)
	s.set, s.score, s.steps = nil, math.MaxInt, steps
	for i := range s.free {
		if s.grow(i); len(s.free) == s.wishes || s.steps < steps/2 {
			break
		}
	}
	if len(s.free) > s.wishes {
		s.score++ // the search meets the first of equals first
		for len(s.rows) < s.wishes {
			s.rows = append(s.rows, s.unmet())
		}
		s.search(0, make([]int, 0, s.wishes), s.unmet(), 0)
	}
	return s.set, s.score
}

// weigh works out what each card costs by itself beside the cores.
func (s *choice) weigh(cores CPUSet) {
	s.alone, s.least = slices.Clone(s.loss), math.MaxInt
	for i, c := range s.free {
		if near := s.host.Cards[c].Near; cores.Count() > 0 && near.Count() > 0 && !near.Intersects(cores) {
			s.alone[i] += away * s.weight
		}
		s.least = min(s.least, s.alone[i])
	}
}

// adds returns what the i-th of the free cards costs beside those chosen.
func (s *choice) adds(set []int, i int) int {
	s.steps -= 1 + len(set)
	cost := s.alone[i]
	for _, d := range set {
		cost += s.host.far(s.free[i], d) * s.weight
	}
	return cost
}

// unmet is the assignment of no card to any wish.
func (s *choice) unmet() []int32 { return slices.Repeat([]int32{-1}, s.wishes) }

// join assigns a card more, or says that this is impossible.
func (s *choice) join(assigned []int32, card int) bool {
	s.steps -= s.wishes
	m := matching{takers: s.takers, card: assigned}
	return m.join(card)
}

// grow adds to the seed-th of the free cards what costs least, one by one, and keeps
// what comes of it if it is better than what there was.
func (s *choice) grow(seed int) {
	set, score, assigned := []int(nil), 0, s.unmet()
	costs := slices.Clone(s.alone)
	tried := make([]bool, len(s.free)) // one that cannot be added cannot be later
	for at := seed; at >= 0; {
		tried[at] = true
		if s.join(assigned, s.free[at]) {
			set, score = append(set, s.free[at]), score+costs[at]
			for i, c := range s.free {
				costs[i] += s.host.far(c, s.free[at]) * s.weight
			}
		}
		if len(set) == s.wishes {
			break
		}
		s.steps -= 2 * len(s.free)
		at = -1
		for i := range s.free {
			if !tried[i] && (at < 0 || costs[i] < costs[at]) {
				at = i
			}
		}
	}
	if len(set) == s.wishes && score < s.score {
		slices.Sort(set)
		s.set, s.score = set, score
	}
}

// search tries the sets of free cards in their order, from the from-th on, as long as
// they can still be better than the best so far.
func (s *choice) search(from int, set []int, assigned []int32, score int) {
	left := s.wishes - len(set)
	if left == 0 {
		s.set, s.score = slices.Clone(set), score
		return
	}
	for i := from; i <= len(s.free)-left && s.steps > 0; i++ {
		cost := score + s.adds(set, i)
		links := (left-1)*(len(set)+1) + (left-1)*(left-2)/2
		if cost+(left-1)*s.least+links*s.close*s.weight >= s.score {
			continue
		}
		more := s.rows[len(set)]
		if copy(more, assigned); s.join(more, s.free[i]) {
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
