package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/go-archive/compression"
	"github.com/opencontainers/go-digest"
)

const (
	// maxFiles and maxFileName bound an archive's list of files. The largest real
	// ones have four files a layer, of some 80 letters.
	maxFiles    = 1 << 16
	maxFileName = 512
)

// The annotations that give names in an index.json: the first a whole name, the
// second often its tag alone.
const (
	containerdName = "io.containerd.image.name"
	ociName        = "org.opencontainers.image.ref.name"
)

// Named is a name that an archive gives to one of its images.
type Named struct {
	// Name is as people write it, with its tag: "busybox:latest".
	Name string
	// ID is the digest of the image's configuration.
	ID string
}

// StripNames copies what docker save or a builder wrote, of any compression that
// docker load takes, so that its images load without their names, and returns
// these. What the engine could understand in another way than this function does
// is refused. After an error dst holds no whole archive: it must not be closed as
// if it did. StripNames reads src to its end; memory and the documents that it
// reads are bounded, layers are not.
func StripNames(dst io.Writer, src io.Reader) ([]Named, error) {
	plain, err := compression.DecompressStream(src)
	if err != nil {
		return nil, fmt.Errorf("read the archive: %w", err)
	}
	defer plain.Close()
	s := newStripper(dst)
	if err := s.copy(tar.NewReader(plain)); err != nil {
		return nil, fmt.Errorf("read the archive: %w", err)
	}
	if _, err := io.Copy(io.Discard, plain); err != nil {
		return nil, fmt.Errorf("read the archive: %w", err)
	}
	named, err := s.named()
	if err != nil {
		return nil, err
	}
	return named, s.out.Close()
}

// stripper is an archive of which some was copied.
type stripper struct {
	out       packer
	count     int
	files     map[string]string // digests of the small files
	links     map[string]bool   // what is a link, symbolic or hard
	documents documents
	items     []manifestItem // of manifest.json, with their names
	index     *index         // with its names
	listed    bool           // a manifest.json was there
}

func newStripper(dst io.Writer) *stripper {
	return &stripper{out: packer{tar.NewWriter(dst)}, files: map[string]string{}, links: map[string]bool{}, documents: documents{by: map[string]document{}}}
}

