package enginetest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/filters"
	imagetypes "github.com/docker/docker/api/types/image"
)

// deletion is one removal of images, with moby's rules (daemon/images,
// image_delete.go).
type deletion struct {
	t     *Twin
	force bool
	prune bool // parents without names go, too
	done  []imagetypes.DeleteResponse
}

// removeImage is DELETE /images/{ref}.
func (t *Twin) removeImage(c call) reply {
	d := deletion{t: t, force: c.flag("force"), prune: !c.flag("noprune")}
	if refusal := d.remove(c.PathValue("ref")); refusal != nil {
		return *refusal
	}
	return reply{http.StatusOK, d.done}
}

// remove takes one name off, and with the last one the image; by ID it takes
// the image and its only name.
func (d *deletion) remove(ref string) *reply {
	img := d.t.image(ref)
	if img == nil {
		r := noImage(ref)
		return &r
	}
	single := d.t.singlyNamed(img)
	if img.hasID(ref) {
		if single {
			if r := d.conflict(img, false, !d.force); r != nil {
				return &r.reply
			}
			d.untagAll(img)
		}
		return d.delete(img, false)
	}
	if user := d.t.userOf(img, false); user != nil && single && !d.force {
		r := refuse(http.StatusConflict, "conflict: unable to remove repository reference %q (must force) - container %s is using its referenced image %s",
			ref, user.id[:12], img.short())
		return &r
	}
	d.untagName(img, familiar(ref))
	if tags, digests := d.t.namesOf(img); len(tags)+len(digests) > 0 {
		return nil
	}
	return d.delete(img, true)
}

// untagName takes a name off, and with the last tag of a repository its digests.
func (d *deletion) untagName(img *image, name string) {
	d.untag(img, name)
	tags, digests := d.t.namesOf(img)
	inRepository := func(other string) bool { return repository(other) == repository(name) }
	if isDigest(name) || slices.ContainsFunc(tags, inRepository) {
		return
	}
	for _, other := range digests {
		if inRepository(other) {
			d.untag(img, other)
		}
	}
}

func (d *deletion) untag(img *image, name string) {
	delete(d.t.refs, name)
	d.done = append(d.done, imagetypes.DeleteResponse{Untagged: name})
	d.t.tellImage(img, "untag", img.id)
}

func (d *deletion) untagAll(img *image) {
	tags, digests := d.t.namesOf(img)
	for _, name := range append(tags, digests...) {
		d.untag(img, name)
	}
}

// delete removes an image without a conflict. A quiet one is no refusal, if it
// is only that the image is in use.
func (d *deletion) delete(img *image, quiet bool) *reply {
	if r := d.conflict(img, !d.force, !d.force); r != nil {
		if tags, digests := d.t.namesOf(img); quiet && (r.used || len(tags)+len(digests)+len(d.t.children(img)) > 0) {
			return nil
		}
		return &r.reply
	}
	d.untagAll(img)
	delete(d.t.images, img.id)
	d.t.tellImage(img, "delete", img.id)
	d.done = append(d.done, imagetypes.DeleteResponse{Deleted: img.id})
	for _, chain := range d.t.drop(img.layers) {
		d.done = append(d.done, imagetypes.DeleteResponse{Deleted: chain})
	}
	parent := d.t.images[img.parent]
	if !d.prune || parent == nil {
		return nil
	}
	up := deletion{t: d.t, prune: true, done: d.done}
	r := up.delete(parent, true)
	d.done = up.done
	return r
}

// conflict says why an image cannot be deleted.
type conflict struct {
	reply
	used bool // by a container
}

// conflict looks for children and running containers, and if asked for names
// and stopped containers, which force overrides.
func (d *deletion) conflict(img *image, names, stopped bool) *conflict {
	because := func(used bool, forced, format string, args ...any) *conflict {
		return &conflict{refuse(http.StatusConflict, "conflict: unable to delete %s (%s be forced) - %s", img.short(), forced, fmt.Sprintf(format, args...)), used}
	}
	tags, digests := d.t.namesOf(img)
	if len(d.t.children(img)) > 0 {
		return because(false, "cannot", "image has dependent child images")
	}
	if user := d.t.userOf(img, true); user != nil {
		return because(true, "cannot", "image is being used by running container %s", user.id[:12])
	}
	if names && len(tags)+len(digests) > 0 {
		return because(false, "must", "image is referenced in multiple repositories")
	}
	if user := d.t.userOf(img, false); stopped && user != nil {
		return because(true, "must", "image is being used by stopped container %s", user.id[:12])
	}
	return nil
}

// singlyNamed reports whether all names of an image are of one repository, with
// at most one tag among them.
func (t *Twin) singlyNamed(img *image) bool {
	tags, digests := t.namesOf(img)
	repositories := map[string]bool{}
	for _, name := range append(tags, digests...) {
		repositories[repository(name)] = true
	}
	return len(repositories) == 1 && len(tags) <= 1
}

// pruneImages is POST /images/prune, with the filter dangling.
func (t *Twin) pruneImages(c call) reply {
	args, err := filters.FromJSON(c.FormValue("filters"))
	if err != nil {
		return refuse(http.StatusBadRequest, "%v", err)
	}
	dangling, err := args.GetBoolOrDefault("dangling", true)
	if err != nil {
		return refuse(http.StatusBadRequest, "%v", err)
	}
	sizes := map[string]int64{}
	for chain, l := range t.layers {
		sizes[chain] = l.size
	}
	var report imagetypes.PruneReport
	for _, ref := range t.prunable(dangling) {
		d := deletion{t: t, prune: true}
		d.remove(ref) // what is in use stays
		report.ImagesDeleted = append(report.ImagesDeleted, d.done...)
	}
	for _, gone := range report.ImagesDeleted {
		report.SpaceReclaimed += uint64(sizes[gone.Deleted])
	}
	return reply{http.StatusOK, report}
}

// prunable returns the IDs of images without names from which no other was
// committed, and unless dangling is set all names.
func (t *Twin) prunable(dangling bool) (refs []string) {
	for _, img := range t.images {
		tags, digests := t.namesOf(img)
		switch {
		case len(tags)+len(digests) == 0 && len(t.children(img)) == 0:
			refs = append(refs, img.id)
		case !dangling:
			refs = slices.Concat(refs, tags, digests)
		}
	}
	slices.SortFunc(refs, strings.Compare)
	return refs
}
