package sched

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
)

// shownReasons bounds how many reasons a refusal has for cards that are closed.
const shownReasons = 2

// free says whether the card may be granted.
func (h *Host) free(c *Card) bool { return c.Closed == "" && !h.Held.gpus[c.UUID] }

// CutFrom returns the UUIDs of the GPUs that those of the cards are cut from which have
// the given UUIDs.
func CutFrom(cards []Card, uuids []string) (of []string) {
	for i := range cards {
		c := &cards[i]
		if c.Of != "" && slices.Contains(uuids, c.UUID) && !slices.Contains(of, c.Of) {
			of = append(of, c.Of)
		}
	}
	return of
}

// FreeGPUs returns how many cards of the model are free; "" counts every model.
func (h *Host) FreeGPUs(model string) int {
	n := 0
	for i := range h.Cards {
		if c := &h.Cards[i]; h.free(c) && SameModel(c.Model, model) {
			n++
		}
	}
	return n
}

func fitGPUs(h *Host, r *Request) (Lack, bool) {
	need := len(r.GPUs)
	switch {
	case r.AllGPUs:
		return fitAllGPUs(h)
	case need == 0:
		return Lack{}, true
	case need > maxWishes: // which Check refuses
		return Lack{Kind: TooSmall, Need: int64(need), Free: int64(min(len(h.Cards), maxWishes)), What: "GPU"}, false
	case !slices.ContainsFunc(r.GPUs, func(w GPUWish) bool { return w != r.GPUs[0] }):
		return fitAlike(h, &r.GPUs[0], need)
	case need > len(h.Cards):
		return Lack{Kind: TooSmall, Need: int64(need), Free: int64(len(h.Cards)), What: "GPU"}, false
	}
	var cards [16]int32
	var takers [16]wishSet
	m := matching{host: h, wishes: r.GPUs, card: cards[:min(need, len(cards))]}
	if need > len(cards) {
		m.card = make([]int32, need)
	}
	if m.takers = takers[:min(len(h.Cards), len(takers))]; len(h.Cards) > len(takers) {
		m.takers = make([]wishSet, len(h.Cards))
	}
	fillTakers(m.takers, h, r.GPUs)
	if m.fill(false) {
		return Lack{}, true
	}
	return m.lack(), false
}

func fitAllGPUs(h *Host) (Lack, bool) {
	all, free := len(h.Cards), h.FreeGPUs("")
	if all == 0 {
		return Lack{Kind: TooSmall, Need: 1, What: "GPU"}, false
	}
	if free < all {
		return Lack{Kind: NoGPU, Need: int64(all), Free: int64(free), Why: h.shut(func(int) bool { return true })}, false
	}
	return Lack{}, true
}

// fitAlike is for wishes that are all the same.
func fitAlike(h *Host, w *GPUWish, need int) (Lack, bool) {
	all, free := 0, 0
	for i := range h.Cards {
		c := &h.Cards[i]
		if !w.takes(c) {
			continue
		}
		all++
		if h.free(c) {
			if free++; free == need {
				return Lack{}, true
			}
		}
	}
	lack := Lack{Kind: NoGPU, Need: int64(need), Free: int64(free), What: w.words()}
	if all < need {
		lack.Kind, lack.Free = TooSmall, int64(all)
	} else {
		lack.Why = h.shut(func(i int) bool { return w.takes(&h.Cards[i]) })
	}
	return lack, false
}

// wishSet is a set of wishes, by their place in the request.
type wishSet [maxWishes / 64]uint64

func (s *wishSet) add(w int)      { s[w/64] |= 1 << (w % 64) }
func (s *wishSet) has(w int) bool { return s[w/64]>>(w%64)&1 == 1 }

// next returns the first wish that is in the set and not in the other; -1: none.
func (s *wishSet) next(but *wishSet) int {
	for i := range s {
		if left := s[i] &^ but[i]; left != 0 {
			return i*64 + bits.TrailingZeros64(left)
		}
	}
	return -1
}

// fillTakers adds for each card of the host the wishes that take it. Names are compared
// once for neighbours of one name.
func fillTakers(list []wishSet, h *Host, wishes []GPUWish) {
	for w := range wishes {
		wish, last, means := &wishes[w], (*Card)(nil), false
		for i := range h.Cards {
			c := &h.Cards[i]
			if !wish.suits(c) {
				continue
			}
			if last == nil || c.Model != last.Model || c.Profile != last.Profile {
				last, means = c, wish.means(c)
			}
			if means {
				list[i].add(w)
			}
		}
	}
}

