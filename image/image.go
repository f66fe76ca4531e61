package image

import (
	"context"
	"errors"
	"io"
)

// Image is an image as its parts. Its bytes may be checked against its names:
// ID is the SHA-256 of Config, and Config names the SHA-256 of every layer.
type Image struct {
	// ID is the digest of Config, "sha256:…": the image's ID in the cluster,
	// whatever its engine calls it.
	ID string
	// Config is the image's configuration, as JSON.
	Config []byte
	// Layers stand bottom first.
	Layers []Layer
}

// Layer is one layer of an image.
type Layer struct {
	// DiffID is the SHA-256 of the layer as a tar without compression, "sha256:…".
	DiffID string
	// Chain is the digest of this layer and all below it (OCI's ChainID): equal
	// chains are equal trees of files.
	Chain string
	// Size is the tar's, in bytes.
	Size int64
}

// ErrUnknown says that there is no such image or layer here.
var ErrUnknown = errors.New("no such image")

// Backend is how the images of one kind of engine are read and made. Overlay2,
// Containerd and EngineAPI are the three.
type Backend interface {
	// Image returns an image's parts. The error wraps ErrUnknown where the engine
	// does not have it.
	Image(ctx context.Context, id string) (*Image, error)
	// Open returns the tar of one layer of an image from offset on. The bytes are
	// as likely damaged as any on a disk: whoever reads them checks them.
	Open(ctx context.Context, id, chain string, offset int64) (io.ReadCloser, error)
	// Missing returns which of an image's layers the engine lacks, bottom first.
	Missing(ctx context.Context, im *Image) ([]Layer, error)
	// Pack writes what the engine's load takes for the image, without a name. Of
	// its layers only the missing ones are in it; body writes one of them.
	Pack(ctx context.Context, w io.Writer, im *Image, missing []Layer, body func(Layer, io.Writer) error) error
}

// Engine is the Docker Engine that the images belong to. Errors for an image that
// it does not have wrap ErrUnknown.
type Engine interface {
	// Layers returns the engine's own ID of an image, the DiffIDs of its layers,
	// bottom first, and its size in bytes as the engine counts.
	Layers(ctx context.Context, ref string) (id string, diffIDs []string, size int64, err error)
	// Load reads an archive to its end and returns when its images are there. It
	// reads on after an error only as far as it must.
	Load(ctx context.Context, archive io.Reader) error
	// Save returns an image as docker save writes it.
	Save(ctx context.Context, ref string) (io.ReadCloser, error)
	// List returns the engine's own IDs of all its images, each with its tags.
	List(ctx context.Context) (map[string][]string, error)
}
