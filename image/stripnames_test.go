package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// strip returns the files of an archive that was stripped, and its names.
func strip(t testing.TB, archive []byte) (map[string]string, []Named) {
	t.Helper()
	var bare bytes.Buffer
	named, err := StripNames(&bare, bytes.NewReader(archive))
	must(t, err)
	files, _ := unpack(t, bare.Bytes())
	return files, named
}

func textOf(t testing.TB, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	must(t, err)
	return string(text)
}

func TestStripNamesTakesTheNamesOutOfADockerArchive(t *testing.T) {
	a, b := newMade(t, "a", tarOf(t, file("a", "a"))), newMade(t, "b", []byte{})
	list := `[{"Config":"./a.json","RepoTags":["busybox:latest","docker.io/library/other:1"],"Layers":["a/layer.tar"],"Parent":"sha256:x"},
		{"Config":"b.json","RepoTags":null,"Layers":[]},
		{"config":"b.json","repotags":["host:5000/x/y:z"],"Layers":["b/layer.tar"]}]`
	for name, entries := range map[string][]entry{
		"list last":   {file("a.json", string(a.Config)), file("b.json", string(b.Config)), file("manifest.json", list)},
		"list first":  {file("manifest.json", list), file("a.json", string(a.Config)), file("b.json", string(b.Config))},
		"other paths": {file("/a.json", string(a.Config)), file("x/../b.json", string(b.Config)), file("./manifest.json", list)},
	} {
		t.Run(name, func(t *testing.T) {
			big := strings.Repeat("l", maxConfig+1)
			entries = append(entries, file("./a/layer.tar", big), file("repositories", `{"busybox":{"latest":"x"}}`),
				entry{tar.Header{Typeflag: tar.TypeDir, Name: "b/"}, ""},
				entry{tar.Header{Typeflag: tar.TypeSymlink, Name: "b/layer.tar", Linkname: "../a/layer.tar"}, ""})
			files, named := strip(t, tarOf(t, entries...))
			want := []Named{{"busybox:latest", a.ID}, {"other:1", a.ID}, {"host:5000/x/y:z", b.ID}}
			if !slices.Equal(named, want) {
				t.Errorf("the names were %v, want %v", named, want)
			}
			var items []manifestItem
			must(t, json.Unmarshal([]byte(files["manifest.json"]), &items))
			if len(items) != 3 || items[0].Config != "./a.json" || string(items[0].Parent) != `"sha256:x"` || items[2].Layers[0] != "b/layer.tar" {
				t.Errorf("manifest.json is now %s", files["manifest.json"])
			}
			if all := fmt.Sprint(files); strings.Contains(strings.ToLower(files["manifest.json"]), "busybox") || strings.Contains(all, "repositories") {
				t.Errorf("a name is left in %s", files["manifest.json"])
			}
			if files["a/layer.tar"] != big || files["a.json"] != string(a.Config) {
				t.Error("a file is not what it was")
			}
			if _, ok := files["b/layer.tar"]; !ok {
				t.Error("a link is lost")
			}
		})
	}
}

