package enginetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/docker/docker/api/types/container"
)

const gzipMagic = "\x1f\x8b"

// parts are what an image travels as.
type parts struct {
	config []byte   // JSON of a spec
	tars   [][]byte // of the layers, bottom first
}

// spec is an image's configuration, as far as the twin writes and reads it.
type spec struct {
	Architecture string            `json:"architecture"`
	Author       string            `json:"author,omitempty"`
	Comment      string            `json:"comment,omitempty"`
	Config       *container.Config `json:"config"`
	Created      time.Time         `json:"created"`
	History      []step            `json:"history"`
	OS           string            `json:"os"`
	RootFS       *rootFS           `json:"rootfs"`
}

// step is one line of an image's history.
type step struct {
	Created    time.Time `json:"created"`
	CreatedBy  string    `json:"created_by,omitempty"`
	Author     string    `json:"author,omitempty"`
	Comment    string    `json:"comment,omitempty"`
	EmptyLayer bool      `json:"empty_layer,omitempty"`
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

func parseSpec(config []byte) (s spec, err error) {
	if err := json.Unmarshal(config, &s); err != nil {
		return spec{}, err
	}
	if s.RootFS == nil {
		return spec{}, errors.New("invalid image JSON, no RootFS key")
	}
	if s.Config == nil {
		s.Config = &container.Config{}
	}
	return s, nil
}

// encode cannot fail: a spec is plain data.
func (s spec) encode() []byte {
	b, _ := json.Marshal(s)
	return b
}

// add puts a layer and the line that tells of it on top.
func (s *spec) add(tar []byte, told step) {
	fs := rootFS{Type: "layers"}
	if s.RootFS != nil {
		fs.DiffIDs = append(fs.DiffIDs, s.RootFS.DiffIDs...)
	}
	fs.DiffIDs = append(fs.DiffIDs, digest(tar))
	s.RootFS = &fs
	s.History = append(s.History[:len(s.History):len(s.History)], told)
}

// build makes an image out of the contents of files. It is as old as
// testing/synctest's clock, so that equal contents make equal images and none is
// of the future.
func build(contents [][]byte) parts {
	born := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	s := spec{
		Architecture: "amd64", OS: "linux", Created: born, RootFS: &rootFS{Type: "layers"},
		Config: &container.Config{Cmd: []string{"/bin/sh"}},
	}
	var p parts
	for _, content := range contents {
		p.tars = append(p.tars, tarOf("file", content))
		s.add(p.tars[len(p.tars)-1], step{Created: born, CreatedBy: "COPY file / # twin"})
	}
	p.config = s.encode()
	return p
}

// tarOf is a tar of one file.
func tarOf(name string, content []byte) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content)), Format: tar.FormatUSTAR})
	w.Write(content)
	w.Close()
	return b.Bytes()
}

// contentSize adds up the files in a tar. The error is why it is none.
func contentSize(b []byte) (size int64, err error) {
	r := tar.NewReader(bytes.NewReader(b))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return size, nil
		}
		if err != nil {
			return size, err
		}
		size += h.Size
	}
}

// inflate undoes gzip, if b is packed by it.
func inflate(b []byte) ([]byte, error) {
	if !bytes.HasPrefix(b, []byte(gzipMagic)) {
		return b, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(z, defaultDisk))
}
