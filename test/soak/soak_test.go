package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"ddocker/test/judge"
)

// run is a soak of so many quiet times, in each of which a quantity was so much.
func run(q int, values ...float64) *soak {
	s := &soak{began: time.Now(), failures: map[string]int{}}
	for i, v := range values {
		one := sample{at: s.began.Add(time.Duration(i+1) * 3 * time.Minute), host: measured, life: "/proc/1", quiet: true}
		one.of[q] = v
		s.samples = append(s.samples, one)
	}
	return s
}

func TestWhatGrowsIsFound(t *testing.T) {
	for _, test := range []struct {
		name   string
		values []float64
		fine   bool
	}{
		{"it is flat", []float64{40, 50, 51, 50, 49, 52, 50, 51}, true},
		{"it warms up and is flat", []float64{20, 50, 51, 50, 49, 52, 50, 51}, true},
		{"once it was much", []float64{40, 50, 51, 150, 49, 52, 50, 51}, true},
		{"it grows by five each time", []float64{40, 45, 50, 55, 60, 65, 70, 75}, false},
		{"it grows and falls a little", []float64{40, 50, 60, 58, 70, 69, 80, 90}, false},
	} {
		s := run(0, test.values...)
		s.judgeGrowth()
		if fine := len(s.violations) == 0; fine != test.fine {
			t.Errorf("%s: %v", test.name, s.violations)
		}
	}
	s := run(4, 1, 2, 3)
	s.samples[1].of[4] = quantities[4].most + 1
	if s.judgeGrowth(); len(s.violations) == 0 {
		t.Error("a log that was too large is not found")
	}
	s = run(0, 1, 1, 1)
	s.samples[2].life = "/proc/2"
	if s.judgeGrowth(); len(s.violations) == 0 {
		t.Error("an agent that ended by itself is not found")
	}
}

func TestWhatClientsWereToldIsCompared(t *testing.T) {
	runs := judge.Container{ID: "1", Name: "a", Host: "h1", Placement: "p", Running: true, Process: 7}
	other := runs
	other.Process = 8
	ended := runs
	ended.Running = false
	for _, test := range []struct {
		name  string
		told  own
		have  judge.Container
		wrong int
	}{
		{"it runs", own{name: "a", id: "1", runs: true}, runs, 0},
		{"it is as it was", own{name: "a", id: "1", runs: true, quiet: runs}, runs, 0},
		{"it was restarted", own{name: "a", id: "1", runs: true, quiet: runs}, other, 1},
		{"it does not run", own{name: "a", id: "1", runs: true}, ended, 1},
		{"it was never made, and nobody was sure", own{name: "b", unsure: true}, judge.Container{}, 0},
		{"it is lost", own{name: "b", id: "2", runs: true}, judge.Container{}, 1},
		{"it is there, and nobody was told", own{}, runs, 1},
		{"nobody was sure, and it is there", own{name: "a", unsure: true}, ended, 0},
	} {
		all, have := told{all: map[string]*own{}}, map[string]judge.Container{}
		if test.told.name != "" {
			all.put(test.told)
		}
		if test.have.ID != "" {
			have[test.have.ID] = test.have
		}
		if wrong := all.compare(have); len(wrong) != test.wrong {
			t.Errorf("%s: %q", test.name, wrong)
		}
	}
}

func TestAPrizeHasOneOwner(t *testing.T) {
	there := judge.Container{ID: "1", Name: "prize7", Host: "h1", Placement: "p"}
	for _, test := range []struct {
		name  string
		told  []string // IDs that clients were told, one after another
		have  judge.Container
		wrong int
	}{
		{"nobody was told, and it is there", nil, there, 0},
		{"one was told", []string{"1"}, there, 0},
		{"one was told, and it is lost", []string{"1"}, judge.Container{}, 1},
		{"one was told, and another is there", []string{"2"}, there, 1},
		{"two were told", []string{"1", "2"}, there, 1},
		{"three were told", []string{"1", "2", "3"}, there, 2},
	} {
		s := &soak{}
		for _, id := range test.told {
			s.granted(there.Name, id)
		}
		if s.judgePrizes(map[string]judge.Container{test.have.ID: test.have}); len(s.violations) != test.wrong {
			t.Errorf("%s: %v", test.name, s.violations)
		}
		s.prize.Clear()
		if s.granted(there.Name, "4"); len(s.violations) != test.wrong {
			t.Errorf("%s, then it was removed and given again: %v", test.name, s.violations)
		}
	}
}

func TestTheReportHasAPictureThatCanBeRead(t *testing.T) {
	s := run(0, 40, 50, 51)
	s.note("lab %v", []string{"cut", "1"})
	s.violated("something < that & may not be")
	if text := s.text(time.Minute); !strings.Contains(text, "violations: 1") || !strings.Contains(text, "may not be") {
		t.Errorf("the report says\n%s", text)
	}
	picture := xml.NewDecoder(strings.NewReader(s.picture()))
	lines := 0
	for {
		token, err := picture.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "polyline" {
			lines++
		}
	}
	if lines != len(quantities) {
		t.Errorf("%d lines for %d quantities of one host", lines, len(quantities))
	}
}
