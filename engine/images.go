package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/image"
)

// Image is one image that the engine has.
type Image struct {
	ID   string   // sha256:…, of its configuration; with the containerd store, of its manifest
	Refs []string // tags and digests, sorted; empty for a dangling image
	Size int64    // bytes of its layers, as the engine counts them
}

// HasImage reports whether the engine has the image of that reference or ID.
func (e *Engine) HasImage(ctx context.Context, ref string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, err := e.docker(ctx)
	if err != nil {
		return false, err
	}
	_, err = c.ImageInspect(ctx, ref)
	if IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("inspect image %s: %w", ref, err)
	}
	return true, nil
}

// Images returns the engine's images, sorted by ID, without the intermediate
// ones of builds and those of trials.
func (e *Engine) Images(ctx context.Context) ([]Image, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, err := e.docker(ctx)
	if err != nil {
		return nil, err
	}
	list, err := c.ImageList(ctx, image.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	images := make([]Image, 0, len(list))
	for _, s := range list {
		refs := slices.Concat(s.RepoTags, s.RepoDigests)
		if ProbeImage(s.Labels, refs, s.Size) {
			continue
		}
		refs = slices.DeleteFunc(refs, func(r string) bool { return strings.HasPrefix(r, "<none>") })
		slices.Sort(refs)
		images = append(images, Image{ID: s.ID, Refs: refs, Size: s.Size})
	}
	slices.SortFunc(images, func(a, b Image) int { return strings.Compare(a.ID, b.ID) })
	return images, nil
}

// ImageLayers returns the engine's ID of an image, the DiffIDs of its layers,
// bottom first, and its size in bytes as the engine counts. See IsNotFound.
func (e *Engine) ImageLayers(ctx context.Context, ref string) (id string, diffIDs []string, size int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, err := e.docker(ctx)
	if err != nil {
		return "", nil, 0, err
	}
	in, err := c.ImageInspect(ctx, ref)
	if err != nil {
		return "", nil, 0, fmt.Errorf("inspect image %s: %w", ref, err)
	}
	return in.ID, in.RootFS.Layers, in.Size, nil
}

// TagImage gives the image of that reference or ID one more name. The engine
// takes the name from another image that has it. See IsNotFound.
func (e *Engine) TagImage(ctx context.Context, ref, name string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, err := e.docker(ctx)
	if err != nil {
		return err
	}
	if err := c.ImageTag(ctx, ref, name); err != nil {
		return fmt.Errorf("tag image %s as %s: %w", ref, name, err)
	}
	return nil
}

// RemovedImage is one step of a removal: either a name that was taken off an
// image, or an image that is gone.
type RemovedImage struct {
	Untagged string `json:",omitempty"`
	Deleted  string `json:",omitempty"` // the engine's ID
}

// RemoveImage takes a name off its image, and with the last name removes the
// image; by ID it removes the image with its name. Force lets it take several
// names, and those that containers use. It returns Docker's own list of what was
// done. See IsNotFound.
func (e *Engine) RemoveImage(ctx context.Context, ref string, force bool) ([]RemovedImage, error) {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	c, err := e.docker(ctx)
	if err != nil {
		return nil, err
	}
	list, err := c.ImageRemove(ctx, ref, image.RemoveOptions{Force: force, PruneChildren: true})
	if err != nil {
		return nil, fmt.Errorf("remove image %s: %w", ref, err)
	}
	done := make([]RemovedImage, len(list))
	for i, s := range list {
		done[i] = RemovedImage{Untagged: s.Untagged, Deleted: s.Deleted}
	}
	return done, nil
}
