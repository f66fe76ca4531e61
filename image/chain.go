package image

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
)

// maxConfig bounds an image's configuration and the other JSON documents of an archive
// or a store. Registry clients take no larger ones.
const maxConfig = 4 << 20

// Chain returns the digest of a layer with all below it: parent is the chain of the
// layer below, empty for the lowest, and diffID the layer's own.
func Chain(parent, diffID string) string {
	if parent == "" {
		return diffID
	}
	return digest.FromString(parent + " " + diffID).String()
}

// stack makes layers of their DiffIDs, bottom first. Their sizes are left open.
func stack(diffIDs []string) []Layer {
	layers := make([]Layer, len(diffIDs))
	chain := ""
	for i, id := range diffIDs {
		chain = Chain(chain, id)
		layers[i] = Layer{DiffID: id, Chain: chain}
	}
	return layers
}

// hasLayers says that an image has these layers and no others.
func hasLayers(im *Image, diffIDs []string) bool {
	return slices.EqualFunc(im.Layers, diffIDs, func(l Layer, id string) bool { return l.DiffID == id })
}

// hexOf returns the 64 digits of a digest. They are safe as a file's name.
func hexOf(id string) (string, error) {
	d, err := digest.Parse(id)
	if err != nil || d.Algorithm() != digest.SHA256 {
		return "", fmt.Errorf("%q is no SHA-256 digest", id)
	}
	return d.Encoded(), nil
}

// read makes an image of its configuration. The layers' sizes are left open.
func read(config []byte) (*Image, error) {
	var c struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	id := digest.FromBytes(config).String()
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, fmt.Errorf("read the configuration of image %s: %w", id, err)
	}
	for _, diffID := range c.RootFS.DiffIDs {
		if _, err := hexOf(diffID); err != nil {
			return nil, fmt.Errorf("read the configuration of image %s: %w", id, err)
		}
	}
	return &Image{ID: id, Config: config, Layers: stack(c.RootFS.DiffIDs)}, nil
}
