package enginetest

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"net/http"
	"regexp"
	"slices"
	"time"

	buildtypes "github.com/docker/docker/api/types/build"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
)

var from = regexp.MustCompile(`(?m)^FROM +(\S+)`)

// buildImage is POST /build of a tar with a Dockerfile, with t. Every build adds one layer
// to its base, which is made of the Dockerfile: equal ones make the same image.
func (t *Twin) buildImage(c call) reply {
	dockerfile, err := fileOf(c.body, "Dockerfile")
	if err != nil {
		return refuse(http.StatusInternalServerError, "Cannot locate specified Dockerfile: Dockerfile")
	}
	m := from.FindSubmatch(dockerfile)
	if m == nil {
		return refuse(http.StatusBadRequest, "dockerfile parse error")
	}
	out := stream{{Stream: "Step 1/1 : " + string(m[0]) + "\n"}}
	base := t.image(string(m[1]))
	if base == nil {
		return out.complain("pull access denied for %s, repository does not exist or may require 'docker login'", m[1])
	}
	s, layer := base.spec, tarOf("dockerfile", dockerfile)
	s.Created = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
	s.add(layer, step{Created: s.Created, CreatedBy: "build"})
	layers := slices.Clone(base.layers)
	img := t.keep(s.encode(), append(layers, t.register(layers, layer)))
	img.parent = base.id
	out = append(out, message{Stream: "Successfully built " + img.id[len("sha256:"):][:12] + "\n"})
	for _, name := range c.URL.Query()["t"] {
		t.tag(img, familiar(name))
		out = append(out, message{Stream: "Successfully tagged " + familiar(name) + "\n"})
	}
	return reply{http.StatusOK, out}
}

// fileOf returns a file of a tar.
func fileOf(archive []byte, name string) ([]byte, error) {
	in := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil, errors.New("there is no " + name)
		}
		if err != nil {
			return nil, err
		}
		if h.Name == name {
			return io.ReadAll(in)
		}
	}
}

// pruneBuilds is POST /build/prune. The twin caches nothing.
func (t *Twin) pruneBuilds(call) reply {
	return reply{http.StatusOK, buildtypes.CachePruneReport{}}
}

// Tag gives an image a name as a build does, by itself.
func (t *Twin) Tag(ref, name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tag(t.image(ref), familiar(name))
}

// streamSession is POST /session and /grpc: the connection is the client's and
// BuildKit's. The twin returns what it gets.
func (t *Twin) streamSession(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "h2c" {
		write(w, refuse(http.StatusBadRequest, "no upgrade"))
		return
	}
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"); err == nil {
		io.Copy(conn, buf)
	}
}

// pruneBoxes is POST /containers/prune, with filters of labels.
func (t *Twin) pruneBoxes(c call) reply {
	f, err := filters.FromJSON(c.FormValue("filters"))
	if err != nil {
		return refuse(http.StatusBadRequest, "%v", err)
	}
	var done container.PruneReport
	for _, b := range t.containers {
		if !b.running && f.MatchKVList("label", b.config.Labels) {
			t.destroy(b)
			done.ContainersDeleted = append(done.ContainersDeleted, b.id)
		}
	}
	slices.Sort(done.ContainersDeleted)
	return reply{http.StatusOK, done}
}
