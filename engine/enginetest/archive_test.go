package enginetest_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
)

// unpacked is the files of an archive; links are left out.
type unpacked map[string][]byte

// saved saves images and checks the answer.
func (l lab) saved(refs ...string) unpacked {
	l.t.Helper()
	body, err := l.ImageSave(l.ctx, refs)
	l.must(err)
	defer body.Close()
	files := unpacked{}
	for r := tar.NewReader(body); ; {
		h, err := r.Next()
		if err == io.EOF {
			return files
		}
		l.must(err)
		if h.Typeflag == tar.TypeReg {
			files[h.Name], err = io.ReadAll(r)
			l.must(err)
		}
	}
}

// with is the archive with one file changed, or without it if data is nil.
func (u unpacked) with(name string, data []byte) unpacked {
	u = maps.Clone(u)
	u[name] = data
	return u
}

func (u unpacked) pack() []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(u)) {
		if u[name] != nil {
			w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(u[name]))})
			w.Write(u[name])
		}
	}
	w.Close()
	return b.Bytes()
}

type manifestItem struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func (l lab) manifest(u unpacked) (items []manifestItem) {
	l.t.Helper()
	l.must(json.Unmarshal(u["manifest.json"], &items))
	return items
}

// unnamed is the archive with no names.
func (l lab) unnamed(u unpacked) unpacked {
	l.t.Helper()
	items := l.manifest(u)
	for i := range items {
		items[i].RepoTags = nil
	}
	b, err := json.Marshal(items)
	l.must(err)
	return u.with("manifest.json", b).with("repositories", nil)
}

