package enginetest_test

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
)

func imageBehaviours() []behaviour {
	return []behaviour{
		{"an image in use keeps its last tag", imageInUse},
		{"a commit is an image until it is removed", commitImage},
		{"a commit adds a layer to those of its image", commitLayer},
		{"a container has its image's labels and variables", inheritance},
		{"a container whose image lost its tag tells the ID", movedTag},
		{"history tells the images below", history},
		{"an image is called by its digests", saveDigests},
		{"a save tells the names that it was asked for", saveNames},
		{"a load brings back what was saved", loadSaved},
		{"a load leaves an image without a name unnamed", loadUnnamed},
		{"a load needs no file of a held layer", loadHeld},
		{"a load refuses what does not fit", loadRefusals},
		{"a load takes the tag from another image", loadMovesTag},
		{"an import is an image of one layer", importLayer},
		{"an import refuses what is no tar", importRefusal},
		{"a prune removes what has no name", prune},
		{"an image is removed only without conflicts", removeConflicts},
		{"a parent without a name goes with its child", removeParent},
		{"a list leaves out what has another on top", listParents},
		{"a bad name is refused for an image", badImageName},
		{"an image that is not there is refused", absentImage},
	}
}

// image commits a container and returns the image's ID and only tag.
func (l lab) image() (id, tag string) {
	l.t.Helper()
	return l.commit(l.name("img")+":one", container.Config{})
}

// commit commits a container of config, in which it has written a file, as tag.
func (l lab) commit(tag string, config container.Config) (id, same string) {
	l.t.Helper()
	from := l.run(l.name("a"), config, container.HostConfig{})
	l.exec(from, "touch", "/"+l.name("file")) // the twin's containers write by themselves
	made, err := l.ContainerCommit(l.ctx, from, container.CommitOptions{Reference: tag})
	l.must(err)
	l.must(l.ContainerRemove(l.ctx, from, container.RemoveOptions{Force: true}))
	l.forget(made.ID)
	return made.ID, tag
}

// forget removes an image when the test has ended.
func (l lab) forget(id string) {
	l.after(func(c lab) {
		c.ImageRemove(c.ctx, id, image.RemoveOptions{Force: true, PruneChildren: true}) // most are gone by now
	})
}

// layers returns an image's ID and the DiffIDs of its layers.
func (l lab) layers(ref string) (id string, diffIDs []string) {
	l.t.Helper()
	in, err := l.ImageInspect(l.ctx, ref)
	l.must(err)
	return in.ID, in.RootFS.Layers
}

// removes checks what the removal of ref does: a tag, and if deleted is not
// empty an image whose ID begins so.
func (l lab) removes(ref, untagged, deleted string) {
	l.t.Helper()
	done, err := l.ImageRemove(l.ctx, ref, image.RemoveOptions{PruneChildren: true})
	l.must(err)
	gone := ""
	if len(done) > 1 {
		gone = done[1].Deleted
	}
	if done[0].Untagged != untagged || (deleted == "") != (gone == "") || !strings.HasPrefix(gone, deleted) {
		l.t.Errorf("removing %s did %+v", ref, done)
	}
}

func imageInUse(l lab) {
	_, one := l.image()
	two := strings.TrimSuffix(one, "one") + "two"
	l.must(l.ImageTag(l.ctx, one, two))
	user := l.create(l.name("b"), container.Config{Image: one}, container.HostConfig{})
	l.removes(two, two, "")
	_, err := l.ImageRemove(l.ctx, one, image.RemoveOptions{})
	l.refuses(err, errdefs.IsConflict, `conflict: unable to remove repository reference "`+one+`" \(must force\) - container `+user[:12]+` is using its referenced image [0-9a-f]{12}`)
	l.must(l.ContainerRemove(l.ctx, user, container.RemoveOptions{}))
	l.removes(one, one, "sha256:")
}

func commitImage(l lab) {
	id, tag := l.image()
	in, err := l.ImageInspect(l.ctx, tag)
	l.must(err)
	if in.ID != id || !slices.Equal(in.RepoTags, []string{tag}) || !slices.Equal(l.tags(id), []string{tag}) {
		l.t.Errorf("committed %s, inspected %s %v, listed %v", id, in.ID, in.RepoTags, l.tags(id))
	}
	l.removes(tag, tag, id)
	_, err = l.ImageInspect(l.ctx, id)
	l.refuses(err, errdefs.IsNotFound, `No such image: `+id)
}