// matching assigns cards of a host to wishes, one to each. The sets of cards that can
// be assigned together are the independent sets of a matroid: whichever are taken first,
// as many can be added as there are wishes that can be met at all.
type matching struct {
	host   *Host
	wishes []GPUWish
	takers []wishSet // of each card
	card   []int32   // of each wish; -1: none
	seen   wishSet   // the wishes asked in the join under way
}

// join assigns the card, if others can be made to leave a wish for it.
func (m *matching) join(card int) bool {
	m.seen = wishSet{}
	return m.place(int32(card))
}

func (m *matching) place(card int32) bool {
	for w := m.takers[card].next(&m.seen); w >= 0; w = m.takers[card].next(&m.seen) {
		m.seen.add(w)
		if m.card[w] < 0 || m.place(m.card[w]) {
			m.card[w] = card
			return true
		}
	}
	return false
}

// fill assigns anew as many of the free cards as there are wishes for, or as if all
// were free, and says whether every wish has one.
func (m *matching) fill(all bool) bool {
	for w := range m.card {
		m.card[w] = -1
	}
	met := 0
	for i := range m.host.Cards {
		if met == len(m.wishes) {
			break
		}
		if (all || m.host.free(&m.host.Cards[i])) && m.join(i) {
			met++
		}
	}
	return met == len(m.wishes)
}

// lack says for which cards of the host too many wishes compete, where not all of them
// can be met.
func (m *matching) lack() Lack {
	kind := NoGPU
	if !m.fill(true) {
		kind = TooSmall
	} else {
		m.fill(false)
	}
	// From a wish that is left over to the cards that it takes, to the wishes that
	// have those, and so on: these wishes are one more than those cards, at least.
	rivals := []int{slices.Index(m.card, -1)}
	var cards []int32
	for i := 0; i < len(rivals); i++ {
		for j := range m.host.Cards {
			c := &m.host.Cards[j]
			if !m.takers[j].has(rivals[i]) || slices.Contains(cards, int32(j)) || !(kind == TooSmall || m.host.free(c)) {
				continue
			}
			cards = append(cards, int32(j))
			if by := slices.Index(m.card, int32(j)); !slices.Contains(rivals, by) {
				rivals = append(rivals, by)
			}
		}
	}
	lack := Lack{Kind: kind, Need: int64(len(rivals)), Free: int64(len(cards)), What: m.rivalry(rivals, cards)}
	if kind == NoGPU {
		lack.Why = m.host.shut(func(i int) bool { return slices.ContainsFunc(rivals, m.takers[i].has) })
	}
	return lack
}

// rivalry says what cards the wishes compete for: the words of one that takes them all
// and is not for one card alone, else of each.
func (m *matching) rivalry(rivals []int, cards []int32) string {
	var words []string
	for _, i := range rivals {
		w := &m.wishes[i]
		if !w.single() && !slices.ContainsFunc(cards, func(c int32) bool { return !m.takers[c].has(i) }) {
			return w.words()
		}
		if said := w.words(); !slices.Contains(words, said) {
			words = append(words, said)
		}
	}
	if more := len(words) - shownGPUs; more > 0 {
		words = append(words[:shownGPUs], fmt.Sprintf("one of %d others", more))
	}
	return strings.Join(words, " or ")
}

// shut says how many cards that would do are closed, and why. It is empty where none is.
func (h *Host) shut(wouldDo func(card int) bool) string {
	n := 0
	var reasons []string
	for i := range h.Cards {
		c := &h.Cards[i]
		if c.Closed == "" || h.Held.gpus[c.UUID] || !wouldDo(i) {
			continue
		}
		n++
		if why := strings.TrimPrefix(c.Closed, "busy: "); !slices.Contains(reasons, why) {
			reasons = append(reasons, why)
		}
	}
	if n == 0 {
		return ""
	}
	if more := len(reasons) - shownReasons; more > 0 {
		reasons = append(reasons[:shownReasons], fmt.Sprintf("and %d more", more))
	}
	return fmt.Sprintf("%d closed: %s", n, strings.Join(reasons, "; "))
}