// tell posts a body that is no JSON and returns the status and the messages.
func (l lab) tell(path string, body []byte) (status int, messages string) {
	l.t.Helper()
	hc := &http.Client{Transport: l.transport()}
	req, err := http.NewRequestWithContext(l.ctx, http.MethodPost, "http://docker"+path, bytes.NewReader(body))
	l.must(err)
	req.Header.Set("Content-Type", "application/x-tar")
	resp, err := hc.Do(req)
	l.must(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	l.must(err)
	return resp.StatusCode, string(b)
}

// loads loads an archive and checks what the engine tells, as a pattern.
func (l lab) loads(archive []byte, told string) {
	l.t.Helper()
	if status, messages := l.tell("/v1.41/images/load?quiet=1", archive); status != http.StatusOK || !matches(told, messages) {
		l.t.Errorf("load: %d %s, want 200 %s", status, messages, told)
	}
}

func saveDigests(l lab) {
	id, tag := l.image()
	_, diffIDs := l.layers(id)
	for _, ref := range []string{id, tag} {
		files := l.saved(ref)
		items := l.manifest(files)
		if len(items) != 1 || digest(files[items[0].Config]) != id || len(items[0].Layers) != len(diffIDs) {
			l.t.Fatalf("of %s the manifest is %+v", ref, items)
		}
		for i, name := range items[0].Layers {
			if digest(files[name]) != diffIDs[i] {
				l.t.Errorf("layer %d of %s is %s, want %s", i, ref, digest(files[name]), diffIDs[i])
			}
		}
	}
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func saveNames(l lab) {
	id, one := l.image()
	two := strings.TrimSuffix(one, "one") + "two"
	l.must(l.ImageTag(l.ctx, one, two))
	repository := strings.TrimSuffix(one, ":one")
	for _, x := range []struct{ asked, told []string }{
		{[]string{one}, []string{one}},
		{[]string{one, two}, []string{one, two}},
		{[]string{repository}, []string{one, two}},
		{[]string{id}, nil},
	} {
		files := l.saved(x.asked...)
		items := l.manifest(files)
		if len(items) != 1 || !slices.Equal(slices.Sorted(slices.Values(items[0].RepoTags)), x.told) {
			l.t.Errorf("of %v the manifest is %+v", x.asked, items)
		}
		var repositories map[string]map[string]string
		if x.told != nil {
			l.must(json.Unmarshal(files["repositories"], &repositories))
		}
		if len(repositories[repository]) != len(x.told) {
			l.t.Errorf("of %v the repositories are %v", x.asked, repositories)
		}
	}
}

func loadSaved(l lab) {
	id, tag := l.image()
	_, layers := l.layers(id)
	archive := l.saved(tag).pack()
	l.removes(tag, tag, id)
	l.loads(archive, `^{"stream":"Loaded image: `+tag+`\\n"}\r\n$`)
	if got, now := l.layers(tag); got != id || !slices.Equal(now, layers) {
		l.t.Errorf("it came back as %s of %v", got, now)
	}
	l.loads(archive, `^{"stream":"Loaded image: `+tag+`\\n"}\r\n$`)
	l.removes(tag, tag, id)
	status, messages := l.tell("/v1.41/images/load?quiet=0", archive)
	top := strings.TrimPrefix(layers[len(layers)-1], "sha256:")[:12]
	if !matches(`"Loading layer","progressDetail":{"current":\d+,"total":\d+}.*"id":"`+top+`"`, messages) || strings.Contains(messages, strings.TrimPrefix(layers[0], "sha256:")[:12]) {
		l.t.Errorf("a load that tells its progress tells %d %s", status, messages)
	}
}

func loadUnnamed(l lab) {
	id, tag := l.image()
	archive := l.unnamed(l.saved(tag)).pack()
	l.removes(tag, tag, id)
	l.loads(archive, `^{"stream":"Loaded image ID: `+id+`\\n"}\r\n$`)
	if got := l.tags(id); !slices.Equal(got, []string{"<none>:<none>"}) {
		l.t.Errorf("it is listed as %v", got)
	}
	l.must(l.ImageTag(l.ctx, id, tag))
	l.loads(archive, `Loaded image ID: `+id)
	if got := l.tags(id); !slices.Equal(got, []string{tag}) {
		l.t.Errorf("loaded once more, it is listed as %v", got)
	}
}

func loadHeld(l lab) {
	id, tag := l.image()
	files := l.saved(tag)
	l.removes(tag, tag, id)
	l.loads(files.with(l.manifest(files)[0].Layers[0], nil).pack(), `Loaded image: `+tag)
	if got, _ := l.layers(tag); got != id {
		l.t.Errorf("it came back as %s", got)
	}
}

func loadRefusals(l lab) {
	id, tag := l.image()
	_, diffIDs := l.layers(id)
	files := l.saved(tag)
	l.removes(tag, tag, id)
	m := l.manifest(files)[0]
	top := m.Layers[len(m.Layers)-1]
	flipped := bytes.Clone(files[top])
	flipped[0] ^= 1
	whole := files.pack()
	config, short := m.Config, m
	short.Layers = nil
	shortened, err := json.Marshal([]manifestItem{short})
	l.must(err)
	complaint := func(sentence string) string {
		return `{"errorDetail":{"message":"` + sentence + `"},"error":"` + sentence + `"}`
	}
	for _, x := range []struct {
		archive []byte
		told    string
	}{
		{files.with(top, nil).pack(), complaint(`open [^"]*/` + top + `: no such file or directory`)},
		{files.with(top, flipped).pack(), `(?i)"error":"(invalid diffID for layer 1: expected \\"` + diffIDs[1] + `\\", got \\"` + digest(flipped) + `\\"|.*tar)`},
		{files.with(config, nil).pack(), complaint(`open [^"]*/` + config + `: no such file or directory`)},
		{files.with(config, []byte("{}")).pack(), complaint(`invalid image JSON, no RootFS key`)},
		{files.with("manifest.json", shortened).pack(), complaint(`invalid manifest, layers length mismatch: expected 0, got 2`)},
		{files.with("manifest.json", []byte("xx")).pack(), complaint(`invalid character 'x' looking for beginning of value`)},
		{files.with("manifest.json", nil).with("repositories", nil).pack(), complaint(`open [^"]*/repositories: no such file or directory`)},
		{whole[:513], complaint(`Error processing tar file\(exit status 1\): unexpected EOF`)},
		{nil, complaint(`open [^"]*/repositories: no such file or directory`)},
	} {
		l.loads(x.archive, x.told)
		if _, err := l.ImageInspect(l.ctx, id); !errdefs.IsNotFound(err) {
			l.t.Fatalf("the image is there after %s: %v", x.told, err)
		}
	}
}

func loadMovesTag(l lab) {
	old, tag := l.image()
	archive := l.saved(tag).pack()
	newer, _ := l.commit(tag, container.Config{})
	if got := l.tags(old); !slices.Equal(got, []string{"<none>:<none>"}) {
		l.t.Errorf("after a commit onto its tag the old image is listed as %v", got)
	}
	l.loads(archive, `^{"stream":"The image `+tag+` already exists, renaming the old one with ID `+newer+` to empty string\\n"}\r\n{"stream":"Loaded image: `+tag+`\\n"}\r\n$`)
	if got := l.tags(old); !slices.Equal(got, []string{tag}) {
		l.t.Errorf("after the load it is listed as %v", got)
	}
	if got := l.tags(newer); !slices.Equal(got, []string{"<none>:<none>"}) {
		l.t.Errorf("after the load the newer one is listed as %v", got)
	}
}

func importLayer(l lab) {
	layer := unpacked{"hello": []byte("hello\n" + l.name(""))}.pack()
	tag := l.name("img") + ":one"
	for path, tags := range map[string][]string{
		"&repo=" + strings.TrimSuffix(tag, ":one") + "&tag=one&message=from+afar": {tag},
		"": {"<none>:<none>"},
	} {
		status, told := l.tell("/v1.41/images/create?fromSrc=-"+path, layer)
		var m struct{ Status string }
		if err := json.Unmarshal([]byte(told), &m); status != http.StatusOK || err != nil {
			l.t.Fatalf("import: %d %s", status, told)
		}
		l.forget(m.Status)
		if _, diffIDs := l.layers(m.Status); !slices.Equal(diffIDs, []string{digest(layer)}) || !slices.Equal(l.tags(m.Status), tags) {
			l.t.Errorf("import made %v, listed as %v", diffIDs, l.tags(m.Status))
		}
	}
	in, err := l.ImageInspect(l.ctx, tag)
	l.must(err)
	if in.Comment != "from afar" {
		l.t.Errorf("the import tells the comment %q", in.Comment)
	}
}

func importRefusal(l lab) {
	if status, told := l.tell("/v1.41/images/create?fromSrc=-", []byte("junk")); status != http.StatusInternalServerError || !matches(`"Error processing tar file\(exit status 1\): unexpected EOF"`, told) {
		l.t.Errorf("import of junk: %d %s", status, told)
	}
}
