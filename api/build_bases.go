package api

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path"
	"regexp"
	"strings"

	"github.com/moby/go-archive/compression"

	"ddocker/consensus/ledger"
	"ddocker/image"
)

const (
	// maxContext is how far into the context of a build its Dockerfile is looked for,
	// maxDockerfile how much of that is read, in bytes.
	maxContext    = 8 << 20
	maxDockerfile = 1 << 20
)

// withBases returns the build with the images that its Dockerfile begins from brought
// here, as far as the cluster has them: the engine would ask a registry for them. What
// cannot be read or brought is left for the engine to complain of.
func (a *API) withBases(c *call) *call {
	query := c.URL.Query()
	if query.Get("remote") != "" || c.Body == nil {
		return c
	}
	head := new(bytes.Buffer)
	file := path.Clean("/" + cmp.Or(query.Get("dockerfile"), "Dockerfile"))
	text := dockerfile(io.TeeReader(io.LimitReader(c.Body, maxContext), head), file)
	var given map[string]string
	json.Unmarshal([]byte(query.Get("buildargs")), &given) // engines complain of what is none
	for _, ref := range bases(text, given) {
		a.bringBase(c.Context(), ref)
	}
	out := *c
	out.Request = c.Request.Clone(c.Context())
	out.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(head, c.Body), c.Body}
	return &out
}

// dockerfile returns the text of the file in a build's context; empty: it is not there,
// or not to be read.
func dockerfile(context io.Reader, file string) string {
	plain, err := compression.DecompressStream(context)
	if err != nil {
		return ""
	}
	defer plain.Close()
	for in := tar.NewReader(plain); ; {
		h, err := in.Next()
		if err != nil {
			return ""
		}
		if path.Clean("/"+h.Name) == file {
			text, err := io.ReadAll(io.LimitReader(in, maxDockerfile))
			if err != nil {
				return ""
			}
			return string(text)
		}
	}
}

var (
	argLine  = regexp.MustCompile(`(?im)^\s*ARG\s+(\w+)(?:=(\S*))?`)
	fromLine = regexp.MustCompile(`(?im)^\s*(?:FROM\s+(?:--\S+\s+)*|(?:COPY|ADD)\s+(?:--\S+\s+)*?--from=)(\S+)`)
)

// bases are the images that a Dockerfile names, with the build's arguments put in.
func bases(dockerfile string, given map[string]string) (refs []string) {
	args := map[string]string{}
	for _, m := range argLine.FindAllStringSubmatch(dockerfile, -1) {
		args[m[1]] = strings.Trim(m[2], `"'`)
	}
	maps.Copy(args, given)
	for _, m := range fromLine.FindAllStringSubmatch(dockerfile, -1) {
		refs = append(refs, os.Expand(m[1], func(name string) string { return args[name] }))
	}
	return refs
}

// bringBase brings an image of the cluster that this host lacks.
func (a *API) bringBase(ctx context.Context, ref string) {
	name, ok := ledger.ImageName(ref)
	if !ok {
		return
	}
	var id string
	a.cfg.Log.View(func(l *ledger.Ledger) {
		n, i := l.Node(a.cfg.Self), l.Image(name)
		if i != nil && i.ID != "" && n != nil && !n.HasImage(i.ID) {
			id = i.ID
		}
	})
	if id == "" {
		return
	}
	if err := a.bring(ctx, a.cfg.Self, id, name, func(image.Progress) {}); err != nil {
		a.log.Warn("an image that a build begins from could not be brought", "image", name, "err", err)
	}
}
