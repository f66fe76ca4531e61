package enginetest

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"
)

// saved is one image that is asked for, with those of its names that are.
type saved struct {
	*image
	tags []string
}

// streamSave is GET /images/get?names=…
func (t *Twin) streamSave(w http.ResponseWriter, r *http.Request) {
	t.save(w, r, r.URL.Query()["names"])
}

// save answers with the images of these references.
func (t *Twin) save(w http.ResponseWriter, r *http.Request, refs []string) {
	var images []saved
	life, _ := t.lifetime()
	rep, ok := t.perform(r.Context(), Read, func() reply {
		for _, ref := range refs {
			found, refusal := t.toSave(ref)
			if refusal != nil {
				return *refusal
			}
			images = append(images, found...)
		}
		return reply{status: http.StatusOK}
	})
	switch {
	case !ok:
	case rep.status != http.StatusOK:
		write(w, rep)
	default:
		w.Header().Set("Content-Type", "application/x-tar")
		pack(&outlet{t, life, w}, images) // a caller that has gone cannot be told
	}
}

// toSave finds the image of a reference or ID; a repository is all its tags.
func (t *Twin) toSave(ref string) ([]saved, *reply) {
	named, err := reference.ParseNormalizedNamed(ref)
	bare := err == nil && reference.IsNameOnly(named)
	var found []saved
	for name, img := range t.refs {
		if !isDigest(name) && (name == ref || name == familiar(ref) && !bare || bare && repository(name) == repository(ref)) {
			found = append(found, saved{img, []string{name}})
		}
	}
	slices.SortFunc(found, func(a, b saved) int { return strings.Compare(a.tags[0], b.tags[0]) })
	if img := t.image(ref); len(found) == 0 && img != nil {
		found = []saved{{img, nil}}
	}
	if len(found) == 0 {
		r := refuse(http.StatusNotFound, "reference does not exist")
		if bare {
			r = refuse(http.StatusNotFound, "No such image: %s", ref)
		}
		return nil, &r
	}
	return found, nil
}

// outlet stops while the engine hangs.
type outlet struct {
	t    *Twin
	life chan struct{}
	w    io.Writer
}

func (o *outlet) Write(p []byte) (int, error) {
	if !o.t.pass(o.life) {
		return 0, errors.New("engine has gone")
	}
	return o.w.Write(p)
}

// pack writes an archive as moby 20.10 does: a directory for each layer, by an ID
// of its own, and a layer that several directories have is a link in all but one.
func pack(w io.Writer, images []saved) error {
	p := packing{entries: map[string]entry{}, at: map[string]string{}, repositories: map[string]map[string]string{}}
	for _, s := range images {
		p.add(s)
	}
	manifest, err := json.Marshal(p.items)
	if err != nil {
		return err
	}
	p.entries["manifest.json"] = entry{data: manifest}
	if len(p.repositories) > 0 {
		repositories, err := json.Marshal(p.repositories)
		if err != nil {
			return err
		}
		p.entries["repositories"] = entry{data: repositories}
	}
	return p.write(w)
}

// packing is an archive that is being put together.
type packing struct {
	items        []item
	entries      map[string]entry
	at           map[string]string            // directory of each layer, by DiffID
	repositories map[string]map[string]string // repository and tag to the top layer's directory
}

type entry struct {
	data []byte
	link string
	made time.Time
}

func (p *packing) add(s saved) {
	it := item{Config: strings.TrimPrefix(s.id, "sha256:") + ".json", RepoTags: s.tags}
	dir := ""
	for i, l := range s.layers {
		legacy := map[string]string{"parent": dir, "chain": l.chain}
		if i == len(s.layers)-1 {
			legacy["image"] = s.id
		}
		dir = p.addLayer(l, legacy, s.spec.Created)
		it.Layers = append(it.Layers, dir+"/layer.tar")
	}
	for _, tag := range s.tags {
		name := repository(tag)
		if p.repositories[name] == nil {
			p.repositories[name] = map[string]string{}
		}
		p.repositories[name][tag[len(name)+1:]] = dir
	}
	p.entries[it.Config] = entry{data: s.config, made: s.spec.Created}
	if i := slices.IndexFunc(p.items, func(other item) bool { return other.Config == it.Config }); i >= 0 {
		p.items[i].RepoTags = append(p.items[i].RepoTags, it.RepoTags...)
		return
	}
	p.items = append(p.items, it)
}

// addLayer puts a layer into a directory called by the digest of what engines
// before 1.10 would have known of it, and returns the directory.
func (p *packing) addLayer(l *layer, legacy map[string]string, made time.Time) (dir string) {
	b, _ := json.Marshal(legacy) // plain data
	dir = strings.TrimPrefix(digest(b), "sha256:")
	if _, there := p.entries[dir+"/"]; there {
		return dir
	}
	body := entry{data: l.tar, made: made}
	if other := p.at[l.diffID]; other != "" {
		body = entry{link: "../" + other + "/layer.tar", made: made}
	} else {
		p.at[l.diffID] = dir
	}
	p.entries[dir+"/"] = entry{made: made}
	p.entries[dir+"/VERSION"] = entry{data: []byte("1.0"), made: made}
	p.entries[dir+"/json"] = entry{data: b, made: made}
	p.entries[dir+"/layer.tar"] = body
	return dir
}

// write writes the entries sorted by name, as a walk of a directory finds them.
func (p *packing) write(w io.Writer) error {
	names := make([]string, 0, len(p.entries))
	for name := range p.entries {
		names = append(names, name)
	}
	slices.Sort(names)
	out := tar.NewWriter(w)
	for _, name := range names {
		e := p.entries[name]
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(e.data)), ModTime: e.made}
		switch {
		case e.link != "":
			h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, e.link, 0o777
		case strings.HasSuffix(name, "/"):
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		if _, err := out.Write(e.data); err != nil {
			return err
		}
	}
	return out.Close()
}
