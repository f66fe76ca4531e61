package enginetest

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/container"
	imagetypes "github.com/docker/docker/api/types/image"
)

// image is one image: an ID and the tags that name it.
type image struct {
	id, parent string
	tags       []string // familiar: busybox:latest
	cmd        []string
	created    time.Time
	size       int64 // bytes
}

// AddImage gives the engine an image of that reference, 2 MB of /bin/sh, and
// returns its ID.
func (t *Twin) AddImage(ref string) (id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	img := &image{id: "sha256:" + newID(), cmd: []string{"/bin/sh"}, created: time.Now(), size: 2 << 20}
	t.images[img.id] = img
	t.tag(img, familiar(ref))
	return img.id
}

// familiar is a reference as people write it, with its tag.
func familiar(ref string) string {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return ref
	}
	return reference.FamiliarString(reference.TagNameOnly(named))
}

// image finds an image by reference, ID or prefix of an ID.
func (t *Twin) image(ref string) *image {
	name, hex := familiar(ref), strings.TrimPrefix(ref, "sha256:")
	var found *image
	for id, img := range t.images {
		if slices.Contains(img.tags, name) {
			return img
		}
		if ref != "" && strings.HasPrefix(strings.TrimPrefix(id, "sha256:"), hex) {
			found = img
		}
	}
	return found
}

// tag moves a tag to img.
func (t *Twin) tag(img *image, name string) {
	for _, other := range t.images {
		other.tags = slices.DeleteFunc(slices.Clone(other.tags), func(s string) bool { return s == name })
	}
	img.tags = append(img.tags, name)
	t.tellImage(img, "tag", name)
}

// listImages is GET /images/json.
func (t *Twin) listImages(call) reply {
	all := []imagetypes.Summary{}
	for _, img := range t.images {
		all = append(all, imagetypes.Summary{
			ID: img.id, ParentID: img.parent, RepoTags: append([]string{}, img.tags...), RepoDigests: []string{},
			Created: img.created.Unix(), Size: img.size, SharedSize: -1, Containers: -1,
		})
	}
	slices.SortFunc(all, func(a, b imagetypes.Summary) int {
		return t.images[b.ID].created.Compare(t.images[a.ID].created)
	})
	return reply{http.StatusOK, all}
}

// inspectImage is GET /images/{ref}/json.
func (t *Twin) inspectImage(c call) reply {
	ref, ok := strings.CutSuffix(c.PathValue("ref"), "/json")
	if !ok {
		return refuse(http.StatusNotFound, "page not found")
	}
	img := t.image(ref)
	if img == nil {
		return noImage(ref)
	}
	return reply{http.StatusOK, imagetypes.InspectResponse{
		ID: img.id, RepoTags: append([]string{}, img.tags...), RepoDigests: []string{},
		Created: img.created.UTC().Format(time.RFC3339Nano), Architecture: "amd64", Os: "linux", Size: img.size,
	}}
}

func noImage(ref string) reply {
	return refuse(http.StatusNotFound, "No such image: %s", familiar(ref))
}

// tagImage is POST /images/{ref}/tag.
func (t *Twin) tagImage(c call) reply {
	ref, ok := strings.CutSuffix(c.PathValue("ref"), "/tag")
	if !ok {
		return refuse(http.StatusNotFound, "page not found")
	}
	img := t.image(ref)
	if img == nil {
		return noImage(ref)
	}
	t.tag(img, target(c))
	return reply{http.StatusCreated, nil}
}

func target(c call) string {
	name := c.FormValue("repo")
	if tag := c.FormValue("tag"); tag != "" {
		name += ":" + tag
	}
	return familiar(name)
}

// removeImage is DELETE /images/{ref}: it takes one tag off, and with the last
// one the image, unless a container needs it.
func (t *Twin) removeImage(c call) reply {
	ref := c.PathValue("ref")
	img := t.image(ref)
	if img == nil {
		return noImage(ref)
	}
	name := familiar(ref)
	tagged := slices.Contains(img.tags, name)
	last := len(img.tags) <= 1 || !tagged
	if user := t.userOf(img); user != nil && last && !c.flag("force") {
		return refuse(http.StatusConflict, "conflict: unable to remove repository reference %q (must force) - container %s is using its referenced image %s",
			name, user.id[:12], strings.TrimPrefix(img.id, "sha256:")[:12])
	}
	gone := img.tags
	if tagged {
		gone = []string{name}
	}
	var done []imagetypes.DeleteResponse
	for _, tag := range gone {
		done = append(done, imagetypes.DeleteResponse{Untagged: tag})
		t.tellImage(img, "untag", tag)
	}
	img.tags = slices.DeleteFunc(slices.Clone(img.tags), func(s string) bool { return slices.Contains(gone, s) })
	if last && t.userOf(img) == nil {
		delete(t.images, img.id)
		done = append(done, imagetypes.DeleteResponse{Deleted: img.id})
		t.tellImage(img, "delete", img.id)
	}
	return reply{http.StatusOK, done}
}

func (t *Twin) userOf(img *image) *box {
	for _, b := range t.containers {
		if b.image == img {
			return b
		}
	}
	return nil
}

// commit is POST /commit?container=….
func (t *Twin) commit(c call) reply {
	b, refusal := t.lookup(c.FormValue("container"))
	if refusal != nil {
		return *refusal
	}
	img := &image{id: "sha256:" + newID(), parent: b.image.id, cmd: b.config.Cmd, created: time.Now(), size: b.image.size}
	t.images[img.id] = img
	if c.FormValue("repo") != "" {
		t.tag(img, target(c))
	}
	t.tell(b, "commit")
	return reply{http.StatusCreated, container.CommitResponse{ID: img.id}}
}
