package engine

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestParseCPUs(t *testing.T) {
	for list, want := range map[string][]int{
		"":            nil,
		"\n":          nil,
		"0":           {0},
		"0-3,8\n":     {0, 1, 2, 3, 8},
		"8, 1-2 ,1":   {1, 2, 8},
		"16383-16384": {16383, 16384},
	} {
		if got, err := parseCPUs(list); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q is %v, %v, want %v", list, got, err, want)
		}
	}
	for _, list := range []string{"x", "1-", "-1", "3-1", "0-99999999", "1-2-3"} {
		if got, err := parseCPUs(list); err == nil {
			t.Errorf("%q was read as %v", list, got)
		}
	}
}

func TestCPUsSurviveFormatting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SliceOfDistinct(rapid.IntRange(0, maxCPU), rapid.ID[int]).Draw(t, "ids")
		slices.Sort(ids)
		if got, err := parseCPUs(formatCPUs(ids)); err != nil || !slices.Equal(got, ids) {
			t.Fatalf("%v became %v, %v", ids, got, err)
		}
	})
}
