package main

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

func TestMedianAndQuantilesOfASample(t *testing.T) {
	for _, c := range []struct {
		name             string
		values           []float64
		median, p99, max float64
	}{
		{"odd", []float64{3, 1, 2}, 2, 3, 3},
		{"even", []float64{4, 1, 3, 2}, 2.5, 4, 4},
		{"one", []float64{5}, 5, 5, 5},
		{"an outlier", []float64{1, 1, 1, 1, 1, 1, 1, 1, 90}, 1, 90, 90},
	} {
		s := sample{values: c.values}
		if s.median() != c.median || s.quantile(0.99) != c.p99 || s.quantile(1) != c.max {
			t.Errorf("%s: median %v, p99 %v, max %v", c.name, s.median(), s.quantile(0.99), s.quantile(1))
		}
	}
	if !math.IsNaN(sample{}.median()) || !math.IsNaN(sample{}.quantile(0.5)) {
		t.Error("nothing has a median")
	}
}

func TestP99OfManyIsNotTheirLargest(t *testing.T) {
	var s sample
	for i := range 200 {
		s.add(time.Duration(i+1) * time.Millisecond)
	}
	if got := s.quantile(0.99); got != 198 {
		t.Errorf("p99 of 1 to 200 ms is %v", got)
	}
}

func TestWhatIsOverItsLimitIsMissedAndSaidTwice(t *testing.T) {
	ours, plain := sample{values: []float64{12, 12, 12}}, sample{values: []float64{10, 10, 10}}
	var b table
	b.ratio("slow", ours, plain, 1.15)
	b.ratio("fast enough", ours, plain, 1.2)
	b.ratio("for information", ours, plain, 0)
	b.atLeast("too few", 49, "%.0f %%", 50, "")
	b.limited("nothing measured", math.NaN(), "%.1f", 1, "")
	if b.missed() != 3 {
		t.Errorf("%d rows missed, not 3", b.missed())
	}
	var out strings.Builder
	b.print(&out)
	for _, want := range []string{"MISSED: slow is 1.20×, demanded is ≤ 1.15×", "MISSED: too few is 49 %, demanded is ≥ 50 %", "MISSED: nothing measured"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}

func TestAnUnknownRowIsRefused(t *testing.T) {
	b := bench{n: 7, want: []string{"creat"}}
	if err := b.run(t.Context()); err == nil || !strings.Contains(err.Error(), "pick") {
		t.Errorf("run says %v", err)
	}
}

func TestCrowdedStopsAtTheFirstFault(t *testing.T) {
	broken := errors.New("broken")
	_, err := crowded(t.Context(), func(_ int, i int64) error {
		if i > 100 {
			return broken
		}
		return nil
	})
	if !errors.Is(err, broken) {
		t.Errorf("crowded says %v", err)
	}
}
