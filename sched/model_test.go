package sched

import (
	"slices"
	"strings"
	"testing"
)

// realModels are names as NVML and old drivers have them.
func realModels() []string {
	return []string{
		"TITAN Xp", "NVIDIA TITAN Xp", "NVIDIA TITAN X (Pascal)", "NVIDIA GeForce RTX 3090", "NVIDIA GeForce RTX 3090 Ti",
		"Tesla V100-SXM2-16GB", "Tesla V100-SXM2-32GB", "Tesla V100-PCIE-32GB", "NVIDIA A100-SXM4-40GB", "NVIDIA A100-SXM4-80GB",
		"A100-SXM4-80GB", "NVIDIA A100 80GB PCIe", "NVIDIA A100-SXM4-80GB MIG 3g.40gb", "NVIDIA A100-SXM4-80GB MIG 1g.10gb",
		"NVIDIA H100 80GB HBM3", "NVIDIA H100 PCIe", "NVIDIA H100 NVL", "NVIDIA H100 80GB HBM2e", "NVIDIA L40S", "NVIDIA L40",
		"Quadro RTX 6000", "NVIDIA RTX 6000 Ada Generation", "NVIDIA RTX A6000", "NVIDIA GH200 480GB", "Tesla T4",
	}
}

// Each wish, and the numbers of the real models that it takes.
func TestAWishTakesTheModelsThatAPersonMeans(t *testing.T) {
	for wish, want := range map[string][]string{
		"TITAN Xp":                {"TITAN Xp", "NVIDIA TITAN Xp"},
		"nvidia titan  xp ":       {"TITAN Xp", "NVIDIA TITAN Xp"},
		"titan-xp":                {"TITAN Xp", "NVIDIA TITAN Xp"},
		"TITAN":                   nil,
		"Xp":                      nil,
		"RTX 3090":                {"NVIDIA GeForce RTX 3090"},
		"GeForce RTX 3090":        {"NVIDIA GeForce RTX 3090"},
		"3090":                    nil,
		"RTX 3090 Ti":             {"NVIDIA GeForce RTX 3090 Ti"},
		"V100":                    {"Tesla V100-SXM2-16GB", "Tesla V100-SXM2-32GB", "Tesla V100-PCIE-32GB"},
		"V100-SXM2-16GB":          {"Tesla V100-SXM2-16GB"},
		"Tesla V100-SXM2":         {"Tesla V100-SXM2-16GB", "Tesla V100-SXM2-32GB"},
		"V100 32GB":               {"Tesla V100-SXM2-32GB", "Tesla V100-PCIE-32GB"},
		"V100-32GB-SXM2":          nil,
		"A100":                    {"NVIDIA A100-SXM4-40GB", "NVIDIA A100-SXM4-80GB", "A100-SXM4-80GB", "NVIDIA A100 80GB PCIe"},
		"A100 80GB":               {"NVIDIA A100-SXM4-80GB", "A100-SXM4-80GB", "NVIDIA A100 80GB PCIe"},
		"NVIDIA A100-SXM4-80GB":   {"NVIDIA A100-SXM4-80GB", "A100-SXM4-80GB"},
		"A100 MIG":                nil,
		"A100 MIG 3g.40gb":        {"NVIDIA A100-SXM4-80GB MIG 3g.40gb"},
		"H100":                    {"NVIDIA H100 80GB HBM3", "NVIDIA H100 PCIe", "NVIDIA H100 NVL", "NVIDIA H100 80GB HBM2e"},
		"H100 PCIe":               {"NVIDIA H100 PCIe"},
		"H100 80gb":               {"NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM2e"},
		"L40":                     {"NVIDIA L40"},
		"L40S":                    {"NVIDIA L40S"},
		"RTX 6000":                {"Quadro RTX 6000"},
		"Quadro RTX 6000":         {"Quadro RTX 6000"},
		"RTX 6000 Ada":            nil,
		"RTX 6000 Ada Generation": {"NVIDIA RTX 6000 Ada Generation"},
		"RTX A6000":               {"NVIDIA RTX A6000"},
		"A6000":                   nil,
		"GH200":                   {"NVIDIA GH200 480GB"},
		"T4":                      {"Tesla T4"},
		"NVIDIA":                  nil,
		"Tesla":                   nil,
		" ":                       nil,
		"":                        realModels(),
	} {
		var got []string
		for _, model := range realModels() {
			if SameModel(model, wish) {
				got = append(got, model)
			}
			if !SameModel(strings.ToUpper(model), strings.ToLower(model)) {
				t.Errorf("%s is not taken by its own name", model)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q takes %q, want %q", wish, got, want)
		}
	}
}

func TestAModelOfNoWordsIsTakenByNoName(t *testing.T) {
	for _, c := range []struct {
		model, want string
		same        bool
	}{
		{"", "", true}, {"", "TITAN Xp", false}, {"nvidia", "NVIDIA", true}, {"--", "x", false}, {"16GB", "16gb", true}, {"GB", "16gb", false},
		{"HBM", "x", false}, {"x hbm2x", "x", false}, {"x hbm", "x", true}, {"x sxm", "x", true}, {"x 80gbx", "x", false}, {"x gb", "x", false},
	} {
		if got := SameModel(c.model, c.want); got != c.same {
			t.Errorf("SameModel(%q, %q) = %v", c.model, c.want, got)
		}
	}
}

func TestAMIGDeviceIsTakenOnlyByWhoAsksForOne(t *testing.T) {
	gpu := Card{UUID: "GPU-a", Index: "0", Model: "NVIDIA A100-SXM4-80GB", Memory: 80 << 30}
	mig := Card{UUID: "MIG-a", Index: "1:0", Model: "NVIDIA A100-SXM4-80GB MIG 3g.40gb", Profile: "3g.40gb", Memory: 40 << 30}
	for _, c := range []struct {
		wish     GPUWish
		gpu, mig bool
	}{
		{GPUWish{}, true, false},
		{GPUWish{Model: "A100"}, true, false},
		{GPUWish{Model: "A100 MIG 3g.40gb"}, false, true},
		{GPUWish{Profile: "3G.40GB"}, false, true},
		{GPUWish{Profile: "1g.10gb"}, false, false},
		{GPUWish{Profile: "3g.40gb", Model: "A100"}, false, true},
		{GPUWish{Profile: "3g.40gb", Model: "A100 MIG 3g.40gb"}, false, true},
		{GPUWish{Profile: "3g.40gb", Model: "H100"}, false, false},
		{GPUWish{UUID: "MIG-a"}, false, true},
		{GPUWish{UUID: "GPU-a"}, true, false},
		{GPUWish{UUID: "GPU-a", Model: "H100"}, false, false},
		{GPUWish{Index: "1:0"}, false, true},
		{GPUWish{Index: "0"}, true, false},
		{GPUWish{Index: "0", UUID: "MIG-a"}, false, false},
		{GPUWish{Memory: 40 << 30}, true, false},
		{GPUWish{Memory: 80<<30 + 1}, false, false},
		{GPUWish{Memory: 40 << 30, Profile: "3g.40gb"}, false, true},
		{GPUWish{Memory: 41 << 30, Profile: "3g.40gb"}, false, false},
	} {
		if c.wish.takes(&gpu) != c.gpu || c.wish.takes(&mig) != c.mig {
			t.Errorf("%+v takes the GPU: %v, the MIG device: %v", c.wish, c.wish.takes(&gpu), c.wish.takes(&mig))
		}
	}
}

func TestNothingIsAllocatedToCompareModels(t *testing.T) {
	models := realModels()
	if n := testing.AllocsPerRun(100, func() {
		for _, m := range models {
			SameModel(m, "NVIDIA A100-SXM4-80GB")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Words in lists are the dumb twin of SameModel.
func FuzzSameModel(f *testing.F) {
	for _, m := range realModels() {
		f.Add(m, "A100 80GB")
		f.Add("NVIDIA "+m, m)
	}
	f.Fuzz(func(t *testing.T, model, want string) {
		if got := SameModel(model, want); want != "" && got != sameWords(wordsOf(model), wordsOf(want)) {
			t.Errorf("SameModel(%q, %q) = %v", model, want, got)
		}
	})
}

func wordsOf(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == '-' })
}

// sameWords tries to leave each word of the card out, and to match it.
func sameWords(card, wish []string) bool {
	if len(wish) > 0 && strings.EqualFold(wish[0], "nvidia") {
		return sameWords(card, wish[1:])
	}
	if len(card) == 0 {
		return len(wish) == 0
	}
	return decoration(card[0]) && sameWords(card[1:], wish) ||
		len(wish) > 0 && strings.EqualFold(card[0], wish[0]) && sameWords(card[1:], wish[1:])
}