// tags returns the names that the list tells of an image, nil if it is not listed.
func (l lab) tags(id string) []string {
	l.t.Helper()
	list, err := l.ImageList(l.ctx, image.ListOptions{})
	l.must(err)
	i := slices.IndexFunc(list, func(s image.Summary) bool { return s.ID == id })
	if i < 0 {
		return nil
	}
	return list[i].RepoTags
}

func commitLayer(l lab) {
	_, base := l.layers(busybox)
	id, _ := l.image()
	_, layers := l.layers(id)
	if len(layers) != len(base)+1 || !slices.Equal(layers[:len(base)], base) {
		l.t.Errorf("on %v a commit made %v", base, layers)
	}
}

func inheritance(l lab) {
	_, tag := l.commit(l.name("img")+":one", container.Config{
		Labels: map[string]string{"from": "image", "both": "image"}, Env: []string{"FROM=image", "BOTH=image"},
	})
	id := l.create(l.name("b"), container.Config{
		Image: tag, Labels: map[string]string{"both": "box"}, Env: []string{"BOTH=box"},
	}, container.HostConfig{})
	in, err := l.ContainerInspect(l.ctx, id)
	l.must(err)
	if !maps.Equal(in.Config.Labels, map[string]string{"from": "image", "both": "box"}) ||
		!slices.Contains(in.Config.Env, "FROM=image") || !slices.Contains(in.Config.Env, "BOTH=box") || slices.Contains(in.Config.Env, "BOTH=image") {
		l.t.Errorf("it has labels %v and variables %v", in.Config.Labels, in.Config.Env)
	}
}

func movedTag(l lab) {
	id, tag := l.image()
	box := l.create(l.name("b"), container.Config{Image: tag}, container.HostConfig{})
	for _, want := range []string{tag, id} {
		list, err := l.ContainerList(l.ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("id", box))})
		l.must(err)
		if len(list) != 1 || list[0].Image != want || list[0].ImageID != id {
			l.t.Errorf("the list tells %+v, want image %s", list, want)
		}
		l.must(l.ImageTag(l.ctx, busybox, tag))
	}
	l.removes(tag, tag, "")
}

func history(l lab) {
	base, _ := l.layers(busybox)
	id, tag := l.image()
	before, err := l.ImageHistory(l.ctx, busybox)
	l.must(err)
	told, err := l.ImageHistory(l.ctx, id)
	l.must(err)
	if len(told) != len(before)+1 || told[0].ID != id || told[1].ID != base || !slices.Equal(told[0].Tags, []string{tag}) || told[0].CreatedBy != "sleep 1000" {
		l.t.Errorf("history is %+v", told)
	}
}

func prune(l lab) {
	kept, tag := l.image()
	lost, moved := l.image()
	l.must(l.ImageTag(l.ctx, busybox, moved))
	used, taken := l.image()
	l.create(l.name("b"), container.Config{Image: taken}, container.HostConfig{})
	l.must(l.ImageTag(l.ctx, busybox, taken))
	status, told := l.raw("POST", "/v1.41/images/prune?filters="+url.QueryEscape(`{"dangling":["true"]}`), "")
	if status != http.StatusOK || !strings.Contains(told, `{"Deleted":"`+lost+`"}`) || strings.Contains(told, kept) || strings.Contains(told, used) {
		l.t.Errorf("prune: %d %s", status, told)
	}
	l.answers("POST", "/v1.41/images/prune", "", http.StatusOK, `^{"ImagesDeleted":null,"SpaceReclaimed":0}\n$`)
	for id, tags := range map[string][]string{kept: {tag}, lost: nil, used: {"<none>:<none>"}} {
		if got := l.tags(id); !slices.Equal(got, tags) {
			l.t.Errorf("after the prune %s is listed as %v, want %v", id, got, tags)
		}
	}
	l.removes(moved, moved, "")
	l.removes(taken, taken, "")
}

