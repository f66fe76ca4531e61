package main

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
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

func TestAPictureHoldsTheLayersThatItNames(t *testing.T) {
	lower, err := newLayer(1, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	upper, err := newLayer(2, 1_000)
	if err != nil {
		t.Fatal(err)
	}
	p := picture{"a:b", []layer{lower, upper}}
	for held, want := range []int{4, 3, 2} {
		r, w := io.Pipe()
		go func() { w.CloseWithError(p.archive(w, held)) }()
		if n := entries(t, r); n != want {
			t.Errorf("with %d held layers there are %d files, not %d", held, n, want)
		}
	}
	if lower.diffID == upper.diffID || p.moved() != lower.moved+upper.moved || lower.moved < 100_000 {
		t.Errorf("layers %+v of %d bytes", p.layers, p.moved())
	}
}

// entries counts the files of an archive and holds its layers to their names.
func entries(t *testing.T, archive io.Reader) (n int) {
	files := tar.NewReader(archive)
	for {
		head, err := files.Next()
		if errors.Is(err, io.EOF) {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
		n++
		text, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		if name, ok := strings.CutSuffix(head.Name, ".tar"); ok && name != fmt.Sprintf("%x", sha256.Sum256(text)) {
			t.Errorf("%s holds something else", head.Name)
		} else if !ok && !json.Valid(text) {
			t.Errorf("%s is no JSON", head.Name)
		}
	}
}

func TestAnErrorAmongTheMessagesIsAnError(t *testing.T) {
	for text, want := range map[string]string{
		`{"status":"a"}{"stream":"b"}`:                        "<nil>",
		`{"status":"a"}{"error":"no room"}{"error":"second"}`: "no room",
		`{"status":`: "unexpected EOF",
	} {
		if err := outcome(strings.NewReader(text)); fmt.Sprint(err) != want {
			t.Errorf("%s is %v", text, err)
		}
	}
}

func TestAProcessIsMeasured(t *testing.T) {
	self := fmt.Sprint(os.Getpid())
	if pid, err := processWith(os.Args[0]); err != nil || pid != self {
		t.Errorf("this is process %s, not %s: %v", self, pid, err)
	}
	if _, err := processWith("no", "such words"); err == nil {
		t.Error("a process is found that nobody started")
	}
	if err := forgetPeak(self); err != nil {
		t.Error(err)
	}
	for _, field := range []string{"VmRSS", "VmHWM"} {
		if n, err := memory(self, field); err != nil || n < 1<<20 {
			t.Errorf("%s is %d bytes: %v", field, n, err)
		}
	}
	if _, err := memory(self, "VmNone"); err == nil {
		t.Error("VmNone is told")
	}
}
