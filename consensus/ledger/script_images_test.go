package ledger

import "strings"

// imageID writes an ID in full; none stays none.
func imageID(digits string) string {
	if digits == "" {
		return ""
	}
	return "sha256:" + digits
}

func (a args) imageCommand(verb string, c *Command) {
	switch verb {
	case "claim":
		c.Claim = &Claim{Claim: a.word(0), Name: a.word(1), Node: a.key("on"), Owner: a.key("owner"), Commit: a.has("commit")}
	case "unclaim":
		c.Unclaim = &Unclaim{a.word(0)}
	case "name":
		c.NameImage = &NameImage{Claim: a.key("claim"), Was: imageID(a.key("was")), Image: Image{
			Name: a.word(0), ID: imageID(a.word(1)), Node: a.key("on"), Owner: a.key("owner"), Layers: a.layers(),
		}}
	case "merge":
		c.Merge = &Merge{Node: a.word(0)}
		for _, h := range a.holdings() {
			for _, name := range h.Names {
				c.Merge.Images = append(c.Merge.Images, Image{Name: name, ID: h.ID, Layers: a.layers()})
			}
		}
	case "unname":
		c.Unname = &Unname{Name: a.word(0), ID: imageID(a.word(1)), Force: a.has("force")}
	case "evict":
		c.Evict = &Evict{a.word(0), imageID(a.word(1))}
	default:
		a.objectCommand(verb, c)
	}
}

func (a args) layers() (layers []Layer) {
	for text := range strings.SplitSeq(a.key("layers"), ",") {
		if chain, size, ok := strings.Cut(text, ":"); ok {
			layers = append(layers, Layer{Chain: imageID(chain), Size: a.number(size)})
		}
	}
	return layers
}

func (a args) holdings() (list []Holding) {
	for _, text := range a.keys["has"] {
		f := strings.Split(text, ",")
		list = append(list, has(imageID(f[0]), f[1:]...))
	}
	return list
}
