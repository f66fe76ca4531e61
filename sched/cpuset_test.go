package sched

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestParseCPUSetReadsWhatTheKernelAndPeopleWrite(t *testing.T) {
	for text, want := range map[string]string{
		"":             "",
		" 0-3,8 \n":    "0-3,8",
		"3,1,2,1":      "1-3",
		"7-7":          "7",
		"0,2,4":        "0,2,4",
		"62-66":        "62-66",
		"5,,6":         "5-6",
		"8191":         "8191",
		"0-1,63-64,99": "0-1,63-64,99",
	} {
		s, err := ParseCPUSet(text)
		if err != nil || s.String() != want {
			t.Errorf("ParseCPUSet(%q) = %q, %v; want %q", text, s, err, want)
		}
	}
}

func TestParseCPUSetRefusesWhatIsNoListOfCores(t *testing.T) {
	for _, text := range []string{"a", "-1", "1-", "3-1", "0-8192", "8192", "1-2-3", "0x1", "1 2", "99999999999999999999"} {
		if s, err := ParseCPUSet(text); err == nil {
			t.Errorf("ParseCPUSet(%q) = %q, want an error", text, s)
		}
	}
}

func TestCPUsLeavesOutNumbersOutOfRange(t *testing.T) {
	if got := CPUs(-1, 3, maxCore, maxCore+1).String(); got != "3,8191" {
		t.Errorf("got %q", got)
	}
}

// A map of cores is the dumb twin of CPUSet.
func TestCPUSetAgreesWithAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawCores(t, "a"), drawCores(t, "b")
		s, u := CPUs(a...), CPUs(b...)
		inA, inB := setOf(a), setOf(b)
		both, onlyA := maps.Clone(inA), maps.Clone(inA)
		maps.Copy(both, inB)
		maps.DeleteFunc(onlyA, func(c int, _ bool) bool { return inB[c] })
		sameCores(t, "s", s, inA)
		sameCores(t, "union", s.Union(u), both)
		sameCores(t, "minus", s.Minus(u), onlyA)
		n := rapid.IntRange(0, 12).Draw(t, "n")
		sameCores(t, "first", s.First(n), setOf(sorted(inA)[:min(n, len(inA))]))
		if got := s.countMinus(u); got != len(onlyA) {
			t.Fatalf("countMinus = %d, want %d", got, len(onlyA))
		}
		if got, want := s.Intersects(u), len(onlyA) < len(inA); got != want {
			t.Fatalf("Intersects = %v, want %v", got, want)
		}
		if got, want := s.Equal(u), maps.Equal(inA, inB); got != want {
			t.Fatalf("Equal = %v, want %v", got, want)
		}
		sameCores(t, "s afterwards", s, inA)
		sameCores(t, "u afterwards", u, inB)
	})
}

func TestCPUSetSurvivesItsTextAndJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := CPUs(drawCores(t, "cores")...)
		read, err := ParseCPUSet(s.String())
		if err != nil || !read.Equal(s) {
			t.Fatalf("%q was read as %q, %v", s, read, err)
		}
		type holder struct {
			Cores CPUSet `json:",omitzero"`
		}
		data, err := json.Marshal(holder{s})
		if err != nil {
			t.Fatal(err)
		}
		var again holder
		if err := json.Unmarshal(data, &again); err != nil || !again.Cores.Equal(s) {
			t.Fatalf("%s was read as %q, %v", data, again.Cores, err)
		}
	})
}

func FuzzParseCPUSet(f *testing.F) {
	for _, text := range []string{"", "0", "0-3,8", "3-1", "8192", "+1", "00-07", ",", "1-2-3", "\xff"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseCPUSet(text)
		if err != nil {
			return
		}
		if list := s.List(); len(list) > 0 && list[len(list)-1] > maxCore {
			t.Fatalf("%q holds core %d", text, list[len(list)-1])
		}
		if again, err := ParseCPUSet(s.String()); err != nil || !again.Equal(s) {
			t.Fatalf("%q became %q, then %q, %v", text, s, again, err)
		}
	})
}

func drawCores(t *rapid.T, label string) []int {
	return rapid.SliceOfN(rapid.IntRange(0, 140), 0, 20).Draw(t, label)
}

func sameCores(t *rapid.T, what string, s CPUSet, want map[int]bool) {
	t.Helper()
	if !slices.Equal(s.List(), sorted(want)) || s.Count() != len(want) {
		t.Fatalf("%s: got %v (%d), want %v", what, s.List(), s.Count(), sorted(want))
	}
}

func setOf(list []int) map[int]bool {
	set := map[int]bool{}
	for _, c := range list {
		set[c] = true
	}
	return set
}

func sorted(set map[int]bool) []int { return slices.Sorted(maps.Keys(set)) }
