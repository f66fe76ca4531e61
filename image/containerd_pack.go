package image

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/moby/go-archive/compression"
	"github.com/opencontainers/go-digest"
)

// Missing implements Backend: a layer is held when its blob, in whatever
// compression, belongs to one of the engine's images.
func (c *Containerd) Missing(ctx context.Context, im *Image) ([]Layer, error) {
	held, err := c.held(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(im.Layers), func(l Layer) bool { _, ok := held[l.DiffID]; return ok }), nil
}

// held returns the blobs of all layers that are there, by DiffID.
func (c *Containerd) held(ctx context.Context) (map[string]descriptor, error) {
	images, err := c.engine.List(ctx)
	if err != nil {
		return nil, err
	}
	held := map[string]descriptor{}
	for id := range images {
		its, err := c.contents(ctx, id)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			continue // an image that is broken, or gone since
		}
		for i, d := range its.blobs {
			if c.holds(d) {
				held[its.image.Layers[i].DiffID] = d
			}
		}
	}
	return held, nil
}

// Pack implements Backend. It writes an OCI layout whose manifest names the layers
// that are not in it exactly as the store holds them: by any other name containerd
// would make an image that runs and cannot be saved. Index.json comes last: without
// it nothing of the archive becomes an image.
func (c *Containerd) Pack(ctx context.Context, w io.Writer, im *Image, missing []Layer, body func(Layer, io.Writer) error) error {
	held, err := c.held(ctx)
	if err != nil {
		return err
	}
	m := manifest{SchemaVersion: 2, MediaType: typeManifest, Config: &descriptor{
		MediaType: typeConfig, Digest: im.ID, Size: int64(len(im.Config)),
	}}
	for _, l := range im.Layers {
		d := descriptor{MediaType: typeLayer, Digest: l.DiffID, Size: l.Size}
		if !slices.ContainsFunc(missing, func(gap Layer) bool { return gap.DiffID == l.DiffID }) {
			if d, err = c.asHeld(held, l); err != nil {
				return err
			}
		}
		m.Layers = append(m.Layers, d)
	}
	return packLayout(w, im, m, missing, body)
}

// asHeld describes a layer as it lies in the store.
func (c *Containerd) asHeld(held map[string]descriptor, l Layer) (descriptor, error) {
	d, ok := held[l.DiffID]
	if !ok {
		return d, fmt.Errorf("layer %s went out of the engine's store", l.DiffID)
	}
	blob, err := c.open(d)
	if err != nil {
		return d, err
	}
	defer blob.Close()
	kinds := map[compression.Compression]string{compression.None: "", compression.Gzip: "+gzip", compression.Zstd: "+zstd"}
	kind, ok := kinds[blob.format]
	if !ok {
		return d, fmt.Errorf("layer %s is compressed in a way that no image can be", l.DiffID)
	}
	return descriptor{MediaType: typeLayer + kind, Digest: d.Digest, Size: d.Size}, nil
}

func packLayout(w io.Writer, im *Image, m manifest, missing []Layer, body func(Layer, io.Writer) error) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	id := digest.FromBytes(text)
	list, err := json.Marshal(index{SchemaVersion: 2, MediaType: typeIndex, Manifests: []descriptor{
		{MediaType: typeManifest, Digest: id.String(), Size: int64(len(text))},
	}})
	if err != nil {
		return err
	}
	blob := func(id string) string { return "blobs/sha256/" + strings.TrimPrefix(id, "sha256:") }
	p := packer{tar.NewWriter(w)}
	if err := p.layers(missing, func(l Layer) string { return blob(l.DiffID) }, body); err != nil {
		return err
	}
	return errors.Join(
		p.put(blob(im.ID), im.Config),
		p.put(blob(id.String()), text),
		p.put("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)),
		p.put("index.json", list),
		p.Close())
}
