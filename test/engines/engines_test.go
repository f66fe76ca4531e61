//go:build engines

// Package engines holds the cluster to Docker Engines of several ages and image
// stores at once: what is committed on one is the same on every other.
//
// The newer engines take minutes to build, so it is not part of the other tests:
//
//	make test-engines
//
// DDOCKER_ENGINES is the directory where build.sh put them.
package engines

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ddocker/test/lab"
)

// patience bounds what goes on behind a command's back.
const patience = 15 * time.Second

// raise makes a cluster of the three kinds of engines: Debian's, whose layers are in
// overlay2, a new one that has them there as well, and a new one that has them in
// containerd. The cluster makes no copies by itself.
func raise(t *testing.T) *lab.Lab {
	dir := os.Getenv("DDOCKER_ENGINES")
	if dir == "" {
		t.Fatal("no engines to test: run make test-engines, or set DDOCKER_ENGINES to where test/engines/build.sh put them")
	}
	bin := filepath.Join(t.TempDir(), "ddocker")
	build := exec.Command("go", "build", "-race", "-o", bin, "ddocker")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	t.Setenv("DDOCKER_BIN", bin)
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	l := lab.Up(t, 3, "h2="+dir+":overlay2", "h3="+dir+":containerd")
	t.Cleanup(func() {
		for _, h := range l.Hosts() {
			if log := h.AgentLog(); t.Failed() || strings.Contains(log, "WARNING: DATA RACE") {
				t.Errorf("the agent of %s wrote:\n%s", h.Name(), log)
			}
		}
	})
	l.Cluster(t)
	settings := `ddocker config show | sed 's/\("image_replicas": \)[0-9]*/\11/' | ddocker config apply -`
	if r := l.Host(1).Run("sh", "-c", settings); r.Code != 0 {
		t.Fatalf("%s\n%s", settings, r.Stderr)
	}
	return l
}

// cluster runs the stock docker client against the host's agent.
func cluster(t *testing.T, h *lab.Host, args ...string) string {
	t.Helper()
	r := h.Run(append([]string{"docker", "-H", h.Agent()}, args...)...)
	if r.Code != 0 {
		t.Fatalf("%s: docker %s: exit code %d\n%s%s", h.Name(), strings.Join(args, " "), r.Code, r.Stdout, r.Stderr)
	}
	return strings.TrimSpace(r.Stdout)
}

func TestAnImageIsTheSameOnEveryEngine(t *testing.T) {
	l := raise(t)
	t.Run("each store is read directly", func(t *testing.T) {
		nodes := l.Host(1).DDocker(t, "nodes", "--verbose")
		for host, store := range map[string]string{"h1": "overlay2", "h2": "overlay2", "h3": "containerd"} {
			if !regexp.MustCompile(`(?m)^`+host+` .*`+store).MatchString(nodes) || strings.Contains(nodes, "engine API") {
				t.Errorf("%s is not read as %s:\n%s", host, store, nodes)
			}
		}
	})
	for _, from := range l.Hosts() {
		for _, to := range l.Hosts() {
			if from != to {
				t.Run(from.Name()+" to "+to.Name()+" and back", func(t *testing.T) { thereAndBack(t, l, from, to) })
			}
		}
	}
}

// thereAndBack commits an image on one host, makes a container of it on the other,
// commits that one in turn, and makes a container of the result on the first.
func thereAndBack(t *testing.T, l *lab.Lab, from, to *lab.Host) {
	before := stores(t, l)
	work := "work-" + from.Name() + "-" + to.Name()
	first, second, third := work+":first", work+":second", work+":third"

	create(t, from, from, "busybox", work+"-1")
	stuff(t, from, work+"-1")
	cluster(t, from, "commit", work+"-1", first)

	create(t, to, from, first, work+"-2", "sh", "-c", changes)
	start(t, to, work+"-2")
	cluster(t, to, "commit", work+"-2", second)

	create(t, to, to, second, work+"-3", "sh", "-c", "echo 3 >/three && busybox rm /hard/ümläut")
	compare(t, second, from, to)
	start(t, from, work+"-3")
	cluster(t, from, "commit", work+"-3", third)

	create(t, to, from, third, work+"-4", "true")
	start(t, to, work+"-4")
	compare(t, third, to, from)

	for _, name := range []string{first, second, third} {
		sameEverywhere(t, l, name)
	}
	for i := range 4 {
		cluster(t, to, "rm", fmt.Sprintf("%s-%d", work, i+1))
	}
	cluster(t, to, "rmi", first, second, third)
	lab.Eventually(t, patience, func() error { return differ(before, stores(t, l)) })
}