func TestStripNamesTakesTheNamesOutOfAnOCILayout(t *testing.T) {
	here, there := newMade(t, "here", []byte("h")), newMade(t, "there", []byte("t"))
	entries := []entry{file("oci-layout", `{"imageLayoutVersion":"1.0.0"}`)}
	list := index{SchemaVersion: 2, MediaType: typeIndex, Annotations: map[string]string{ociName: "x", "kept": "1"}}
	add := func(m *made) descriptor {
		id, blobs := blobsOf(t, m, plain)
		for hex, blob := range blobs {
			entries = append(entries, file("blobs/sha256/"+hex, string(blob)))
		}
		return descriptor{MediaType: typeManifest, Digest: id}
	}
	first, second := add(there), add(here)
	first.Platform, second.Platform = &platform{OS: "plan9", Architecture: "mips"}, &platform{OS: runtime.GOOS, Architecture: runtime.GOARCH}
	absent := descriptor{Digest: digest.FromString("not in the archive").String(), Platform: second.Platform}
	many := textOf(t, index{SchemaVersion: 2, Manifests: []descriptor{absent, first, second}})
	entries = append(entries, file("blobs/sha256/x", many))
	name := func(d descriptor, annotations ...string) {
		d.Annotations = map[string]string{"kept": "2"}
		for i := 0; i < len(annotations); i += 2 {
			d.Annotations[annotations[i]] = annotations[i+1]
		}
		list.Manifests = append(list.Manifests, d)
	}
	name(descriptor{Digest: digest.FromString(many).String()}, containerdName, "docker.io/library/many:1", ociName, "1")
	name(first, ociName, "quay.io/one:two")
	name(first, ociName, "justatag")
	name(first)
	entries = append(entries, file("index.json", textOf(t, list)))

	files, named := strip(t, tarOf(t, entries...))
	if want := []Named{{"many:1", here.ID}, {"quay.io/one:two", there.ID}}; !slices.Equal(named, want) {
		t.Errorf("the names were %v, want %v", named, want)
	}
	var bare index
	must(t, json.Unmarshal([]byte(files["index.json"]), &bare))
	for i, m := range bare.Manifests {
		if len(m.Annotations) != 1 || m.Annotations["kept"] != "2" || m.Digest != list.Manifests[i].Digest {
			t.Errorf("manifest %d is now %v", i, m)
		}
	}
	if len(bare.Annotations) != 1 {
		t.Errorf("the index says %v", bare.Annotations)
	}

	t.Run("beside a docker archive", func(t *testing.T) {
		both := append(slices.Clone(entries), file("manifest.json",
			textOf(t, []manifestItem{{Config: "blobs/sha256/" + there.ID[7:], RepoTags: []string{"many:1"}}})))
		_, named := strip(t, tarOf(t, both...))
		if want := []Named{{"many:1", there.ID}, {"quay.io/one:two", there.ID}}; !slices.Equal(named, want) {
			t.Errorf("the names were %v, want %v", named, want)
		}
	})
}

func TestStripNamesReadsEveryCompressionThatDockerLoads(t *testing.T) {
	m := newMade(t, "", []byte("l"))
	archive := tarOf(t, file("c", string(m.Config)), file("manifest.json", `[{"Config":"c","RepoTags":["a:1"],"Layers":[]}]`))
	for name, packed := range map[string][]byte{
		"plain": archive, "gzip": gzipped(t, archive), "zstd": zstded(t, archive),
		"bzip2": filtered(t, archive, "bzip2", "-c"), "xz": filtered(t, archive, "xz", "-c"),
	} {
		t.Run(name, func(t *testing.T) {
			if _, named := strip(t, packed); !slices.Equal(named, []Named{{"a:1", m.ID}}) {
				t.Errorf("the names were %v", named)
			}
			if name == "plain" {
				return
			}
			if named, err := StripNames(io.Discard, bytes.NewReader(packed[:len(packed)-6])); err == nil {
				t.Errorf("an archive that was cut short has the names %v", named)
			}
		})
	}
}

func filtered(t testing.TB, in []byte, command ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	must(t, err)
	return out
}

