package sched

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// maxCore bounds core numbers, so that a hostile or damaged list cannot make a
// CPUSet of gigabytes. Linux's own limit (CONFIG_NR_CPUS) is 8192.
const maxCore = 8191

// CPUSet is a set of core numbers, 0 to 8191. The zero value is empty and
// ready to use. Its operations return new sets and change no operand.
type CPUSet struct{ words []uint64 }

// CPUs returns the set of the given core numbers; numbers out of range are left out.
func CPUs(cores ...int) CPUSet {
	var s CPUSet
	for _, c := range cores {
		s.add(c)
	}
	return s
}

// ParseCPUSet reads the kernel's and Docker's list form, such as "0-3,8". An
// empty text is the empty set.
func ParseCPUSet(text string) (CPUSet, error) {
	var s CPUSet
	for part := range strings.SplitSeq(strings.TrimSpace(text), ",") {
		if part == "" {
			continue
		}
		first, last, ranged := strings.Cut(part, "-")
		from, err := strconv.Atoi(first)
		to := from
		if ranged && err == nil {
			to, err = strconv.Atoi(last)
		}
		if err != nil || from < 0 || to < from || to > maxCore {
			return CPUSet{}, fmt.Errorf("parse core list %q: %q is not a core or a range of cores", text, part)
		}
		for c := from; c <= to; c++ {
			s.add(c)
		}
	}
	return s, nil
}

func (s *CPUSet) add(c int) {
	if c < 0 || c > maxCore {
		return
	}
	for len(s.words) <= c/64 {
		s.words = append(s.words, 0)
	}
	s.words[c/64] |= 1 << (c % 64)
}

// Count returns how many cores are in the set.
func (s CPUSet) Count() int {
	n := 0
	for _, w := range s.words {
		n += bits.OnesCount64(w)
	}
	return n
}

// List returns the core numbers, ascending; nil for the empty set.
func (s CPUSet) List() []int {
	var list []int
	for i, w := range s.words {
		for ; w != 0; w &= w - 1 {
			list = append(list, i*64+bits.TrailingZeros64(w))
		}
	}
	return list
}

// First returns the n lowest cores of the set, or all where it has fewer.
func (s CPUSet) First(n int) CPUSet {
	list := s.List()
	return CPUs(list[:min(n, len(list))]...)
}

// Union returns the cores that are in s, in t or in both.
func (s CPUSet) Union(t CPUSet) CPUSet {
	long, short := s.words, t.words
	if len(long) < len(short) {
		long, short = short, long
	}
	words := append([]uint64(nil), long...)
	for i, w := range short {
		words[i] |= w
	}
	return CPUSet{words}
}

// Minus returns the cores of s that are not in t.
func (s CPUSet) Minus(t CPUSet) CPUSet {
	words := append([]uint64(nil), s.words...)
	for i := range min(len(words), len(t.words)) {
		words[i] &^= t.words[i]
	}
	return CPUSet{words}
}

// countMinus is s.Minus(t).Count() without the allocation: Fit runs it for
// every host of the cluster.
func (s CPUSet) countMinus(t CPUSet) int {
	n := 0
	for i, w := range s.words {
		if i < len(t.words) {
			w &^= t.words[i]
		}
		n += bits.OnesCount64(w)
	}
	return n
}

// Common returns the cores that are in both s and t.
func (s CPUSet) Common(t CPUSet) CPUSet { return s.Minus(s.Minus(t)) }

// Intersects says whether s and t have a core in common.
func (s CPUSet) Intersects(t CPUSet) bool {
	for i := range min(len(s.words), len(t.words)) {
		if s.words[i]&t.words[i] != 0 {
			return true
		}
	}
	return false
}

// Equal says whether s and t hold the same cores.
func (s CPUSet) Equal(t CPUSet) bool {
	return s.countMinus(t) == 0 && t.countMinus(s) == 0
}

// String returns the list form that Docker's --cpuset-cpus takes, such as
// "0-3,8"; "" for the empty set.
func (s CPUSet) String() string {
	var b strings.Builder
	list := s.List()
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && list[j+1] == list[j]+1 {
			j++
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(list[i]))
		if j > i {
			b.WriteString("-" + strconv.Itoa(list[j]))
		}
		i = j + 1
	}
	return b.String()
}

// MarshalText writes the list form.
func (s CPUSet) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the list form.
func (s *CPUSet) UnmarshalText(text []byte) (err error) {
	*s, err = ParseCPUSet(string(text))
	return err
}
