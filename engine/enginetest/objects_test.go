package enginetest_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
)

func objectBehaviours() []behaviour {
	return []behaviour{
		{"a network is found by name, ID and prefix, and refused twice", networkLife},
		{"a network with a running container stays", networkInUse},
		{"a predefined network cannot be made", networkPredefined},
		{"a network that is not there is missed at the start", networkMissing},
		{"a container may be connected later", networkConnect},
		{"a volume that exists is created again in peace", volumeLife},
		{"a volume that a container uses stays", volumeInUse},
		{"an inspect tells what a container mounts, also from others", mountPoints},
		{"a new container has the files that were copied into it and no others", copiedFiles},
	}
}

func networkLife(l lab) {
	name := l.name("net")
	made, err := l.NetworkCreate(l.ctx, name, network.CreateOptions{Labels: map[string]string{"of": name}})
	if err != nil {
		l.t.Fatal(err)
	}
	for _, ref := range []string{name, made.ID, made.ID[:20]} {
		if n, err := l.NetworkInspect(l.ctx, ref, network.InspectOptions{}); err != nil || n.ID != made.ID || n.Name != name {
			l.t.Errorf("%s is %s %s, %v", ref, n.Name, n.ID, err)
		}
	}
	_, err = l.NetworkCreate(l.ctx, name, network.CreateOptions{})
	l.refuses(err, errdefs.IsConflict, `network with name `+name+` already exists`)
	list, err := l.NetworkList(l.ctx, network.ListOptions{Filters: filters.NewArgs(filters.Arg("label", "of="+name))})
	if err != nil || len(list) != 1 || list[0].ID != made.ID || list[0].Driver != "bridge" {
		l.t.Errorf("listed as %v, %v", list, err)
	}
	if err := l.NetworkRemove(l.ctx, name); err != nil {
		l.t.Error(err)
	}
	_, err = l.NetworkInspect(l.ctx, name, network.InspectOptions{})
	l.refuses(err, errdefs.IsNotFound, `network `+name+` not found`)
	l.refuses(l.NetworkRemove(l.ctx, name), errdefs.IsNotFound, `network `+name+` not found`)
}

func networkInUse(l lab) {
	name := l.name("net")
	made, err := l.NetworkCreate(l.ctx, name, network.CreateOptions{})
	if err != nil {
		l.t.Fatal(err)
	}
	id := l.run(l.name("a"), container.Config{}, container.HostConfig{NetworkMode: container.NetworkMode(name)})
	n, err := l.NetworkInspect(l.ctx, name, network.InspectOptions{})
	if err != nil || len(n.Containers) != 1 {
		l.t.Errorf("%v are on it, %v", n.Containers, err)
	}
	l.refuses(l.NetworkRemove(l.ctx, name), errdefs.IsPermissionDenied, `error while removing network: network `+name+` id `+made.ID+` has active endpoints`)
	if err := l.ContainerRemove(l.ctx, id, container.RemoveOptions{Force: true}); err != nil {
		l.t.Fatal(err)
	}
	if err := l.NetworkRemove(l.ctx, made.ID); err != nil {
		l.t.Error(err)
	}
}

func networkPredefined(l lab) {
	_, err := l.NetworkCreate(l.ctx, "bridge", network.CreateOptions{})
	l.refuses(err, errdefs.IsPermissionDenied, `operation is not permitted on predefined bridge network`)
}

func networkMissing(l lab) {
	id := l.create(l.name("a"), container.Config{}, container.HostConfig{NetworkMode: "ct-nowhere"})
	l.refuses(l.ContainerStart(l.ctx, id, container.StartOptions{}), errdefs.IsNotFound, `network ct-nowhere not found`)
}

func networkConnect(l lab) {
	name := l.name("net")
	if _, err := l.NetworkCreate(l.ctx, name, network.CreateOptions{}); err != nil {
		l.t.Fatal(err)
	}
	id := l.run(l.name("a"), container.Config{}, container.HostConfig{})
	if err := l.NetworkConnect(l.ctx, name, id, nil); err != nil {
		l.t.Fatal(err)
	}
	if n, err := l.NetworkInspect(l.ctx, name, network.InspectOptions{}); err != nil || n.Containers[id].Name == "" {
		l.t.Errorf("%v are on it, %v", n.Containers, err)
	}
	if err := l.NetworkDisconnect(l.ctx, name, id, false); err != nil {
		l.t.Fatal(err)
	}
	any := func(error) bool { return true } // engines differ in how they call it
	l.refuses(l.NetworkDisconnect(l.ctx, name, id, false), any, `container `+id+` is not connected to (the )?network `+name)
	if err := l.NetworkRemove(l.ctx, name); err != nil {
		l.t.Error(err)
	}
}

