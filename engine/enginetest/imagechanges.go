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
)

// imageChange is the POST routes of one image.
func (t *Twin) imageChange(c call) reply {
	switch dir, verb := path.Split(c.PathValue("ref")); verb {
	case "tag":
		return t.tagImage(c, strings.TrimSuffix(dir, "/"))
	case "push":
		return t.push(c, strings.TrimSuffix(dir, "/"))
	}
	return refuse(http.StatusNotFound, "page not found")
}

// tagImage is POST /images/{ref}/tag.
func (t *Twin) tagImage(c call, ref string) reply {
	name, err := target(c)
	if err != nil {
		return refuse(http.StatusInternalServerError, "%v", err)
	}
	img := t.image(ref)
	if img == nil {
		return noImage(ref)
	}
	t.tag(img, name)
	return reply{http.StatusCreated, nil}
}

// target is the familiar reference in a request's repo and tag.
func target(c call) (string, error) {
	q := c.URL.Query()
	name := q.Get("repo")
	if tag := q.Get("tag"); tag != "" {
		name += ":" + tag
	}
	if _, err := reference.ParseNormalizedNamed(name); err != nil {
		return "", err
	}
	return familiar(name), nil
}

// commit is POST /commit?container=…, with repo, tag, comment and author. Every
// container of the twin has written one file, started or not, so that a commit
// always adds a layer.
func (t *Twin) commit(c call) reply {
	b, refusal := t.lookup(c.FormValue("container"))
	if refusal != nil {
		return *refusal
	}
	config := *b.config
	if len(c.body) > 0 && string(c.body) != "null" {
		if r := c.decode(&config); r != nil {
			return *r
		}
	}
	name := ""
	if c.FormValue("repo") != "" {
		var err error
		if name, err = target(c); err != nil {
			return refuse(http.StatusInternalServerError, "%v", err)
		}
	}
	now := time.Now().UTC()
	s := b.image.spec
	s.Config, s.Created, s.Author, s.Comment = &config, now, c.FormValue("author"), c.FormValue("comment")
	tar := tarOf("written-by-"+b.id[:12], []byte(b.id+"\n"))
	s.add(tar, step{Created: now, CreatedBy: strings.Join(b.command(), " "), Author: s.Author, Comment: s.Comment})
	layers := slices.Clone(b.image.layers)
	img := t.keep(s.encode(), append(layers, t.register(layers, tar)))
	img.parent = b.image.id
	if name != "" {
		t.tag(img, name)
	}
	t.tell(b, "commit")
	return reply{http.StatusCreated, container.CommitResponse{ID: img.id}}
}

// importTar is POST /images/create?fromSrc=-, with repo, tag, message, and of the
// changes those that set one label.
func (t *Twin) importTar(c call, tar []byte) reply {
	q := c.URL.Query()
	name := ""
	if q.Get("repo") != "" {
		var err error
		if name, err = target(c); err != nil {
			return refuse(http.StatusBadRequest, "%v", err)
		}
	}
	if _, err := contentSize(tar); err != nil {
		return refuse(http.StatusInternalServerError, "Error processing tar file(exit status 1): %v", err)
	}
	now := time.Now().UTC()
	comment := cmp.Or(q.Get("message"), "Imported from -")
	s := spec{Architecture: "amd64", OS: "linux", Created: now, Comment: comment, Config: &container.Config{Labels: labelsOf(q["changes"])}}
	s.add(tar, step{Created: now, Comment: comment})
	img := t.install(parts{config: s.encode(), tars: [][]byte{tar}})
	if name != "" {
		t.tag(img, name)
	}
	t.tellImage(img, "import", img.id)
	return reply{http.StatusOK, stream{{Status: img.id}}}
}

func labelsOf(changes []string) map[string]string {
	labels := map[string]string{}
	for _, change := range changes {
		if label, ok := strings.CutPrefix(change, "LABEL "); ok {
			key, value, _ := strings.Cut(label, "=")
			labels[key] = value
		}
	}
	return labels
}