func removeConflicts(l lab) {
	id, one := l.image()
	short := strings.TrimPrefix(id, "sha256:")[:12]
	other := l.name("other") + ":one"
	l.must(l.ImageTag(l.ctx, one, other))
	refused := func(ref string, force bool, sentence string) {
		l.t.Helper()
		_, err := l.ImageRemove(l.ctx, ref, image.RemoveOptions{Force: force, PruneChildren: true})
		l.refuses(err, errdefs.IsConflict, `conflict: unable to delete `+short+` `+sentence)
	}
	refused(id, false, `\(must be forced\) - image is referenced in multiple repositories`)
	l.removes(other, other, "")
	box := l.create(l.name("b"), container.Config{Image: one}, container.HostConfig{})
	refused(id, false, `\(must be forced\) - image is being used by stopped container `+box[:12])
	l.must(l.ContainerStart(l.ctx, box, container.StartOptions{}))
	for _, force := range []bool{false, true} {
		refused(id, force, `\(cannot be forced\) - image is being used by running container `+box[:12])
	}
	done, err := l.ImageRemove(l.ctx, one, image.RemoveOptions{Force: true, PruneChildren: true})
	l.must(err)
	if len(done) != 1 || done[0].Untagged != one {
		l.t.Errorf("forced off a running container, %s: %+v", one, done)
	}
	now := 0
	l.must(l.ContainerStop(l.ctx, box, container.StopOptions{Timeout: &now}))
	done, err = l.ImageRemove(l.ctx, id, image.RemoveOptions{Force: true, PruneChildren: true})
	l.must(err)
	if len(done) != 1 || done[0].Deleted != id {
		l.t.Errorf("forced off a stopped container: %+v", done)
	}
	in, err := l.ContainerInspect(l.ctx, box)
	l.must(err)
	if in.Image != id {
		l.t.Errorf("its container is of %s", in.Image)
	}
}

// child returns an image that was committed from another, and that one.
func (l lab) child() (id, tag, parent, parentTag string) {
	l.t.Helper()
	parent, parentTag = l.image()
	id, tag = l.commit(l.name("child")+":one", container.Config{Image: parentTag})
	return id, tag, parent, parentTag
}

func removeParent(l lab) {
	id, tag, parent, parentTag := l.child()
	_, err := l.ImageRemove(l.ctx, parent, image.RemoveOptions{Force: true})
	l.refuses(err, errdefs.IsConflict, `conflict: unable to delete [0-9a-f]{12} \(cannot be forced\) - image has dependent child images`)
	l.removes(parentTag, parentTag, "")
	done, err := l.ImageRemove(l.ctx, tag, image.RemoveOptions{PruneChildren: true})
	l.must(err)
	if len(done) != 5 || done[0].Untagged != tag || done[1].Deleted != id || done[3].Deleted != parent {
		l.t.Errorf("removing %s of %s did %+v", tag, parent, done)
	}
}

func listParents(l lab) {
	id, _, parent, parentTag := l.child()
	for all, want := range map[bool][]string{false: {id}, true: {id, parent}} {
		if !all {
			l.removes(parentTag, parentTag, "")
		}
		list, err := l.ImageList(l.ctx, image.ListOptions{All: true})
		l.must(err)
		if !all {
			list, err = l.ImageList(l.ctx, image.ListOptions{})
			l.must(err)
		}
		for _, one := range []string{id, parent} {
			listed := slices.ContainsFunc(list, func(s image.Summary) bool { return s.ID == one })
			if listed != slices.Contains(want, one) {
				l.t.Errorf("with all=%v, that %s is listed is %v", all, one, listed)
			}
		}
	}
}

func badImageName(l lab) {
	box := l.create(l.name("a"), container.Config{}, container.HostConfig{})
	bad := `"message":"invalid reference format: repository name (\(library/BAD\) )?must be lowercase"`
	l.answers("POST", "/v1.41/images/busybox/tag?repo=BAD&tag=1", "", http.StatusInternalServerError, bad)
	l.answers("POST", "/v1.41/commit?container="+box+"&repo=BAD&tag=1", "", http.StatusInternalServerError, bad)
	l.answers("POST", "/v1.41/images/create?fromSrc=-&repo=BAD&tag=1", "", http.StatusBadRequest, bad)
	l.answers("POST", "/v1.41/images/create?fromImage=BAD&tag=1", "", http.StatusBadRequest, bad)
}

func absentImage(l lab) {
	l.answers("GET", "/v1.41/images/ct-none/get", "", http.StatusNotFound, `{"message":"No such image: ct-none"}`)
	l.answers("GET", "/v1.41/images/ct-none:1/get", "", http.StatusNotFound, `{"message":"reference does not exist"}`)
	l.answers("GET", "/v1.41/images/get?names=ct-none", "", http.StatusNotFound, `{"message":"No such image: ct-none"}`)
	l.answers("GET", "/v1.41/images/ct-none/history", "", http.StatusNotFound, `{"message":"No such image: ct-none:latest"}`)
	l.answers("POST", "/v1.41/images/ct-none/tag?repo=a&tag=1", "", http.StatusNotFound, `{"message":"No such image: ct-none:latest"}`)
	l.answers("POST", "/v1.41/images/ct-none/push?tag=1", "", http.StatusBadRequest, `{"message":"Bad parameters and missing X-Registry-Auth: EOF"}`)
	l.answers("POST", "/v1.41/commit?container=ct-none", "", http.StatusNotFound, `{"message":"No such container: ct-none"}`)
}
