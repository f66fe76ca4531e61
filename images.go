package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"

	"golang.org/x/sys/unix"

	"ddocker/api"
	"ddocker/engine"
	"ddocker/image"
	"ddocker/node"
)

// dirImages is where an agent keeps which images it is loading, or has copied.
const dirImages = "images"

// buildImages makes what carries images between this engine and the others.
func (a *agent) buildImages() {
	own := imageEngine{a.engine}
	a.library = image.NewLibrary(image.LibraryConfig{Engine: own, Root: own.root, Logger: a.cfg.Logger})
	a.mover = image.New(image.Config{
		Self: a.id.NodeID(), Engine: own, Backend: a.library, Dir: filepath.Join(a.cfg.DataDir, dirImages),
		Peer:   func(id string) http.RoundTripper { return toNode{a.transport, id} },
		From:   func(r *http.Request) string { return peerOf(r.Context()) },
		Disk:   own.disk,
		Remove: own.remove,
		Logger: a.cfg.Logger,
		Crash:  a.cfg.crash,
	})
}

// clusterImage returns the cluster's ID of an image by its engine's own; that one
// where the engine does not have it.
func (a *agent) clusterImage(ctx context.Context, own string) string {
	id, err := a.library.ConfigID(ctx, own)
	if err != nil {
		return own
	}
	return id
}

// clusterImages is the node as the API needs it for images.
type clusterImages struct{ *node.Node }

// Commit makes an image of a container of this node.
func (n clusterImages) Commit(ctx context.Context, c api.Commit) (status int, reply []byte, err error) {
	return n.Node.Commit(ctx, node.Commit(c))
}

// imageEngine is this host's engine as package image knows it.
type imageEngine struct{ *engine.Engine }

// Layers returns what an image is made of.
func (e imageEngine) Layers(ctx context.Context, ref string) (id string, diffIDs []string, size int64, err error) {
	id, diffIDs, size, err = e.ImageLayers(ctx, ref)
	return id, diffIDs, size, unknownImage(err)
}

// Load has the engine take an archive.
func (e imageEngine) Load(ctx context.Context, archive io.Reader) error {
	return e.LoadImage(ctx, archive)
}

// Save has the engine write an image as an archive.
func (e imageEngine) Save(ctx context.Context, ref string) (io.ReadCloser, error) {
	archive, err := e.SaveImage(ctx, ref)
	return archive, unknownImage(err)
}

// List returns the engine's images, each with its names.
func (e imageEngine) List(ctx context.Context) (map[string][]string, error) {
	list, err := e.Images(ctx)
	if err != nil {
		return nil, err
	}
	names := map[string][]string{}
	for _, i := range list {
		names[i.ID] = i.Refs
	}
	return names, nil
}

func (e imageEngine) remove(ctx context.Context, id string) error {
	_, err := e.RemoveImage(ctx, id, false)
	return unknownImage(err)
}

func unknownImage(err error) error {
	if err != nil && engine.IsNotFound(err) {
		return fmt.Errorf("%w: %w", image.ErrUnknown, err)
	}
	return err
}

func (e imageEngine) root(ctx context.Context) (image.Root, error) {
	r, err := e.Root(ctx)
	if err != nil {
		return image.Root{}, err
	}
	if !r.Local {
		r.Dir = "" // files of another machine
	}
	return image.Root{Dir: r.Dir, Driver: r.Driver, Containerd: r.Containerd}, nil
}

// disk returns what is free on the disk that the engine's images are on, and how
// large it is, in bytes.
func (e imageEngine) disk() (free, total int64, err error) {
	r, err := e.root(context.Background())
	if err != nil {
		return 0, 0, err
	}
	if r.Dir == "" {
		return 0, 0, errors.New("the engine's disk is not this machine's")
	}
	var s unix.Statfs_t
	if err := unix.Statfs(r.Dir, &s); err != nil {
		return 0, 0, fmt.Errorf("look how full %s is: %w", r.Dir, err)
	}
	return int64(s.Bavail) * s.Bsize, int64(s.Blocks) * s.Bsize, nil
}
