package main

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// sample is what one side took each time, in milliseconds unless its unit says
// otherwise.
type sample struct {
	values []float64
	unit   string // "ms" when empty
}

func (s *sample) add(d time.Duration) { s.values = append(s.values, float64(d)/1e6) }

// quantile returns the least value that a share q of all does not exceed, from 0 to
// 1; NaN where there is none.
func (s sample) quantile(q float64) float64 {
	if len(s.values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s.values))
	at := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(at, 0), len(sorted)-1)]
}

func (s sample) median() float64 {
	if len(s.values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s.values))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}

// String gives the median, and how far the values lie apart.
func (s sample) String() string {
	unit := s.unit
	if unit == "" {
		unit = "ms"
	}
	number := func(x float64) string {
		if x < 10 {
			return fmt.Sprintf("%.2f", x)
		}
		return fmt.Sprintf("%.0f", x)
	}
	return fmt.Sprintf("%s %s (%s–%s, n=%d)", number(s.median()), unit, number(s.quantile(0)), number(s.quantile(1)), len(s.values))
}
