package enginetest

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"path"
	"strings"

	"github.com/distribution/reference"
)

// defaultDisk is what a load may bring in bytes, unless SetDisk says otherwise.
const defaultDisk = 1 << 30

// spoolDir is where the engine says that it unpacks archives.
const spoolDir = "/var/lib/twin/tmp/docker-import"

// spool is a body on its way to the engine's disk: it is not read while the
// engine hangs, and only as far as the disk takes it.
type spool struct {
	t    *Twin
	life chan struct{}
	body io.Reader
	free int64
}

func (t *Twin) spool(r *http.Request) *spool {
	life, disk := t.lifetime()
	return &spool{t: t, life: life, body: r.Body, free: disk}
}

func (s *spool) Read(p []byte) (int, error) {
	if !s.t.pass(s.life) {
		return 0, errors.New("engine has gone")
	}
	n, err := s.body.Read(p)
	if s.free -= int64(n); s.free < 0 {
		return 0, fmt.Errorf("write %s/layer.tar: no space left on device", spoolDir)
	}
	return n, err
}

// drain reads the rest of the body, as moby does before it tells what is wrong.
func (s *spool) drain() {
	s.free = math.MaxInt64
	io.Copy(io.Discard, s) // an archive that breaks off is as wrong
}

// archive is the files of a tar, by name.
type archive map[string]file

type file struct {
	data []byte
	sum  string // digest of data, without its compression
	link string // name of the file that is meant, if not empty
}

// unpack reads an archive, packed or not, to its end.
func unpack(from io.Reader) (archive, error) {
	in := bufio.NewReader(from)
	plain := io.Reader(in)
	if magic, _ := in.Peek(len(gzipMagic)); string(magic) == gzipMagic {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, err
		}
		plain = z
	}
	files := archive{}
	for r := tar.NewReader(plain); ; {
		h, err := r.Next()
		if err == io.EOF {
			_, err = io.Copy(io.Discard, plain)
			return files, err
		}
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		if data, err = inflate(data); err != nil {
			return nil, err
		}
		f := file{data: data, sum: digest(data)}
		if h.Typeflag == tar.TypeSymlink {
			f.link = path.Join(path.Dir(h.Name), h.Linkname)
		}
		files[path.Clean(h.Name)] = f
	}
}

// file finds a file, through one link.
func (a archive) file(name string) (file, error) {
	f, ok := a[path.Clean(name)]
	if f.link != "" {
		f, ok = a[f.link]
	}
	if !ok {
		return file{}, fmt.Errorf("open %s/%s: no such file or directory", spoolDir, name)
	}
	return f, nil
}

// streamLoad is POST /images/load.
func (t *Twin) streamLoad(w http.ResponseWriter, r *http.Request) {
	body := t.spool(r)
	files, err := unpack(body)
	if err != nil {
		body.drain()
	}
	quiet := r.URL.Query().Get("quiet") != "0"
	rep, ok := t.perform(r.Context(), Load, func() reply {
		if err != nil {
			return stream{}.complain("Error processing tar file(exit status 1): %v", err)
		}
		return t.load(files, quiet)
	})
	if ok {
		write(w, rep)
	}
}

// item is one image in an archive's manifest.json.
type item struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// load makes the engine hold an archive's images. What came before a bad one
// stays.
func (t *Twin) load(files archive, quiet bool) reply {
	var out stream
	manifest, err := files.file("manifest.json")
	if err != nil {
		_, err = files.file("repositories") // of engines before 1.10, which this one does not read
		return out.complain("%v", err)
	}
	var items []item
	if err := json.Unmarshal(manifest.data, &items); err != nil {
		return out.complain("%v", err)
	}
	ids, unnamed := "", false
	for _, it := range items {
		img, err := t.loadItem(files, it, quiet, &out)
		if err == nil {
			err = t.nameLoaded(img, it.RepoTags, &out)
		}
		if err != nil {
			return out.complain("%v", err)
		}
		ids += fmt.Sprintf("Loaded image ID: %s\n", img.id)
		unnamed = len(it.RepoTags) == 0
		t.tellImage(img, "load", img.id)
	}
	if unnamed {
		out = append(out, message{Stream: ids})
	}
	return reply{http.StatusOK, out}
}

// loadItem makes the engine hold one image. A layer that the engine holds is not
// looked for in the archive.
func (t *Twin) loadItem(files archive, it item, quiet bool, out *stream) (img *image, err error) {
	config, err := files.file(it.Config)
	if err != nil {
		return nil, err
	}
	s, err := parseSpec(config.data)
	if err != nil {
		return nil, err
	}
	if expected, got := len(it.Layers), len(s.RootFS.DiffIDs); expected != got {
		return nil, fmt.Errorf("invalid manifest, layers length mismatch: expected %d, got %d", expected, got)
	}
	var layers []*layer
	for i, diffID := range s.RootFS.DiffIDs {
		l := t.layers[chainOf(layers, diffID)]
		if l == nil {
			if l, err = t.loadLayer(files, it.Layers[i], i, diffID, layers); err != nil {
				t.drop(layers)
				return nil, err
			}
			if !quiet {
				out.step(l, "Loading layer", int64(len(l.tar)))
			}
		}
		layers = append(layers, l)
	}
	return t.keep(config.data, layers), nil
}

func (t *Twin) loadLayer(files archive, name string, i int, diffID string, below []*layer) (*layer, error) {
	f, err := files.file(name)
	if err != nil {
		return nil, err
	}
	if f.sum != diffID {
		return nil, fmt.Errorf("invalid diffID for layer %d: expected %q, got %q", i, diffID, f.sum)
	}
	return t.register(below, f.data), nil
}

// nameLoaded moves the names in an archive to its image.
func (t *Twin) nameLoaded(img *image, names []string, out *stream) error {
	for _, name := range names {
		named, err := reference.ParseNormalizedNamed(name)
		if err != nil {
			return err
		}
		if _, tagged := named.(reference.NamedTagged); !tagged {
			return fmt.Errorf("invalid tag %q", name)
		}
		name = familiar(name)
		if before := t.refs[name]; before != nil && before.id != img.id {
			*out = append(*out, message{Stream: fmt.Sprintf("The image %s already exists, renaming the old one with ID %s to empty string\n", name, before.id)})
		}
		t.refs[name] = img
		*out = append(*out, message{Stream: "Loaded image: " + name + "\n"})
	}
	return nil
}

// streamCreate is POST /images/create: a pull, or an import of the body.
func (t *Twin) streamCreate(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("fromImage") != "" {
		t.answer(Pull, t.pull)(w, r)
		return
	}
	if from := r.URL.Query().Get("fromSrc"); from != "-" {
		write(w, refuse(http.StatusInternalServerError, "Get %q: no such host", "http://"+strings.TrimPrefix(from, "http://")))
		return
	}
	body := t.spool(r)
	tar, err := io.ReadAll(body)
	if err == nil {
		tar, err = inflate(tar)
	} else {
		body.drain()
	}
	rep, ok := t.perform(r.Context(), Load, func() reply {
		if err != nil {
			return refuse(http.StatusInternalServerError, "Error processing tar file(exit status 1): %v", err)
		}
		return t.importTar(call{r, nil}, tar)
	})
	if ok {
		write(w, rep)
	}
}
