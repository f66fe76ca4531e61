package enginetest

import (
	"cmp"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	imagetypes "github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/versions"
)

// listImages is GET /images/json, with the filters dangling, label and reference.
// Without all, it leaves out images without names from which others were
// committed.
func (t *Twin) listImages(c call) reply {
	args, err := filters.FromJSON(c.FormValue("filters"))
	if err != nil {
		return refuse(http.StatusBadRequest, "%v", err)
	}
	dangling, err := args.GetBoolOrDefault("dangling", false)
	if err != nil {
		return refuse(http.StatusBadRequest, "%v", err)
	}
	all := []imagetypes.Summary{}
	for _, img := range t.images {
		s := t.summary(img, args.Get("reference"))
		unnamed := len(s.RepoTags)+len(s.RepoDigests) == 0
		switch {
		case !args.MatchKVList("label", s.Labels):
		case unnamed && !c.flag("all") && len(t.children(img)) > 0:
		case unnamed && (args.Contains("reference") || args.Contains("dangling") && !dangling):
		case dangling && (len(s.RepoTags) > 0 || len(t.children(img)) > 0):
		default:
			if unnamed && versions.LessThan(t.cfg.API, "1.43") {
				s.RepoTags, s.RepoDigests = []string{"<none>:<none>"}, []string{"<none>@<none>"}
			}
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b imagetypes.Summary) int {
		return cmp.Or(cmp.Compare(b.Created, a.Created), cmp.Compare(a.ID, b.ID))
	})
	return reply{http.StatusOK, all}
}

// summary tells of an image those names that match one of the patterns, if any.
func (t *Twin) summary(img *image, patterns []string) imagetypes.Summary {
	tags, digests := t.namesOf(img)
	other := func(name string) bool { return len(patterns) > 0 && !matchesAny(patterns, name) }
	return imagetypes.Summary{
		ID: img.id, ParentID: img.parent, Labels: img.spec.Config.Labels,
		RepoTags:    slices.DeleteFunc(append([]string{}, tags...), other),
		RepoDigests: slices.DeleteFunc(append([]string{}, digests...), other),
		Created:     img.spec.Created.Unix(), Size: img.size(), SharedSize: -1, Containers: -1,
	}
}

func matchesAny(patterns []string, name string) bool {
	named, err := reference.ParseNormalizedNamed(name)
	return err == nil && slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, err := reference.FamiliarMatch(pattern, named)
		return ok && err == nil
	})
}

// imageRoute is the GET routes of one image. A reference may have slashes, so the
// mux cannot tell them apart.
func (t *Twin) imageRoute(w http.ResponseWriter, r *http.Request) {
	ref, view := path.Split(r.PathValue("ref"))
	ref = strings.TrimSuffix(ref, "/")
	views := map[string]func(*image) reply{"json": t.inspectImage, "history": t.history}
	switch do := views[view]; {
	case view == "get":
		t.save(w, r, []string{ref})
	case do == nil:
		write(w, refuse(http.StatusNotFound, "page not found"))
	default:
		t.answer(Read, func(call) reply {
			if img := t.image(ref); img != nil {
				return do(img)
			}
			return noImage(ref)
		})(w, r)
	}
}

// inspectImage is GET /images/{ref}/json.
func (t *Twin) inspectImage(img *image) reply {
	tags, digests := t.namesOf(img)
	in := struct {
		imagetypes.InspectResponse
		Config *container.Config
		Parent string
	}{Config: img.spec.Config, Parent: img.parent}
	in.InspectResponse = imagetypes.InspectResponse{
		ID: img.id, RepoTags: append([]string{}, tags...), RepoDigests: append([]string{}, digests...),
		Created: img.spec.Created.Format(time.RFC3339Nano), Author: img.spec.Author, Comment: img.spec.Comment,
		Architecture: img.spec.Architecture, Os: img.spec.OS, Size: img.size(),
		RootFS: imagetypes.RootFS{Type: "layers", Layers: img.spec.RootFS.DiffIDs},
	}
	return reply{http.StatusOK, in}
}

// history is GET /images/{ref}/history: newest first, with the IDs of the images
// that it was committed from as long as they are known.
func (t *Twin) history(img *image) reply {
	all := []imagetypes.HistoryResponseItem{}
	layers := img.layers
	for _, s := range img.spec.History {
		item := imagetypes.HistoryResponseItem{ID: "<missing>", Created: s.Created.Unix(), CreatedBy: s.CreatedBy, Comment: s.Comment}
		if !s.EmptyLayer && len(layers) > 0 {
			item.Size, layers = layers[0].size, layers[1:]
		}
		all = append(all, item)
	}
	slices.Reverse(all)
	for i := range all {
		all[i].ID = img.id
		all[i].Tags, _ = t.namesOf(img)
		if img = t.images[img.parent]; img == nil {
			break
		}
	}
	return reply{http.StatusOK, all}
}

func noImage(ref string) reply {
	return refuse(http.StatusNotFound, "No such image: %s", familiar(ref))
}