func volumeLife(l lab) {
	name := l.name("vol")
	first, err := l.VolumeCreate(l.ctx, volume.CreateOptions{Name: name, Labels: map[string]string{"of": name}})
	if err != nil {
		l.t.Fatal(err)
	}
	again, err := l.VolumeCreate(l.ctx, volume.CreateOptions{Name: name})
	if err != nil || again.Mountpoint != first.Mountpoint || again.Labels["of"] != name {
		l.t.Errorf("made again as %v, %v", again, err)
	}
	list, err := l.VolumeList(l.ctx, volume.ListOptions{Filters: filters.NewArgs(filters.Arg("label", "of="+name))})
	if err != nil || len(list.Volumes) != 1 {
		l.t.Errorf("listed as %v, %v", list.Volumes, err)
	}
	if err := l.VolumeRemove(l.ctx, name, false); err != nil {
		l.t.Error(err)
	}
	_, err = l.VolumeInspect(l.ctx, name)
	l.refuses(err, errdefs.IsNotFound, `get `+name+`: no such volume`)
	l.refuses(l.VolumeRemove(l.ctx, name, false), errdefs.IsNotFound, `get `+name+`: no such volume`)
}

func volumeInUse(l lab) {
	name := l.name("vol")
	id := l.create(l.name("a"), container.Config{}, container.HostConfig{Binds: []string{name + ":/data"}})
	list, err := l.VolumeList(l.ctx, volume.ListOptions{})
	if err != nil || !slices.ContainsFunc(list.Volumes, func(v *volume.Volume) bool { return v.Name == name }) {
		l.t.Errorf("the volume is not listed: %v", err)
	}
	l.refuses(l.VolumeRemove(l.ctx, name, false), errdefs.IsConflict, `remove `+name+`: volume is in use - \[`+id+`\]`)
	if err := l.ContainerRemove(l.ctx, id, container.RemoveOptions{}); err != nil {
		l.t.Fatal(err)
	}
	if err := l.VolumeRemove(l.ctx, name, false); err != nil {
		l.t.Error(err)
	}
}

func copiedFiles(l lab) {
	id := l.create(l.name("a"), container.Config{}, container.HostConfig{})
	if changes, err := l.ContainerDiff(l.ctx, id); err != nil || len(changes) > 0 {
		l.t.Errorf("a new container has %v of its own, %v", changes, err)
	}
	var b bytes.Buffer
	out := tar.NewWriter(&b)
	l.must(out.WriteHeader(&tar.Header{Name: "note", Mode: 0o644, Size: 2}))
	io.WriteString(out, "hi")
	l.must(out.Close())
	l.must(l.CopyToContainer(l.ctx, id, "/", &b, container.CopyToContainerOptions{}))
	changes, err := l.ContainerDiff(l.ctx, id)
	if err != nil || !slices.ContainsFunc(changes, func(c container.FilesystemChange) bool { return c.Path == "/note" }) {
		l.t.Errorf("it has %v of its own, %v", changes, err)
	}
}

func mountPoints(l lab) {
	one, two := l.name("a"), l.name("b")
	l.create(one, container.Config{}, container.HostConfig{
		Binds:  []string{"/etc/:/x/:ro"},
		Mounts: []mount.Mount{{Type: mount.TypeBind, Source: "/usr/../tmp", Target: "/y"}},
	})
	l.create(two, container.Config{}, container.HostConfig{VolumesFrom: []string{one}})
	for _, name := range []string{one, two} {
		in, err := l.ContainerInspect(l.ctx, name)
		l.must(err)
		var told []string
		for _, m := range in.Mounts {
			told = append(told, fmt.Sprint(m.Type, m.Source, m.Destination, m.RW))
		}
		slices.Sort(told)
		if got := strings.Join(told, " "); got != "bind/etc/xfalse bind/tmp/ytrue" {
			l.t.Errorf("%s mounts %s", name, got)
		}
	}
}
