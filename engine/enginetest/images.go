package enginetest

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/distribution/reference"
)

// image is one image: its configuration, by whose digest it is called, and its
// layers. Neither changes.
type image struct {
	id     string
	parent string // ID of the image it was committed from; a load does not know it
	spec   spec
	parts
	layers []*layer // bottom first
}

// layer is a tar on top of others.
type layer struct {
	diffID, chain string
	tar           []byte
	size          int64 // bytes of its files
}

// AddImage gives the engine an image of that reference with one small layer, and
// returns its ID. The same reference is the same image on every twin.
func (t *Twin) AddImage(ref string) (id string) {
	return t.AddLayered(ref, []byte(familiar(ref)))
}

// AddLayered gives the engine an image of that reference and returns its ID.
// Each layer, bottom first, is a tar of one file with these bytes. The same
// layers are the same image on every twin, whatever their references.
func (t *Twin) AddLayered(ref string, layers ...[]byte) (id string) {
	made := build(layers)
	t.mu.Lock()
	defer t.mu.Unlock()
	img := t.install(made)
	t.tag(img, familiar(ref))
	return img.id
}

// install makes the engine hold an image that came as its parts.
func (t *Twin) install(p parts) *image {
	var layers []*layer
	for _, tar := range p.tars {
		layers = append(layers, t.register(layers, tar))
	}
	return t.keep(p.config, layers)
}

// register makes the engine hold a layer on top of those below it.
func (t *Twin) register(below []*layer, tar []byte) *layer {
	diffID := digest(tar)
	chain := chainOf(below, diffID)
	if held := t.layers[chain]; held != nil {
		return held
	}
	size, _ := contentSize(tar) // a tar that is none has the size of what can be read
	l := &layer{diffID: diffID, chain: chain, tar: tar, size: size}
	t.layers[chain] = l
	return l
}

// keep makes the engine hold an image of layers that it holds.
func (t *Twin) keep(config []byte, layers []*layer) *image {
	id := digest(config)
	if held := t.images[id]; held != nil {
		return held
	}
	s, _ := parseSpec(config) // its maker has parsed or written it
	img := &image{id: id, spec: s, layers: layers, parts: parts{config: config}}
	for _, l := range layers {
		img.tars = append(img.tars, l.tar)
	}
	t.images[id] = img
	return img
}

// drop lets go of those of the layers that no image and no container needs, and
// returns their chains, top first.
func (t *Twin) drop(layers []*layer) (gone []string) {
	for _, l := range slices.Backward(layers) {
		if t.needed(l) {
			break // and so are those below it
		}
		delete(t.layers, l.chain)
		gone = append(gone, l.chain)
	}
	return gone
}

func (t *Twin) needed(l *layer) bool {
	for _, img := range t.images {
		if slices.Contains(img.layers, l) {
			return true
		}
	}
	for _, b := range t.containers {
		if slices.Contains(b.image.layers, l) {
			return true
		}
	}
	return false
}

func (img *image) size() (bytes int64) {
	for _, l := range img.layers {
		bytes += l.size
	}
	return bytes
}

// short is the ID as people see it.
func (img *image) short() string { return strings.TrimPrefix(img.id, "sha256:")[:12] }

// hasID reports whether ref is the image's ID, or the beginning of it.
func (img *image) hasID(ref string) bool {
	return strings.HasPrefix(img.id, ref) || strings.HasPrefix(strings.TrimPrefix(img.id, "sha256:"), ref)
}

// digest is how content is called.
func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// chainOf is OCI's ChainID of a layer on top of others.
func chainOf(below []*layer, diffID string) string {
	if len(below) == 0 {
		return diffID
	}
	return digest([]byte(below[len(below)-1].chain + " " + diffID))
}

// familiar is a reference as people write it, with its tag or its digest.
func familiar(ref string) string {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return ref
	}
	if digested, ok := named.(reference.Canonical); ok {
		named, _ = reference.WithDigest(reference.TrimNamed(named), digested.Digest()) // it was one before
	}
	return reference.FamiliarString(reference.TagNameOnly(named))
}

// repository is a familiar reference without its tag or digest.
func repository(name string) string {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return name
	}
	return reference.FamiliarName(named)
}

// isDigest tells name@sha256:… from name:tag.
func isDigest(name string) bool { return strings.Contains(name, "@") }

// image finds an image by reference, ID or unambiguous prefix of an ID.
func (t *Twin) image(ref string) *image {
	if img := t.images[ref]; img != nil {
		return img
	}
	if img := t.refs[familiar(ref)]; img != nil {
		return img
	}
	var found *image
	for _, img := range t.images {
		if ref == "" || !img.hasID(ref) {
			continue
		}
		if found != nil {
			return nil
		}
		found = img
	}
	return found
}

// namesOf returns the image's references, sorted.
func (t *Twin) namesOf(img *image) (tags, digests []string) {
	for name, other := range t.refs {
		switch {
		case other.id != img.id:
		case isDigest(name):
			digests = append(digests, name)
		default:
			tags = append(tags, name)
		}
	}
	slices.Sort(tags)
	slices.Sort(digests)
	return tags, digests
}

// tag moves a familiar reference to img.
func (t *Twin) tag(img *image, name string) {
	t.refs[name] = img
	t.tellImage(img, "tag", name)
}

// children returns the images that were committed from img.
func (t *Twin) children(img *image) (all []*image) {
	for _, other := range t.images {
		if other.parent == img.id {
			all = append(all, other)
		}
	}
	return all
}

// userOf returns a container of the image, a running one if running is set and
// any one otherwise.
func (t *Twin) userOf(img *image, running bool) *box {
	for _, b := range t.containers {
		if b.image.id == img.id && (b.running || !running) {
			return b
		}
	}
	return nil
}
