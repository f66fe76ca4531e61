package lab

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// File is all that matters of one file of an image.
type File struct {
	Kind         byte  // as in a tar
	Mode         int64 // without the kind, which old engines write there as well
	UID, GID     int
	Link         string
	Major, Minor int64
	Modified     int64 // seconds since 1970
	Capabilities string
	Sum          string // of the content
}

// Tree returns the files of an image by their paths, as the host's engine unpacked
// them, without those that every engine puts into a container.
func (h *Host) Tree(t testing.TB, image string) map[string]File {
	t.Helper()
	probe := strings.TrimSpace(h.Docker(t, "create", image, "true"))
	defer h.Docker(t, "rm", probe)
	name := filepath.Join(t.TempDir(), "tree.tar")
	h.Docker(t, "export", "-o", name, probe)
	files := map[string]File{}
	each(t, name, func(head *tar.Header, content io.Reader) {
		at := path.Clean(head.Name)
		switch top, _, _ := strings.Cut(at, "/"); top {
		case "dev", "etc", "proc", "sys", ".dockerenv", ".":
			return
		}
		f := File{
			Kind: head.Typeflag, Mode: head.Mode & 0o7777, UID: head.Uid, GID: head.Gid, Link: head.Linkname,
			Major: head.Devmajor, Minor: head.Devminor, Modified: head.ModTime.Unix(),
			Capabilities: fmt.Sprintf("%q", head.PAXRecords["SCHILY.xattr.security.capability"]),
		}
		f.Sum, _ = digest(t, content)
		files[at] = f
	})
	return files
}

// Saved returns the image's ID, which is the digest of its configuration, as the
// host's engine saves it. The test fails where a layer in there has not the digest
// that the configuration says.
func (h *Host) Saved(t testing.TB, image string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "saved.tar")
	h.Docker(t, "save", "-o", name, image)
	sums, texts := map[string]string{}, map[string][]byte{}
	links := map[string]string{} // old engines save layers that are the same once
	each(t, name, func(head *tar.Header, content io.Reader) {
		at := path.Clean(head.Name)
		if head.Typeflag == tar.TypeSymlink {
			links[at] = path.Join(path.Dir(at), head.Linkname)
			return
		}
		sums[at], texts[at] = digest(t, content)
	})
	var manifest []struct {
		Config string
		Layers []string
	}
	parse(t, texts["manifest.json"], &manifest)
	if len(manifest) != 1 {
		t.Fatalf("%s saves %d images for %s", h.Name(), len(manifest), image)
	}
	var config struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	parse(t, texts[manifest[0].Config], &config)
	if len(config.RootFS.DiffIDs) != len(manifest[0].Layers) || len(manifest[0].Layers) == 0 {
		t.Fatalf("%s saves %s with layers %q for %q", h.Name(), image, manifest[0].Layers, config.RootFS.DiffIDs)
	}
	for i, layer := range manifest[0].Layers {
		if to, linked := links[layer]; linked {
			layer = to
		}
		if sums[layer] != config.RootFS.DiffIDs[i] {
			t.Errorf("%s saves layer %d of %s as %q, not %s", h.Name(), i, image, sums[layer], config.RootFS.DiffIDs[i])
		}
	}
	return sums[manifest[0].Config]
}

func parse(t testing.TB, text []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("read %q: %v", text, err)
	}
}

// digest hashes what is there when it is unpacked, and returns it as far as it may
// be JSON.
func digest(t testing.TB, content io.Reader) (sum string, text []byte) {
	t.Helper()
	in := bufio.NewReader(content)
	content = in
	if magic, err := in.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		if content, err = gzip.NewReader(in); err != nil {
			t.Fatal(err)
		}
	}
	var start bytes.Buffer
	hash := sha256.New()
	all := io.TeeReader(content, hash)
	if _, err := io.CopyN(&start, all, 1<<20); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, all); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("sha256:%x", hash.Sum(nil)), start.Bytes()
}

// each walks a tar.
func each(t testing.TB, name string, visit func(*tar.Header, io.Reader)) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := tar.NewReader(f)
	for {
		head, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("read %s: %v", name, err)
		}
		visit(head, r)
	}
}
