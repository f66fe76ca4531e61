package enginetest

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	imagetypes "github.com/docker/docker/api/types/image"
)

// diskUsage is GET /system/df.
func (t *Twin) diskUsage(call) reply {
	u := types.DiskUsage{Images: []*imagetypes.Summary{}, Containers: []*container.Summary{}}
	for _, img := range slices.SortedFunc(maps.Values(t.images), func(x, y *image) int { return strings.Compare(x.id, y.id) }) {
		s := imagetypes.Summary{ID: img.id, SharedSize: -1}
		s.RepoTags, s.RepoDigests = t.namesOf(img)
		for _, l := range img.layers {
			s.Size += l.size
		}
		for _, b := range t.containers {
			if b.image == img {
				s.Containers++
			}
		}
		u.Images = append(u.Images, &s)
	}
	for _, l := range t.layers {
		u.LayersSize += l.size
	}
	for _, b := range t.containers {
		u.Containers = append(u.Containers, &container.Summary{ID: b.id, Names: []string{"/" + b.name}, State: b.state()})
	}
	return reply{http.StatusOK, u}
}
