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
	ID   string   // sha256:…, of its configuration
	Refs []string // tags and digests, sorted; empty for a dangling image
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
// ones of builds.
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
		refs = slices.DeleteFunc(refs, func(r string) bool { return strings.HasPrefix(r, "<none>") })
		slices.Sort(refs)
		images = append(images, Image{ID: s.ID, Refs: refs})
	}
	slices.SortFunc(images, func(a, b Image) int { return strings.Compare(a.ID, b.ID) })
	return images, nil
}
