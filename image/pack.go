package image

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// manifestItem is an image in the manifest.json of a docker save.
type manifestItem struct {
	Config   string
	RepoTags []string // null: the image has no name
	Layers   []string
	// What nobody here needs, kept as it came.
	Parent       json.RawMessage `json:",omitempty"`
	LayerSources json.RawMessage `json:",omitempty"`
}

// packer writes the files of an archive.
type packer struct{ *tar.Writer }

func (p packer) put(name string, content []byte) error {
	if err := p.head(name, int64(len(content))); err != nil {
		return err
	}
	_, err := p.Write(content)
	return err
}

func (p packer) head(name string, size int64) error {
	return p.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o444, Size: size})
}

// layers writes a file for each DiffID. They are in the DiffIDs' order, which is the
// order of docker save in engines since 25: a holder that has nothing but the save
// stream can send them all from one.
func (p packer) layers(layers []Layer, name func(Layer) string, body func(Layer, io.Writer) error) error {
	layers = slices.Clone(layers)
	slices.SortFunc(layers, func(a, b Layer) int { return strings.Compare(a.DiffID, b.DiffID) })
	for _, l := range slices.CompactFunc(layers, func(a, b Layer) bool { return a.DiffID == b.DiffID }) {
		if err := p.head(name(l), l.Size); err != nil {
			return err
		}
		if err := body(l, p); err != nil {
			return fmt.Errorf("pack layer %s: %w", l.DiffID, err)
		}
		if err := p.Flush(); err != nil { // it was as long as it was to be
			return fmt.Errorf("pack layer %s: %w", l.DiffID, err)
		}
	}
	return nil
}

// packDocker writes an archive of the kind that docker save wrote before engine 25
// and that every engine loads. Its list of contents comes last: an archive that is
// cut short is no image. Engines with storage drivers look for a layer's file only
// when they lack its chain.
func packDocker(w io.Writer, im *Image, missing []Layer, body func(Layer, io.Writer) error) error {
	hex, err := hexOf(im.ID)
	if err != nil {
		return err
	}
	name := func(l Layer) string { return strings.TrimPrefix(l.DiffID, "sha256:") + ".tar" }
	item := manifestItem{Config: hex + ".json", Layers: []string{}}
	for _, l := range im.Layers {
		item.Layers = append(item.Layers, name(l))
	}
	list, err := json.Marshal([]manifestItem{item})
	if err != nil {
		return err
	}
	p := packer{tar.NewWriter(w)}
	if err := p.layers(missing, name, body); err != nil {
		return err
	}
	if err := p.put(item.Config, im.Config); err != nil {
		return err
	}
	if err := p.put("manifest.json", list); err != nil {
		return err
	}
	return p.Close()
}
