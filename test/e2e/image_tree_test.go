package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ddocker/test/lab"
)

// mostLayers is how many layers an engine lets an image have.
const mostLayers = 125

// TestAnImageArrivesAsItWas holds what one host makes of another's image to the
// original, file by file and by what docker save writes: with as many layers as an
// engine takes, with empty ones and whiteouts among them, and with all kinds of files.
func TestAnImageArrivesAsItWas(t *testing.T) {
	l := bare(t)
	l.Cluster(t)
	one, three := l.Host(1), l.Host(3)
	stack := filepath.Join(t.TempDir(), "stack.tar")
	if err := os.WriteFile(stack, stackOfLayers(t, one, mostLayers-2), 0o600); err != nil {
		t.Fatal(err)
	}
	cluster := func(h *lab.Host, args ...string) {
		t.Helper()
		if r := h.Run(append([]string{"docker", "-H", h.Agent()}, args...)...); r.Code != 0 {
			t.Fatalf("%s: docker %s: exit code %d\n%s", h.Name(), strings.Join(args, " "), r.Code, r.Stderr)
		}
	}
	cluster(one, "load", "-i", stack)
	cluster(one, "create", "--label", "ddocker.node=h1", "--name", "maker", "stack", "sh", "-c", makeSparse)
	if err := unpack(one, lab.HardCases(t), "maker:/"); err != nil {
		t.Fatal(err)
	}
	cluster(one, "start", "-a", "maker")
	cluster(one, "commit", "maker", "hard:1")
	cluster(one, "run", "--label", "ddocker.node=h1", "--name", "changer", "hard:1", "sh", "-c", makeHoles)
	cluster(one, "commit", "changer", "hard:2")
	t.Run("one more layer is refused, and its name stays free", func(t *testing.T) {
		cluster(one, "run", "--label", "ddocker.node=h1", "--name", "more", "hard:2", "touch", "/more")
		r := l.Host(2).Run("ddocker", "commit", "more", "hard:3")
		if r.Code == 0 || !strings.Contains(r.Stderr, "max depth exceeded") {
			t.Errorf("exit code %d: %s", r.Code, r.Stderr)
		}
		l.Host(2).DDocker(t, "tag", "busybox", "hard:3")
	})

	began := time.Now()
	cluster(three, "create", "--label", "ddocker.node=h3", "--name", "user", "hard:2", "true")
	t.Logf("%d layers came in %v", mostLayers, time.Since(began))
	want, got := one.Tree(t, "hard:2"), three.Tree(t, "hard:2")
	if want["hard/sparse"].Sum == "" || want["hard/ümläut"].Sum == "" || want["hard/gone"].Kind != 0 {
		t.Errorf("the original is not what was made: it has %d files", len(want))
	}
	for name, is := range got {
		if was := want[name]; is != was {
			t.Errorf("%s is\n%+v on h3 and\n%+v on h1", name, is, was)
		}
	}
	for name := range want {
		if got[name].Kind == 0 && got[name].Sum == "" {
			t.Errorf("%s is missing on h3", name)
		}
	}
	id := strings.TrimSpace(one.Docker(t, "images", "-q", "--no-trunc", "hard:2"))
	if saved := three.Saved(t, "hard:2"); saved != id {
		t.Errorf("it is %s on h1, and h3 saves it as %s", id, saved)
	}
}

// What the containers do to the files, in a layer each.
const (
	makeSparse = `dd if=/dev/zero of=/hard/sparse bs=1 count=1 seek=8M && echo end >>/hard/sparse`
	makeHoles  = `set -e
cd /hard
busybox rm -r gone
busybox rm gone-file
busybox rm -r replaced && busybox mkdir replaced && echo new >replaced/new
busybox chmod 2750 kept
busybox chown 12:34 file
`
)

// unpack has docker cp write a tar into a container.
func unpack(through *lab.Host, files []byte, to string) error {
	cmd := through.Command(context.Background(), "docker", "-H", through.Agent(), "cp", "-", to)
	cmd.Stdin = bytes.NewReader(files)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("docker cp - %s: %w\n%s", to, err, out)
	}
	return nil
}

// stackOfLayers returns what docker save would write of an image "stack" of so many
// layers: busybox's one and small ones, which hide and replace files of each other.
func stackOfLayers(t *testing.T, h *lab.Host, layers int) []byte {
	t.Helper()
	var rootfs struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	}
	rootfs.Type = "layers"
	var all []entry
	var names []string
	for i := range layers {
		content := layerOf(t, i)
		if i == 0 {
			content = busyboxLayer(t, h)
		}
		names = append(names, fmt.Sprintf("%d/layer.tar", i))
		all = append(all, entry{names[i], string(content)})
		rootfs.DiffIDs = append(rootfs.DiffIDs, fmt.Sprintf("sha256:%x", sha256.Sum256(content)))
	}
	config := marshal(t, map[string]any{
		"architecture": "amd64", "os": "linux", "rootfs": rootfs, "created": time.Unix(0, 0).UTC(),
		"config": map[string]any{"Cmd": []string{"/bin/sh"}},
	})
	manifest := marshal(t, []map[string]any{{"Config": "config.json", "RepoTags": []string{"stack:latest"}, "Layers": names}})
	return archive(t, append(all, entry{"config.json", config}, entry{"manifest.json", manifest})...)
}

// layerOf makes the i-th small layer: a file of its own, one for all, and now and
// then nothing, a whiteout of what is below, or an opaque directory.
func layerOf(t *testing.T, i int) []byte {
	dir := entry{name: "layers/"}
	own := entry{fmt.Sprintf("layers/%d", i), strings.Repeat("x", i)}
	same := entry{"layers/same", fmt.Sprint(i)}
	switch i % 10 {
	case 3, 4:
		return archive(t) // two that are empty, one on the other
	case 5:
		return archive(t, dir, own, entry{fmt.Sprintf("layers/.wh.%d", i-3), ""})
	case 7:
		return archive(t, entry{name: "replaced/"}, entry{"replaced/.wh..wh..opq", ""}, entry{fmt.Sprintf("replaced/%d", i), "new"})
	}
	return archive(t, dir, own, same)
}

func busyboxLayer(t *testing.T, h *lab.Host) (layer []byte) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "busybox.tar")
	h.Docker(t, "save", "-o", name, "busybox")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(bytes.NewReader(text)); ; {
		head, err := r.Next()
		if err != nil {
			t.Fatalf("no layer in busybox: %v", err)
		}
		if strings.HasSuffix(head.Name, "/layer.tar") {
			if layer, err = io.ReadAll(r); err != nil {
				t.Fatal(err)
			}
			return layer
		}
	}
}

// entry is a file in a tar.
type entry struct{ name, content string }

func archive(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		if err := w.WriteHeader(&tar.Header{Name: e.name, Mode: 0o755, Size: int64(len(e.content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
