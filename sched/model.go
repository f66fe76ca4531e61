package sched

import "strings"

// SameModel says whether a card of the given model satisfies a wish for want. Models
// are compared word by word, split at spaces and dashes, in any case. The words of the
// wish stand in the card's in their order, and a word of the card that the wish leaves
// out is decoration: "A100" takes "NVIDIA A100-SXM4-80GB", but "RTX 3090" no "GeForce
// RTX 3090 Ti". Old drivers say "TITAN Xp" where new ones say "NVIDIA TITAN Xp": the
// vendor counts on neither side. An empty wish is satisfied by every card.
func SameModel(model, want string) bool {
	if want == "" {
		return true
	}
	// Most wishes are how the name ends: that is told quickly.
	if head := len(model) - len(want); head > 0 && divides(model[head-1]) && strings.EqualFold(model[head:], want) {
		for word, rest := modelWord(model[:head]); ; word, rest = modelWord(rest) {
			if word == "" {
				return true
			}
			if !decoration(word) {
				break
			}
		}
	}
	wish, want := wishedWord(want)
	for {
		word, rest := modelWord(model)
		switch {
		case word == "":
			return wish == ""
		case wish != "" && strings.EqualFold(word, wish):
			wish, want = wishedWord(want)
		case !decoration(word):
			return false
		}
		model = rest
	}
}

// wishedWord cuts the first word that counts from a wish.
func wishedWord(s string) (word, rest string) {
	word, rest = modelWord(s)
	for isVendor(word) {
		word, rest = modelWord(rest)
	}
	return word, rest
}

// modelWord cuts the first word from the name of a model.
func modelWord(s string) (word, rest string) {
	from := 0
	for from < len(s) && divides(s[from]) {
		from++
	}
	to := from
	for to < len(s) && !divides(s[to]) {
		to++
	}
	return s[from:to], s[to:]
}

func divides(c byte) bool { return c == ' ' || c == '-' }

func isVendor(word string) bool { return len(word) == 6 && strings.EqualFold(word, "nvidia") }

// decoration says whether a word may be left out of a wish: the vendor, its brand, the
// form of the card, the kind and size of its memory.
func decoration(word string) bool {
	switch len(word) {
	case 3:
		if strings.EqualFold(word, "nvl") {
			return true
		}
	case 4:
		if strings.EqualFold(word, "pcie") {
			return true
		}
	case 5:
		if strings.EqualFold(word, "tesla") {
			return true
		}
	case 6:
		if isVendor(word) || strings.EqualFold(word, "quadro") {
			return true
		}
	case 7:
		if strings.EqualFold(word, "geforce") {
			return true
		}
	}
	return numbered(word, "sxm", "") || numbered(word, "hbm", "e") || word[0] <= '9' && numbered(word, "", "gb")
}

// numbered says whether the word is a prefix, digits, and a suffix. Without digits a
// prefix alone will do; a suffix of one letter may be missing.
func numbered(word, prefix, suffix string) bool {
	if len(word) < len(prefix) || !strings.EqualFold(word[:len(prefix)], prefix) {
		return false
	}
	word = word[len(prefix):]
	digits := 0
	for digits < len(word) && '0' <= word[digits] && word[digits] <= '9' {
		digits++
	}
	if digits == 0 {
		return prefix != "" && word == ""
	}
	return strings.EqualFold(word[digits:], suffix) || len(suffix) == 1 && digits == len(word)
}

// namesMIG says whether the name of a model has the word MIG.
func namesMIG(model string) bool {
	for word, rest := modelWord(model); word != ""; word, rest = modelWord(rest) {
		if strings.EqualFold(word, "mig") {
			return true
		}
	}
	return false
}

// parent cuts from the model of a MIG device what says that it is one.
func parent(model string) string {
	gpu, _, _ := strings.Cut(model, " MIG ")
	return gpu
}

// takes says whether the wish is met by the card.
func (w *GPUWish) takes(c *Card) bool { return w.suits(c) && w.means(c) }

// suits says whether the card has what the wish says beside its model and profile.
func (w *GPUWish) suits(c *Card) bool {
	return (w.UUID == "" || w.UUID == c.UUID) && (w.Index == "" || w.Index == c.Index) && w.Memory <= c.Memory
}

// means says whether the wish is for cards of this model and profile. A MIG device is
// for those alone who ask for one: by its profile, its UUID, its index, or a model that
// names MIG.
func (w *GPUWish) means(c *Card) bool {
	switch {
	case w.Profile != "":
		return strings.EqualFold(w.Profile, c.Profile) && (SameModel(parent(c.Model), w.Model) || SameModel(c.Model, w.Model))
	case c.Profile != "" && w.UUID == "" && w.Index == "" && !namesMIG(w.Model):
		return false
	}
	return SameModel(c.Model, w.Model)
}

// words says in the words of a person what cards the wish is for, such as
// "TITAN Xp of 12 GB or more".
func (w *GPUWish) words() string {
	if w.UUID != "" && w.Model == "" && w.Memory == 0 && w.Profile == "" && w.Index == "" {
		return w.UUID
	}
	words := w.Model
	if w.Profile != "" {
		words = strings.TrimSpace(words + " MIG " + w.Profile)
	}
	if words == "" {
		words = "GPU"
	}
	if w.Memory > 0 {
		words += " of " + Bytes(w.Memory) + " or more"
	}
	if w.Index != "" {
		words += " " + w.Index
	}
	if w.UUID != "" {
		words += " " + w.UUID
	}
	return words
}

// single says whether at most one card of a host meets the wish, so that it is said
// without a number.
func (w *GPUWish) single() bool { return w.UUID != "" || w.Index != "" }

// alike says whether both wish for the same, however it is written.
func (w GPUWish) alike(v GPUWish) bool {
	if w.Model != "" && v.Model != "" && SameModel(v.Model, w.Model) && SameModel(w.Model, v.Model) {
		v.Model = w.Model
	}
	return w == v
}
