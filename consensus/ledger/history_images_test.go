package ledger

import (
	"math"

	"pgregory.net/rapid"
)

func drawImageCommand(t *rapid.T) Command {
	return rapid.SampledFrom([]func(*rapid.T) Command{
		drawListing, drawListing, drawListing, drawClaim, drawName, drawName, drawMerge, drawUnname, drawEvict,
	}).Draw(t, "image verb")(t)
}

func drawTag(t *rapid.T) string {
	return rapid.SampledFrom([]string{"web:1", "web:2", "db:1", "db:1", "web", "Web", ""}).Draw(t, "tag")
}

func drawImageID(t *rapid.T) string {
	return rapid.SampledFrom([]string{"sha256:aaaa1", "sha256:aaaa2", "sha256:bbbb1", ""}).Draw(t, "image")
}

// drawListing lists images, from now on or from some time ago.
func drawListing(t *rapid.T) Command {
	o := &Observe{Node: pool(t, "node", "n", 3), Seen: math.MaxUint64}
	if rapid.IntRange(0, 2).Draw(t, "late") == 0 {
		o.Seen = rapid.Uint64Range(0, 60).Draw(t, "seen")
	}
	for range rapid.IntRange(0, 3).Draw(t, "images") {
		h := Holding{ID: drawImageID(t), Size: 5, Index: rapid.Uint64Range(0, 1).Draw(t, "index")}
		for range rapid.IntRange(0, 2).Draw(t, "tags") {
			h.Names = append(h.Names, drawTag(t))
		}
		o.Images = append(o.Images, h)
	}
	return Command{Observe: o}
}

func drawClaim(t *rapid.T) Command {
	if rapid.IntRange(0, 3).Draw(t, "given up") == 0 {
		return Command{Unclaim: &Unclaim{Claim: pool(t, "claim", "c", 3)}}
	}
	return Command{Claim: &Claim{Claim: pool(t, "claim", "c", 3), Name: drawTag(t), Node: pool(t, "node", "n", 3), Owner: "alice", Commit: rapid.Bool().Draw(t, "commit")}}
}

func drawImage(t *rapid.T) Image {
	i := Image{Name: drawTag(t), ID: drawImageID(t), Node: pool(t, "node", "n", 4), Owner: pool(t, "owner", "u", 2), Index: 7, Claim: "forged", Commit: true}
	for range rapid.IntRange(0, 2).Draw(t, "layers") {
		i.Layers = append(i.Layers, Layer{Chain: pool(t, "chain", "l", 3), Size: 10})
	}
	return i
}

func drawName(t *rapid.T) Command {
	return Command{NameImage: &NameImage{Image: drawImage(t), Claim: pool(t, "claim", "c", 3)}}
}

func drawMerge(t *rapid.T) Command {
	m := &Merge{Node: pool(t, "node", "n", 3)}
	for range rapid.IntRange(0, 3).Draw(t, "images") {
		m.Images = append(m.Images, drawImage(t))
	}
	return Command{Merge: m}
}

func drawUnname(t *rapid.T) Command {
	return Command{Unname: &Unname{Name: drawTag(t), ID: drawImageID(t), Force: rapid.Bool().Draw(t, "force")}}
}

func drawEvict(t *rapid.T) Command {
	return Command{Evict: &Evict{Node: pool(t, "node", "n", 3), ID: drawImageID(t)}}
}