// What the engine might take for a name in spite of all is refused.
func TestStripNamesRefusesArchivesThatAreNotWhatTheySeem(t *testing.T) {
	m := newMade(t, "", []byte("l"))
	config := file("c", string(m.Config))
	list := file("manifest.json", `[{"Config":"c","RepoTags":["a:1"],"Layers":[]}]`)
	link := func(kind byte, name, to string) entry {
		return entry{tar.Header{Typeflag: kind, Name: name, Linkname: to}, ""}
	}
	whole := tarOf(t, config, list)
	for name, c := range map[string]struct {
		archive []byte
		says    string
	}{
		"nothing":                         {nil, "no images"},
		"an empty archive":                {tarOf(t), "no images"},
		"no archive":                      {[]byte(strings.Repeat("what is this? ", 100)), "tar"},
		"cut short":                       {whole[:len(whole)-1024-480], "EOF"},
		"cut before the list":             {whole[:1024], "no images"},
		"an old archive":                  {tarOf(t, file("repositories", `{"a":{"1":"x"}}`)), "no images"},
		"two lists":                       {tarOf(t, config, list, list), "twice"},
		"two lists, differently spelt":    {tarOf(t, config, list, file("./x/../manifest.json", "[]")), "twice"},
		"two indexes":                     {tarOf(t, file("index.json", "{}"), file("index.json", "{}")), "twice"},
		"a list that is a link":           {tarOf(t, file("x", list.content), link(tar.TypeSymlink, "manifest.json", "x")), "link"},
		"a list that is a hard link":      {tarOf(t, file("x", list.content), link(tar.TypeLink, "./manifest.json", "x")), "link"},
		"an index that is a link":         {tarOf(t, list, link(tar.TypeSymlink, "index.json", "x")), "link"},
		"all of it a link":                {tarOf(t, link(tar.TypeSymlink, "./", "x")), "link"},
		"a list behind a link":            {tarOf(t, list, link(tar.TypeSymlink, "x", "."), file("x/manifest.json", "[]")), "x is a link"},
		"a list behind a link to a link":  {tarOf(t, list, link(tar.TypeSymlink, "x", "."), link(tar.TypeLink, "y", "x"), file("y/z/manifest.json", "[]")), "y is a link"},
		"a device":                        {tarOf(t, list, link(tar.TypeChar, "x", "")), "in no image archive"},
		"a huge list":                     {tarOf(t, config, file("manifest.json", "["+strings.Repeat(" ", maxConfig)+"]")), "more than"},
		"a huge index":                    {tarOf(t, config, file("index.json", "{"+strings.Repeat(" ", maxConfig)+"}")), "more than"},
		"a list that is none":             {tarOf(t, config, file("manifest.json", `{"a":1}`)), "unmarshal"},
		"two lists in one":                {tarOf(t, config, file("manifest.json", list.content+list.content)), "after top-level value"},
		"a configuration that is not in":  {tarOf(t, list), "not in the archive"},
		"a configuration that is a link":  {tarOf(t, config, link(tar.TypeSymlink, "c", "x"), list), "not in the archive"},
		"an index of what is not in":      {tarOf(t, file("index.json", `{"manifests":[{"digest":"sha256:x","annotations":{"`+containerdName+`":"a:1"}}]}`)), "not in the archive"},
		"a name that is none":             {tarOf(t, config, file("manifest.json", `[{"Config":"c","RepoTags":["A B"]}]`)), "invalid reference"},
		"a name without a tag":            {tarOf(t, config, file("manifest.json", `[{"Config":"c","RepoTags":["a"]}]`)), "no tag"},
		"a name with a digest":            {tarOf(t, config, file("manifest.json", `[{"Config":"c","RepoTags":["a:1@`+m.ID+`"]}]`)), "digest"},
		"a file with a very long name":    {tarOf(t, config, list, file(strings.Repeat("n/", maxFileName)+"n", "")), "more than 512 bytes"},
		"a link to a very long name":      {tarOf(t, config, list, link(tar.TypeSymlink, "x", strings.Repeat("n/", maxFileName))), "more than 512 bytes"},
		"an attestation that has a name":  {tarOf(t, file("index.json", `{"manifests":[{"digest":"`+m.ID+`","annotations":{"`+containerdName+`":"a:1"}}]}`), config), "not in the archive"},
		"a huge document in place of one": {tarOf(t, config, file("c", "{"+strings.Repeat(" ", maxConfig)+"}"), list), "not in the archive"},
	} {
		t.Run(name, func(t *testing.T) {
			var bare bytes.Buffer
			named, err := StripNames(&bare, bytes.NewReader(c.archive))
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("the names are %v (%v), want an error with %q", named, err, c.says)
			}
			// The end of an archive, without which it is none.
			if bytes.HasSuffix(bare.Bytes(), make([]byte, 1024)) {
				t.Error("what was written is a whole archive")
			}
		})
	}
}