// index is an index.json.
type index struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType,omitempty"`
	Manifests     []descriptor      `json:"manifests"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

func (s *stripper) copy(in *tar.Reader) error {
	for {
		h, err := in.Next()
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if s.count++; s.count > maxFiles {
			return fmt.Errorf("it has more than %d files", maxFiles)
		}
		name := clean(h.Name)
		if len(name) > maxFileName || len(h.Linkname) > maxFileName {
			return fmt.Errorf("it has a file with a name of more than %d bytes", maxFileName)
		}
		if err := s.entry(name, h, in); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
}

// clean is where a file of an archive comes to lie: never above the archive.
func clean(name string) string { return path.Clean("/" + name)[1:] }

// entry copies one entry. Names have one spelling afterwards, and no entry lies
// behind a link: there it could be a manifest.json that does not look like one.
func (s *stripper) entry(name string, h *tar.Header, content io.Reader) error {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if s.links[dir] {
			return fmt.Errorf("%s is a link, not a directory", dir)
		}
	}
	copied := &tar.Header{Typeflag: h.Typeflag, Name: name, Mode: h.Mode & 0o777, ModTime: h.ModTime}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		copied.Typeflag, copied.Size = tar.TypeReg, h.Size
		return s.file(copied, content)
	case tar.TypeSymlink, tar.TypeLink:
		if name == "" || name == "manifest.json" || name == "index.json" {
			return errors.New("it is a link, not a file")
		}
		copied.Linkname = h.Linkname
		s.links[name] = true
		delete(s.files, name)
	case tar.TypeDir:
		if name == "" {
			return nil
		}
		copied.Name += "/"
	case tar.TypeXGlobalHeader:
		return nil
	default:
		return fmt.Errorf("a file of type %q is in no image archive", h.Typeflag)
	}
	if name == "repositories" {
		return nil
	}
	return s.out.WriteHeader(copied)
}

func (s *stripper) file(h *tar.Header, content io.Reader) error {
	delete(s.links, h.Name)
	delete(s.files, h.Name)
	switch h.Name {
	case "repositories": // the names again
		return nil
	case "manifest.json":
		return s.manifest(h, content)
	case "index.json":
		return s.indexFile(h, content)
	}
	if h.Size > maxConfig {
		return s.stream(h, content)
	}
	text, err := io.ReadAll(content)
	if err != nil {
		return err
	}
	if bytes.HasPrefix(text, []byte("{")) {
		if s.files[h.Name], err = s.documents.add(text); err != nil {
			return err
		}
	} else {
		s.files[h.Name] = digest.FromBytes(text).String()
	}
	return s.stream(h, bytes.NewReader(text))
}

func (s *stripper) stream(h *tar.Header, content io.Reader) error {
	if err := s.out.WriteHeader(h); err != nil {
		return err
	}
	_, err := io.Copy(s.out, content)
	return err
}

// decode reads one of the documents that name images. It is written anew from what
// was understood, so that it does not mean another thing to the engine.
func decode(h *tar.Header, content io.Reader, again bool, v any) error {
	if again {
		return errors.New("it is there twice")
	}
	if h.Size > maxConfig {
		return fmt.Errorf("it has %d bytes, more than %d", h.Size, maxConfig)
	}
	text, err := io.ReadAll(content)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

func (s *stripper) encode(name string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.out.put(name, text)
}

func (s *stripper) manifest(h *tar.Header, content io.Reader) error {
	s.items = []manifestItem{}
	if err := decode(h, content, s.listed, &s.items); err != nil {
		return err
	}
	s.listed = true
	bare := make([]manifestItem, len(s.items))
	for i, item := range s.items {
		bare[i] = item
		bare[i].RepoTags = nil
	}
	return s.encode(h.Name, bare)
}

func (s *stripper) indexFile(h *tar.Header, content io.Reader) error {
	var read index
	if err := decode(h, content, s.index != nil, &read); err != nil {
		return err
	}
	s.index = &read
	bare := read
	bare.Annotations = unnamed(read.Annotations)
	bare.Manifests = make([]descriptor, len(read.Manifests))
	for i, m := range read.Manifests {
		bare.Manifests[i] = m
		bare.Manifests[i].Annotations = unnamed(m.Annotations)
	}
	return s.encode(h.Name, bare)
}

func unnamed(annotations map[string]string) map[string]string {
	rest := map[string]string{}
	for key, value := range annotations {
		if key != containerdName && key != ociName {
			rest[key] = value
		}
	}
	return rest
}

// named returns the names of the archive. A name in manifest.json counts before
// the same in index.json, and the last of several in one document.
func (s *stripper) named() ([]Named, error) {
	if !s.listed && s.index == nil {
		return nil, errors.New("the archive holds no images: it has neither manifest.json nor index.json")
	}
	var all names
	if s.index != nil {
		for _, m := range s.index.Manifests {
			name := m.Annotations[containerdName]
			if short := m.Annotations[ociName]; name == "" && strings.ContainsAny(short, "/:") {
				name = short
			}
			if err := all.add(name, s.documents.config(m.Digest)); err != nil {
				return nil, fmt.Errorf("read index.json: %w", err)
			}
		}
	}
	for _, item := range s.items {
		for _, tag := range item.RepoTags {
			if err := all.add(tag, s.files[clean(item.Config)]); err != nil {
				return nil, fmt.Errorf("read manifest.json: %w", err)
			}
		}
	}
	return all, nil
}

// names are in the order in which they were first given.
type names []Named

// add takes a name that the archive gives to an image. "" is none.
func (n *names) add(name, id string) error {
	if name == "" {
		return nil
	}
	ref, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return fmt.Errorf("name an image %q: %w", name, err)
	}
	tagged, ok := ref.(reference.NamedTagged)
	if !ok {
		return fmt.Errorf("name an image %q: it has no tag", name)
	}
	if _, ok := ref.(reference.Digested); ok {
		return fmt.Errorf("name an image %q: a name with a digest cannot be given", name)
	}
	if _, err := hexOf(id); err != nil {
		return fmt.Errorf("name an image %q: its configuration is not in the archive", name)
	}
	familiar := reference.FamiliarString(tagged)
	for i := range *n {
		if (*n)[i].Name == familiar {
			(*n)[i].ID = id
			return nil
		}
	}
	*n = append(*n, Named{familiar, id})
	return nil
}