// changes removes and replaces what lies in lower layers.
const changes = `set -e
cd /hard
busybox rm -r gone
busybox rm gone-file
busybox rm -r replaced && busybox mkdir replaced && echo new >replaced/new
busybox chmod 2750 kept
busybox chown 12:34 file
`

// create makes a container on a host, through another's agent.
func create(t *testing.T, through, on *lab.Host, image, name string, command ...string) {
	t.Helper()
	args := []string{"create", "--label", "ddocker.node=" + on.Name(), "--name", name, image}
	cluster(t, through, append(args, command...)...)
	if ids := on.Docker(t, "ps", "-aq", "--filter", "name=^/?"+name+"$"); strings.Count(ids, "\n") != 1 {
		t.Fatalf("%s is not on %s", name, on.Name())
	}
}

// start lets a container's command come to its end.
func start(t *testing.T, through *lab.Host, name string) {
	t.Helper()
	cluster(t, through, "start", name)
	if code := cluster(t, through, "wait", name); code != "0" {
		t.Fatalf("%s ended with exit code %s\n%s", name, code, cluster(t, through, "logs", name))
	}
}

// stuff puts all kinds of files into a container.
func stuff(t *testing.T, through *lab.Host, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := through.Command(ctx, "docker", "-H", through.Agent(), "cp", "-", name+":/")
	cmd.Stdin = bytes.NewReader(lab.HardCases(t))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("docker cp: %v\n%s", err, out)
	}
}

// compare holds what the engines of two hosts make of an image to each other, and
// what the receiver saves of it to the image's own ID.
func compare(t *testing.T, image string, source, receiver *lab.Host) {
	t.Helper()
	want, got := source.Tree(t, image), receiver.Tree(t, image)
	if len(want) < 300 {
		t.Errorf("%s has %d files on %s", image, len(want), source.Name())
	}
	for name, is := range got {
		if was, ok := want[name]; !ok || is != was {
			t.Errorf("%s of %s is\n%+v on %s and\n%+v on %s", name, image, is, receiver.Name(), was, source.Name())
		}
	}
	for name := range want {
		if _, ok := got[name]; !ok {
			t.Errorf("%s of %s is missing on %s", name, image, receiver.Name())
		}
	}
	if here, there := receiver.Saved(t, image), source.Saved(t, image); here != there {
		t.Errorf("%s is saved as %s on %s and as %s on %s", image, here, receiver.Name(), there, source.Name())
	}
}

// sameEverywhere: all agents list the image once, under one ID, its configuration's,
// and no image that only one host calls so.
func sameEverywhere(t *testing.T, l *lab.Lab, image string) {
	t.Helper()
	id := cluster(t, l.Host(1), "image", "inspect", "--format", "{{.Id}}", image)
	repository, tag, _ := strings.Cut(image, ":")
	row := regexp.MustCompile(`(?m)^` + repository + ` +` + tag + ` +` + id + ` `)
	for _, h := range l.Hosts() {
		if list := h.DDocker(t, "images", "--no-trunc"); len(row.FindAllString(list, -1)) != 1 || strings.Contains(list, "@h") {
			t.Errorf("%s does not list %s once as %s:\n%s", h.Name(), image, id, list)
		}
		if h.Run("docker", "-H", h.Engine(), "image", "inspect", image).Code != 0 {
			continue // it has not been brought here
		}
		if got := h.Saved(t, image); got != id {
			t.Errorf("%s saves %s as %s, not %s", h.Name(), image, got, id)
		}
	}
}

// stores tells what every host's engine keeps of images.
func stores(t *testing.T, l *lab.Lab) map[string]string {
	t.Helper()
	kept := map[string]string{}
	for _, h := range l.Hosts() {
		kept[h.Name()+"'s list"] = h.Docker(t, "images", "-a", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.Digest}} {{.ID}}")
		for _, part := range []string{
			"image/overlay2/imagedb/content/sha256", "image/overlay2/layerdb/sha256", "overlay2",
			"containerd/daemon/io.containerd.content.v1.content/blobs/sha256",
		} {
			dir := filepath.Join(l.Dir, h.Name(), "data", part)
			files, err := os.ReadDir(dir)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			var names []string
			for _, f := range files {
				names = append(names, f.Name())
			}
			kept[dir] = strings.Join(names, "\n")
		}
	}
	return kept
}

func differ(before, after map[string]string) error {
	for _, what := range slices.Sorted(maps.Keys(after)) {
		if before[what] != after[what] {
			return fmt.Errorf("%s was\n%s\nand is\n%s", what, before[what], after[what])
		}
	}
	return nil
}