func TestStripNamesCountsFiles(t *testing.T) {
	archive := tarOf(t, file("a", ""), file("b", ""))
	for before, fits := range map[int]bool{0: true, maxFiles - 2: true, maxFiles - 1: false} {
		s := newStripper(io.Discard)
		s.count = before
		if err := s.copy(tar.NewReader(bytes.NewReader(archive))); (err == nil) != fits {
			t.Errorf("two files after %d: %v", before, err)
		}
	}
}

func TestStripNamesKeepsLittleOfTheDocuments(t *testing.T) {
	s := newStripper(io.Discard)
	s.documents.read = maxDocuments - 10
	copied := func(text string) error {
		return s.copy(tar.NewReader(bytes.NewReader(tarOf(t, file("blobs/sha256/x", text)))))
	}
	must(t, copied("no JSON, but long enough"))
	must(t, copied(`{"a":"b"}`))
	if err := copied(`{"a":"b"}`); err == nil || !strings.Contains(err.Error(), "bytes of JSON") {
		t.Errorf("JSON without end: %v", err)
	}
	d := documents{by: map[string]document{}}
	valid := "sha256:" + strings.Repeat("a", 64)
	id, err := d.add([]byte(`{"manifests":[{},{},{},{"digest":"x"},{"digest":"` + valid + `","annotations":{"a":"b"}}]}`))
	must(t, err)
	if kept := d.by[id].manifests; len(kept) != 1 || cap(kept) != 1 || kept[0].Digest != valid {
		t.Errorf("kept of an index are %+v", kept)
	}
}

func TestStripNamesTellsOfAWriterThatFails(t *testing.T) {
	m := newMade(t, "", []byte("l"))
	archive := tarOf(t, file("c", string(m.Config)), file("manifest.json", "[]"))
	r, w := io.Pipe()
	r.CloseWithError(io.ErrClosedPipe)
	if _, err := StripNames(w, bytes.NewReader(archive)); err == nil {
		t.Error("nothing could be written, and nobody says so")
	}
}

func FuzzStripNamesLeavesNoName(f *testing.F) {
	m := newMade(f, "", []byte("l"))
	f.Add([]byte(`[{"Config":"c","RepoTags":["a:1"],"Layers":[]}]`), []byte(`{"manifests":[]}`))
	f.Add([]byte(`[{"config":"c","repotags":["a:1"],"REPOTAGS":["b:2"]}]`), []byte(`{"Manifests":[{"Annotations":{"io.containerd.image.name":"x"}}]}`))
	f.Fuzz(func(t *testing.T, list, ix []byte) {
		var bare bytes.Buffer
		if _, err := StripNames(&bare, bytes.NewReader(tarOf(t, file("c", string(m.Config)), file("index.json", string(ix)), file("manifest.json", string(list))))); err != nil {
			return
		}
		files, _ := unpack(t, bare.Bytes())
		var items []manifestItem
		must(t, json.Unmarshal([]byte(files["manifest.json"]), &items))
		var read index
		must(t, json.Unmarshal([]byte(files["index.json"]), &read))
		for _, item := range items {
			if len(item.RepoTags) > 0 {
				t.Errorf("names are left in %s", files["manifest.json"])
			}
		}
		for _, d := range read.Manifests {
			if d.Annotations[containerdName]+d.Annotations[ociName] != "" {
				t.Errorf("names are left in %s", files["index.json"])
			}
		}
	})
}
