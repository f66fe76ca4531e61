package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
)

const (
	// maxDescription bounds all that a node says of an image, in bytes.
	maxDescription = 16 << 20
	// maxLayers bounds the layers of an image. Docker makes at most 127.
	maxLayers = 160
	// maxLayer bounds what a node may claim of a layer's size, in bytes: sums of
	// such sizes do not overflow.
	maxLayer = 1 << 46
)

// describe asks holders for the image's parts until one gives what can be true.
func (m *Mover) describe(ctx context.Context, r *roster) (author string, im *Image, err error) {
	for {
		node, err := r.next()
		if err != nil {
			return "", nil, err
		}
		im, err := m.description(ctx, node, r.id)
		if err == nil {
			r.good(node)
			return node, im, nil
		}
		if ctx.Err() != nil {
			return "", nil, context.Cause(ctx)
		}
		r.fail(node, 0, err)
	}
}

// description is what one node says of an image.
func (m *Mover) description(ctx context.Context, node, id string) (*Image, error) {
	a, err := m.get(ctx, node, question{path: "/rpc/image/" + id, silence: stallTimeout})
	if err != nil {
		return nil, err
	}
	defer a.Close()
	if a.StatusCode != 200 {
		return nil, a.refusal()
	}
	text, err := io.ReadAll(io.LimitReader(a, maxDescription+1))
	if err != nil {
		return nil, fmt.Errorf("read its description: %w", err)
	}
	if len(text) > maxDescription {
		return nil, lie("its description of the image is longer than %d bytes", maxDescription)
	}
	told := &Image{}
	if err := json.Unmarshal(text, told); err != nil {
		return nil, lie("its description of the image is damaged: %v", err)
	}
	return believe(id, told)
}

// believe returns the image with nothing in it that was not checked, except for
// the sizes of its layers: those show when the layers come.
func believe(id string, told *Image) (*Image, error) {
	if len(told.Config) > maxConfig {
		return nil, lie("the configuration is longer than %d bytes", maxConfig)
	}
	if sum := sha256.Sum256(told.Config); told.ID != id || digestOf(sum[:]) != id {
		return nil, lie("the configuration is not that of the image")
	}
	im, err := read(told.Config)
	if err != nil {
		return nil, lie("%v", err)
	}
	if len(im.Layers) > maxLayers || len(told.Layers) != len(im.Layers) {
		return nil, lie("it tells %d layers, the configuration %d, and at most %d can be", len(told.Layers), len(im.Layers), maxLayers)
	}
	for i, l := range told.Layers {
		if l.DiffID != im.Layers[i].DiffID || l.Size < 0 || l.Size > maxLayer {
			return nil, lie("layer %d cannot be %.80q with %d bytes", i+1, l.DiffID, l.Size)
		}
		im.Layers[i].Size = l.Size
	}
	return im, nil
}

// isDigest knows the digests that images and layers are named by.
func isDigest(s string) bool {
	_, err := hexOf(s)
	return err == nil
}

// digestOf writes a SHA-256 as a digest.
func digestOf(sum []byte) string { return "sha256:" + hex.EncodeToString(sum) }
